"""VIB as upstreams: the mean of a stage's latent, frame by frame, on a frozen backbone.

    vib_text              stage 1, (T, 1, d)
    vib_acoustic_speaker  stage 2 trained to tell speakers; vib_acoustic_emotion likewise
    vib_both_speaker      both side by side, (T, 1, 2 d): stage 1 is the one that stage 2 was conditioned on

A card's options: `stream` (text, acoustic, both), `target` (speaker, emotion), `bottleneck` (false: the control) and
`recipe`. A file given by --checkpoint is of the acoustic stage for `both`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness.config import parse
from harness.errors import UserError
from upstreams.posttrained import PostTrained
from upstreams.vib import network as networks
from upstreams.vib.checkpoint import Checkpoint
from upstreams.vib.settings import Stage, Target, from_options

if TYPE_CHECKING:
    from upstreams.card import Card


class Options(BaseModel):
    """A card's options. `recipe` holds `Settings` that differ from the default ones, or a `preset`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stream: Literal["text", "acoustic", "both"]
    target: Target | None = None
    bottleneck: bool = True
    recipe: dict[str, Any] = {}


def build(card: Card, name: str, backbone: str | None, recipe_seed: int, checkpoint: Path | None) -> PostTrained:
    """The upstream of a card on `backbone`. Raises UserError: bad options, a missing, changed or unfit checkpoint."""
    where = f"card of {name}"
    options: Options = parse(Options, card.options, where)
    if backbone is None:
        raise UserError(f"{where}: `backbone` is missing; name the one meant by the bare name")
    stage: Stage = "text" if options.stream == "text" else "acoustic"
    given = {"stage": stage, "target": options.target, "bottleneck": options.bottleneck, **options.recipe}
    settings = from_options(given, f"{where}, recipe")
    found, path = Checkpoint.of(backbone, settings, recipe_seed, checkpoint)
    for field in ("stage", "target", "bottleneck"):
        wanted, said = getattr(settings, field), getattr(found.meta.settings, field)
        if wanted != said:
            raise UserError(f"{name} wants a checkpoint with {field} {wanted}, {path} has {said}")
    sources = [(found, path)]
    if options.stream == "both":
        text, text_path = found.text(path)
        found.check_text(text, str(text_path))
        sources.append((text, text_path))
    head = Means([source for source, _ in reversed(sources)])
    return PostTrained(name, sources, head, [networks, sys.modules[__name__]])


class Means(nn.Module):
    """(…, L, D) -> (…, sum of d): the means of the latents of one or both stages, the text's first."""

    def __init__(self, stages: list[Checkpoint]):
        super().__init__()
        self.networks = nn.ModuleList(stage.network for stage in stages)
        self.dim = sum(stage.meta.settings.dim for stage in stages)
        self.options: dict[str, Any] = {"stages": [stage.meta.settings.stage for stage in stages]}

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.cat([network.encode(hidden)[0] for network in self.networks], dim=-1)  # type: ignore[operator]
