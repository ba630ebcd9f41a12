"""Small made-up checkpoints, in folders as Hugging Face has them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def tensors(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {f"block.{i}.weight": torch.randn(5, 3, generator=generator).to(dtype) for i in range(4)}
    return made | {"scale": torch.randn((), generator=generator).to(dtype), "odd": torch.ones(3, dtype=torch.bool),
                   "steps": torch.arange(3)}  # fmt: skip


def write(folder: Path, content: dict[str, Tensor], **config: object) -> Path:
    folder.mkdir(parents=True)
    save_file(content, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "toy"} | config))
    return folder


def shard(folder: Path, count: int = 2) -> Path:
    """Split the folder's weights over so many files, in the names that `transformers` gives them. Returns the index."""
    content = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {}
    for i in range(count):
        part = {name: content[name] for name in sorted(content)[i::count]}
        name = f"model-{i + 1:05}-of-{count:05}.safetensors"
        save_file(part, folder / name, {"format": "pt"})
        where |= dict.fromkeys(part, name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": where}))
    return index


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()
