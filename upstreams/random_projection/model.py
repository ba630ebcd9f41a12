"""A random projection of any backbone, frame by frame: what a post-trained stream of the same size is compared with.

    randproj128_a, randproj128_b   two draws to 128 dimensions; a pair of streams has both as its control

A frame's states are normalised each over its own dimensions (LayerNorm without weights), averaged, and multiplied by a
Gaussian matrix of variance 1 / D. Without the normalisation the mean would be little else than the states of greatest
scale, which in a residual stream are the last ones; with statistics over time or over data in its place, a frame would
depend on its utterance, or something would be fitted. Nothing is. A post-trained stream of another size wants a card
with that `size`.

A card's options: `size` and `draw`, which names the matrix; the recipe seed gives other matrices under the same names.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.config import parse
from harness.contracts import Level, Upstream
from harness.errors import UserError
from harness.train import step_seed
from upstreams import catalogue, weights

if TYPE_CHECKING:
    from upstreams.card import Card


class Options(BaseModel):
    """A card's options."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    size: int = Field(gt=0)
    draw: str


class RandomProjection(nn.Module):
    """(T, L, D) -> (T, 1, size), each frame by itself; follows `harness.contracts.Upstream`."""

    level: Level = "frame"
    num_layers = 1
    matrix: Tensor

    def __init__(self, name: str, below: Upstream, options: Options, seed: int):
        super().__init__()
        self.name, self.base, self.dim, self.stride = name, below.name, options.size, below.stride
        self.backbone_shape = below.num_layers, below.dim
        generator = torch.Generator().manual_seed(step_seed("random_projection", options.draw, seed))
        matrix = torch.randn(below.dim, options.size, generator=generator) / math.sqrt(below.dim)
        self.register_buffer("matrix", matrix)
        drawn = hashlib.sha256(matrix.numpy().tobytes()).hexdigest()
        # the backbone's own fingerprint is counted beside this one
        self.fingerprint = weights.fingerprint([sys.modules[__name__]], drawn, {"backbone": below.name})
        self.eval()

    def layers(self, waves: Sequence[Tensor]) -> list[Tensor]:
        raise UserError(f"{self.name} stands on {self.base}: encode waves with that and hand its states to `transform`")

    @torch.no_grad()
    def transform(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """One (T, L, D) a wave -> one (T, 1, size). Raises UserError for the states of another backbone."""
        return [self._one(hidden) for hidden in layers]

    def _one(self, hidden: Tensor) -> Tensor:
        if tuple(hidden.shape[1:]) != self.backbone_shape:
            want, found = (" x ".join(map(str, shape)) for shape in (self.backbone_shape, hidden.shape[1:]))
            raise UserError(f"{self.name}: {want} states x dimensions of {self.base} wanted, found {found}")
        mean = F.layer_norm(hidden.float(), hidden.shape[-1:]).mean(dim=1)
        return (mean @ self.matrix)[:, None]

    def train(self, mode: bool = True) -> RandomProjection:
        """Frozen: it stays in eval mode."""
        return super().train(False)


def build(
    card: Card,
    name: str,
    backbone: str | None,
    recipe_seed: int,
    checkpoint: Path | None,
    folder: Path | None = None,
) -> RandomProjection:
    """The projection of a card on `backbone`, whose sizes are read from it; `folder` holds its weights in place of its
    card's. Raises UserError: bad options, a checkpoint (there is none), and what building the backbone does."""
    options = parse(Options, card.options, f"card of {name}, options")
    if backbone is None:
        raise UserError(f"card of {name}: `backbone` is missing; name the one meant by the bare name")
    if checkpoint is not None:
        raise UserError(f"{name} is drawn, not trained: leave out --checkpoint")
    return RandomProjection(name, catalogue.build(backbone, folder=folder), options, recipe_seed)
