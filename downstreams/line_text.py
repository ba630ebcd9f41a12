"""What an utterance's words alone would give: a linear head on their letters, deaf to the audio."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from downstreams.utterance import PooledLearner, PooledLinear
from harness.contracts import DevScore, FeatureSource, Level, SplitData, TrialSpec

DIM = 1024
"""Buckets that the n-grams are hashed into."""
LONGEST = 4


class Lines:
    """A `FeatureSource` of texts: counts of character n-grams of 1 to 4, hashed (crc32), scaled to length 1."""

    level: Level = "utterance"
    num_layers, dim, stride = 1, DIM, 0

    def __init__(self, split: SplitData):
        self._texts = {u.id: u.text for u in split.utterances}

    def mean(self, utterance_id: str) -> Tensor:
        text = f"^{self._texts[utterance_id].casefold()}$"
        grams = [text[i : i + n] for n in range(1, LONGEST + 1) for i in range(len(text) - n + 1)]
        counts = torch.bincount(torch.tensor([zlib.crc32(gram.encode()) % DIM for gram in grams]), minlength=DIM)
        return torch.nn.functional.normalize(counts.float(), dim=0)[None]

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        return torch.stack([self.mean(i) for i in utterance_ids])

    def frames(self, utterance_id: str) -> Tensor:
        return self.mean(utterance_id)[None]

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        return self.mean(utterance_id)[None], torch.ones(1)


class LineText(PooledLinear):
    """The head of `pooled_linear` on the letters of the text in place of the audio. Implements `contracts.Head`.

    Its score is the same under every upstream: the part of a task's score that content alone explains."""

    name = "line_text"

    def __init__(self, options: dict[str, Any], device: str = "cpu"):
        super().__init__(options, device)
        self._lines: list[tuple[SplitData, Lines]] = []

    def _of(self, split: SplitData) -> Lines:
        for known, lines in self._lines:
            if known is split:
                return lines
        self._lines = [*self._lines[-1:], (split, Lines(split))]
        return self._lines[-1][1]

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> PooledLearner:
        return super().learner(self._of(train), train, specs)

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> tuple[Tensor, Tensor]:
        return super().batch(self._of(train), train, index)

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore:
        return super().dev(state, self._of(dev), dev)

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[dict[str, Any]]:
        return super().predict(state, self._of(split), split)
