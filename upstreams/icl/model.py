"""ICL as upstreams: the blocks of a trained network on a frozen backbone, and what they are compared with.

    icl_speaker_utt   time-mean, then the network: the paper's form, one vector an utterance
    icl_speaker       the network on each frame: our extension
    randproj_speaker  a random projection of the network's own input, to the same size
    BACKBONE+input    the network's own input, untrained

A card's options: `block` (speaker, content, joint), `form` (utterance, frame), `random` and `recipe`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness.config import parse
from harness.contracts import Level
from harness.errors import UserError
from harness.train import step_seed
from upstreams.icl import checkpoint as checkpoints
from upstreams.icl import network as networks
from upstreams.icl.checkpoint import Checkpoint
from upstreams.icl.network import InputMap, Network
from upstreams.icl.settings import VARIABLES, Settings, from_options
from upstreams.posttrained import Head, PostTrained

if TYPE_CHECKING:
    from upstreams.card import Card


class Options(BaseModel):
    """A card's options. `recipe` holds `Settings` that differ from the default ones, or a `preset`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    block: Literal["speaker", "content", "joint"]
    form: Literal["utterance", "frame"]
    random: bool = False
    recipe: dict[str, Any] = {}


def build(card: Card, name: str, backbone: str | None, recipe_seed: int, checkpoint: Path | None) -> PostTrained:
    """The upstream of a card on `backbone`. Raises UserError: bad options, a missing, changed or unfit checkpoint."""
    options: Options = parse(Options, card.options, f"card of {name}")
    if backbone is None:
        raise UserError(f"card of {name}: `backbone` is missing; name the one meant by the bare name")
    settings = from_options(options.recipe, f"card of {name}, recipe")
    found, path = checkpoints.of(backbone, settings, recipe_seed, checkpoint)
    blocks = list(VARIABLES) if options.block == "joint" else [options.block]
    absent = [block for block in blocks if block not in found.meta.settings.supervised]
    if absent:
        raise UserError(
            f"{name} wants the {' and '.join(absent)} block, {path} holds "
            f"{', '.join(found.meta.settings.supervised)} only"
        )
    head = RandomProjection(found, blocks, recipe_seed) if options.random else Blocks(found, blocks)
    return _upstream(name, found, path, head, options.form)


def build_input(backbone_name: str, recipe_seed: int, checkpoint: Path | None) -> PostTrained:
    """What the network gets, frame by frame, untrained: the same layers and the same standardisation."""
    found, path = checkpoints.of(backbone_name, Settings(), recipe_seed, checkpoint)
    return _upstream(f"{backbone_name}+input", found, path, Untrained(found), "frame")


def _upstream(name: str, found: Checkpoint, path: Path, head: Head, form: Level) -> PostTrained:
    return PostTrained(name, [(found, path)], head, [networks, sys.modules[__name__]], form)


class Blocks(nn.Module):
    """(…, L, D) -> (…, d * number of blocks): the named blocks side by side, not normalised."""

    def __init__(self, found: Checkpoint, blocks: Sequence[str]):
        super().__init__()
        self.network: Network = found.network
        self.indices = [found.meta.settings.blocks.index(block) for block in blocks]
        self.dim = found.meta.settings.block_dim * len(self.indices)
        self.options = {"blocks": list(blocks)}

    def forward(self, hidden: Tensor) -> Tensor:
        latent: Tensor = self.network(hidden)
        chosen: Tensor = latent[..., self.indices, :].flatten(-2)
        return chosen


class Untrained(nn.Module):
    """(…, L, D) -> (…, input dim)."""

    def __init__(self, found: Checkpoint):
        super().__init__()
        self.inputs: InputMap = found.network.inputs
        self.dim = self.inputs.dim
        self.options: dict[str, Any] = {"input": True}

    def forward(self, hidden: Tensor) -> Tensor:
        made: Tensor = self.inputs(hidden)
        return made


class RandomProjection(nn.Module):
    """The network's input times a Gaussian matrix of variance 1 / input dim, a matrix of its own a block and seed.

    It is affine in the hidden states, so it commutes with the mean over time: an utterance form would give the same
    vectors as the mean of the frame form, and there is none.
    """

    inputs: InputMap
    matrix: Tensor

    def __init__(self, found: Checkpoint, blocks: Sequence[str], seed: int):
        super().__init__()
        self.inputs = found.network.inputs
        size = found.meta.settings.block_dim
        self.register_buffer("matrix", torch.cat([self._draw(block, size, seed) for block in blocks], dim=1))
        self.dim = size * len(blocks)
        self.options = {"random": list(blocks), "seed": seed}

    def _draw(self, block: str, size: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(step_seed("randproj", block, seed))
        width = self.inputs.dim
        return torch.randn(width, size, generator=generator) / math.sqrt(width)

    def forward(self, hidden: Tensor) -> Tensor:
        made: Tensor = self.inputs(hidden) @ self.matrix
        return made
