"""Several devices for one training, under torchrun: the micro-batches of an update are dealt to the processes.

    torchrun --nproc-per-node 4 harness/posttrain.py vib --stage text --backbone hubert_base -k FOLDER

Gradients are summed before the update, so that an update is the same whatever the number of devices, to the rounding
of a sum. Without torchrun every function here is a no-op of one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist

from harness.errors import UserError


def start(device: str) -> str:
    """Join the group that torchrun announces and return this process's device, `cuda:<local rank>` for 'cuda'. Raises
    UserError for a garbled announcement and where there are more processes than GPUs."""
    if "WORLD_SIZE" not in os.environ:
        return device
    try:
        local, world = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        raise UserError("WORLD_SIZE is set but LOCAL_RANK is not: start several processes with torchrun") from None
    if world == 1:
        return device
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(f"process {local} has no GPU: {torch.cuda.device_count()} found; lower --nproc-per-node")
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def stop() -> None:
    if _grouped():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if _grouped() else 0


def world() -> int:
    return dist.get_world_size() if _grouped() else 1


def barrier() -> None:
    if _grouped():
        dist.barrier()


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Every process's `.grad` becomes the sum over processes; one that is None counts as zeros."""
    if not _grouped():
        return
    every = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in every:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in every if parameter.grad is not None])
    dist.all_reduce(flat)
    at = 0
    for parameter in every:
        assert parameter.grad is not None
        size = parameter.numel()
        parameter.grad.copy_(flat[at : at + size].view_as(parameter))
        at += size


def total(values: list[float]) -> list[float]:
    """Sums over processes, on each of them."""
    if not _grouped():
        return values
    found = torch.tensor(values, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(found)
    summed: list[float] = found.tolist()
    return summed


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
