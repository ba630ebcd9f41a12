"""Made-up features for the tests of heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.contracts import SplitData, Utterance

BLOCK = 50
"""Frames a second at a stride of 320."""


class Source:
    """A `FeatureSource` over frames by id, all (T, L, D). Counts what is read."""

    def __init__(self, frames: Mapping[str, Tensor], level: str = "frame"):
        self._frames = dict(frames)
        first = next(iter(self._frames.values()))
        self.num_layers, self.dim, self.level = first.shape[1], first.shape[2], level
        self.stride = 320 if level == "frame" else 0
        self.reads: list[str] = []

    def frames(self, utterance_id: str) -> Tensor:
        self.reads.append("frames")
        return self._frames[utterance_id]

    def mean(self, utterance_id: str) -> Tensor:
        return self._frames[utterance_id].mean(dim=0)

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        self.reads.append("means")
        return torch.stack([self.mean(i) for i in utterance_ids])

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        self.reads.append("blocks")
        parts = self._frames[utterance_id].split(BLOCK)
        return torch.stack([part.mean(dim=0) for part in parts]), torch.tensor([float(len(part)) for part in parts])


def utterance(name: str, seconds: float = 1.0) -> Utterance:
    return Utterance(name, "c", "s", None, "", 0, seconds, 16000, "x", "sure", "", "", "", "", "", "", "", name)


def labelled(
    references: Mapping[str, str], seconds: Mapping[str, float] | None = None, name: str = "train"
) -> SplitData:
    split = [utterance(i, (seconds or {}).get(i, 1.0)) for i in references]
    return SplitData(name, split, [], dict(references))
