"""Which fine-tuned checkpoints an upstream is merged of, and the merge, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from upstreams.speech_ft import merge
from upstreams.speech_ft.checkpoint import Checkpoint
from upstreams.speech_ft.settings import ALPHA, Settings

Weights = dict[str, Tensor]

DENSITY = 0.2
"""Of TIES (Yadav et al. 2023)."""


def combined(theta0: Weights, thetas: Sequence[Mapping[str, Tensor]], method: str, alpha: float) -> Weights:
    """theta0 with the merge of fine-tuned tensors in place of its own, `linear` or `ties`; its other tensors stay."""
    names = sorted({name for theta in thetas for name in theta})
    floors = None
    if method == "ties":
        floors = []
        for theta in thetas:
            count = sum(theta0[name].numel() for name in theta)
            deltas = partial(_deltas, theta0, theta)
            floors.append(merge.magnitude_floor(deltas, merge.kept(DENSITY, count)))
    found = dict(theta0)
    for name in names:
        others = [theta.get(name, theta0[name]) for theta in thetas]
        if floors is None:
            found[name] = merge.interpolate(theta0[name], others, alpha)
        else:
            found[name] = merge.ties(theta0[name], others, alpha, DENSITY, floors)
    return found


def _deltas(theta0: Weights, theta: Mapping[str, Tensor]) -> Iterator[Tensor]:
    return (merge.delta_of(theta0[name], value) for name, value in theta.items())


def began(settings: Settings, backbone: str, theta0: Weights, seed: int) -> tuple[Weights, list[Checkpoint]]:
    """What a fine-tuning begins from, and the checkpoints that are in it: the pre-trained weights, or with `after` the
    merge of the round before. Raises UserError with the command that makes a missing checkpoint."""
    found, rounds = theta0, []
    for place, task in enumerate(settings.after):
        earlier = settings.model_copy(update={"task": task, "after": settings.after[:place]})
        checkpoint, _ = Checkpoint.of(backbone, earlier, seed, None)
        found = combined(found, [checkpoint.finetuned(found)], "linear", ALPHA)
        rounds.append(checkpoint)
    return found, rounds


def before_sha256(rounds: Sequence[Checkpoint]) -> str:
    """Over the checkpoints of the rounds before; empty where there are none."""
    sums = "|".join(checkpoint.meta.tensors_sha256 for checkpoint in rounds)
    return hashlib.sha256(sums.encode()).hexdigest() if rounds else ""


def found_for(
    wanted: Sequence[Settings], backbone: str, seed: int, path: Path | None
) -> list[tuple[Checkpoint, Path]]:
    """The checkpoints of an upstream, from the file that was given, the cache or the shipped ones."""
    return [Checkpoint.of(backbone, settings, seed, path) for settings in wanted]
