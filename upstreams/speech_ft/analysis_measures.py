"""What fine-tuning and merging do to a model: how far its weights went, how like its features are to the pre-trained
ones, and whether features along the way from one to the other are those in between.

All are of weights or features given; `analysis_lines` makes the models and the features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.results import Interval
from harness.uncertainty import DRAWS, MIN_SPEAKERS, percentile_interval, speaker_counts

WHOLE, REST = "all", "other"
"""Parts of a model: all of its parameters, and those that belong to no block."""


def similarity(features: Tensor, pretrained: Tensor) -> Tensor:
    """Cosine similarity of each frame's features to the pre-trained ones, the mean over frames: (T, L, D) twice ->
    (L,), in double precision."""
    return F.cosine_similarity(features.double(), pretrained.double(), dim=-1, eps=1e-30).mean(dim=0)


def connectivity_gap(merged: Tensor, pretrained: Tensor, finetuned: Tensor, alpha: float) -> Tensor:
    """1 - cos(h(theta0 + alpha (theta' - theta0)), (1 - alpha) h(theta0) + alpha h(theta')), the mean over frames:
    (T, L, D) three times -> (L,). 0 where features go linearly from one model to the other, layer-wise linear feature
    connectivity (Zhou et al. 2023, arXiv 2307.08286)."""
    between = (1 - alpha) * pretrained.double() + alpha * finetuned.double()
    return 1 - similarity(merged, between)


@dataclass(frozen=True, slots=True)
class Distortion:
    """How far weights are from others. The paper's normaliser is not known, so both usual ones are given."""

    parameters: int
    l2: float
    """Of the difference."""

    @property
    def l2_per_parameter(self) -> float:
        return self.l2 / self.parameters

    @property
    def rms(self) -> float:
        """Root of the mean squared difference of a parameter: the norm over the root of their number."""
        return self.l2 / math.sqrt(self.parameters)


def distortion(theta: Mapping[str, Tensor], theta0: Mapping[str, Tensor]) -> dict[str, Distortion]:
    """By part of the model: `all`, each block by its number, `other`. Parameters that never move count too.

    Raises ValueError for other names or shapes in one than in the other."""
    if theta.keys() != theta0.keys():
        raise ValueError(f"parameters of one model wanted, {sorted(theta.keys() ^ theta0.keys())[0]} is in one only")
    squares: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, began in theta0.items():
        if theta[name].shape != began.shape:
            raise ValueError(f"{name}: {tuple(began.shape)} wanted, found {tuple(theta[name].shape)}")
        square = float((theta[name].double() - began.double()).square().sum())
        for part in (WHOLE, part_of(name)):
            squares[part] = squares.get(part, 0.0) + square
            counts[part] = counts.get(part, 0) + began.numel()
    order = sorted(squares, key=lambda part: (part != WHOLE, part == REST, int(part) if part.isdigit() else 0))
    return {part: Distortion(counts[part], squares[part] ** 0.5) for part in order}


def part_of(name: str) -> str:
    """The number of the transformer block that a parameter is of, or `other`."""
    found = re.search(r"(?:^|\.)layers\.(\d+)\.", name)
    return found[1] if found else REST


@dataclass(frozen=True, slots=True)
class Judged:
    """A measure of every layer on each of some utterances, and their frames and speakers: what means are taken of."""

    values: list[list[float]]
    frames: list[int]
    speakers: list[str]

    def mean(self, layers: Sequence[int] | None = None) -> list[float]:
        """Over all frames, for each layer, or the one mean over some layers."""
        table = np.average(np.array(self.values), axis=0, weights=self.frames)
        return [float(value) for value in (table if layers is None else [table[list(layers)].mean()])]

    def replicates(self, layers: Sequence[int]) -> np.ndarray | None:
        """The mean over some layers in each draw of speakers, (draws,); None below 8 of them. The same speakers meet
        the same draws, so those of two models may be subtracted."""
        names = sorted(set(self.speakers))
        if len(names) < MIN_SPEAKERS:
            return None
        place = {name: at for at, name in enumerate(names)}
        sums, counts = np.zeros(len(names)), np.zeros(len(names))
        for row, frames, speaker in zip(self.values, self.frames, self.speakers, strict=True):
            sums[place[speaker]] += frames * float(np.mean([row[layer] for layer in layers]))
            counts[place[speaker]] += frames
        drawn = speaker_counts(names, DRAWS)
        found: np.ndarray = (drawn @ sums) / (drawn @ counts)
        return found

    def interval(self, layers: Sequence[int]) -> Interval | None:
        """95 %, of the mean over some layers."""
        drawn = self.replicates(layers)
        return None if drawn is None else percentile_interval(drawn)


def difference(one: Judged, other: Judged, layers: Sequence[int]) -> tuple[float, Interval | None]:
    """One minus the other in the mean over some layers, and its 95 % interval in the same draws of speakers."""
    first, second = one.replicates(layers), other.replicates(layers)
    value = one.mean(layers)[0] - other.mean(layers)[0]
    return value, None if first is None or second is None else percentile_interval(first - second)


def judged(rows: Iterable[tuple[Tensor, int, str]]) -> Judged:
    """Of (values (L,), frames, speaker) an utterance."""
    values, frames, speakers = [], [], []
    for value, count, speaker in rows:
        values.append(torch.as_tensor(value).tolist())
        frames.append(count)
        speakers.append(speaker)
    return Judged(values, frames, speakers)
