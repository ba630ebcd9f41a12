"""What ICL trains: a choice of backbone layers, standardised or raw, then an MLP whose output is cut into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from harness.train import step_seed

Kind = Literal["concat", "mix"]
"""How several layers become one vector: side by side, or summed with learned softmax weights."""

STD_FLOOR = 1e-6
"""A dimension that never varies is left at zero, not blown up."""


class InputMap(nn.Module):
    """(…, L, D) hidden states -> (…, dim): picks `layers`, standardises each dimension, joins them.

    `mean` and `std`, (layers, D), are of the crossed training set's time-means; 0 and 1 where the input is raw.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Sequence[int], width: int, kind: Kind = "concat"):
        super().__init__()
        self.layers, self.kind = list(layers), kind
        self.dim = width if kind == "mix" else width * len(self.layers)
        self.register_buffer("mean", torch.zeros(len(self.layers), width))
        self.register_buffer("std", torch.ones(len(self.layers), width))
        self.mix = nn.Parameter(torch.zeros(len(self.layers))) if kind == "mix" else None

    def standardise(self, train_means: Tensor) -> None:
        """Take the statistics of (N, L, D) time-means, the training set's."""
        chosen = train_means[:, self.layers].double()
        self.mean.copy_(chosen.mean(dim=0))
        self.std.copy_(chosen.std(dim=0, correction=0))

    def forward(self, hidden: Tensor) -> Tensor:
        scaled = (hidden[..., self.layers, :] - self.mean) / self.std.clamp(min=STD_FLOOR)
        if self.mix is None:
            return scaled.flatten(-2)
        return (scaled * self.mix.softmax(dim=0)[:, None]).sum(dim=-2)


class Network(nn.Module):
    """InputMap, then Linear-ReLU a hidden layer and a Linear: no norm, no dropout, no activation on the output."""

    def __init__(self, inputs: InputMap, hidden: Sequence[int], block_dim: int, blocks: int):
        super().__init__()
        self.inputs, self.block_dim, self.blocks = inputs, block_dim, blocks
        widths = [inputs.dim, *hidden, block_dim * blocks]
        modules: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            modules += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*modules[:-1])

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, L, D) -> (…, blocks, block_dim). Blocks are not normalised; losses and scorers do that."""
        latent: Tensor = self.mlp(self.inputs(hidden))
        return latent.reshape(*latent.shape[:-1], self.blocks, self.block_dim)


def seeded(inputs: InputMap, hidden: Sequence[int], block_dim: int, blocks: int, seed: int) -> Network:
    """A network with PyTorch's default initialisation under a seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step_seed("icl", seed))
        return Network(inputs, hidden, block_dim, blocks)
