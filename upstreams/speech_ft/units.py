"""Continued pre-training: masked prediction of k-means units, HuBERT's objective (Hsu et al. 2021, arXiv 2106.07447).

The units are clusters of a middle state of the pre-trained model over the new speech; spans of the transformer's input
are replaced by one learned vector, and the units of the frames under them are predicted. No labels are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import DevScore, SplitData, Upstream
from harness.encode import encode
from harness.errors import UserError
from harness.train import step_seed

CLUSTERED = 50_000
"""Frames, at most, that the clusters are found from."""


class UnitsOptions(BaseModel):
    """HuBERT's figures are the defaults: 8 % of the frames begin a span of 10."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    units: int = Field(default=100, gt=1)
    layer: int | None = Field(default=None, ge=0)
    """The state that is clustered; None: the middle one."""
    begins: float = Field(default=0.08, gt=0, le=1)
    span: int = Field(default=10, gt=0)


class MaskedUnits(nn.Module):
    """Follows `harness.contracts.Objective`; the metric is the accuracy at masked frames."""

    metric = "accuracy"

    def __init__(self, options: dict[str, Any], splits: Sequence[SplitData], waves: Any, backbone: Upstream, seed: int):
        """`splits`: train first; `waves(utterance)` gives its samples. The backbone is the pre-trained one."""
        super().__init__()
        self.options = UnitsOptions.model_validate(options)
        layer = backbone.num_layers // 2 if self.options.layer is None else self.options.layer
        if layer >= backbone.num_layers:
            raise UserError(f"units of state {layer} wanted, {backbone.name} has 0 to {backbone.num_layers - 1}")
        states = [
            {u.id: encode(backbone, [waves(u)])[0][:, layer].cpu().numpy() for u in split.utterances}
            for split in splits
        ]
        self.units = _units(states, self.options.units, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed("init", seed))
            self.embedding = nn.Parameter(torch.empty(backbone.dim).uniform_())
            self.output = nn.Linear(backbone.dim, self.options.units)

    def hide(self, ids: Sequence[str], training: bool) -> Callable[[list[int]], tuple[Tensor, Tensor]]:
        """The frames of each utterance -> the masked ones, (N,) bool, and the vector in their place. In training they
        are of the micro-batch's seed, else always the same."""
        seed = torch.initial_seed() if training else 0
        return lambda lengths: (self._masks(ids, lengths, seed), self.embedding)

    def _masks(self, ids: Sequence[str], lengths: Sequence[int], seed: int) -> Tensor:
        return torch.cat([self._mask(name, length, seed) for name, length in zip(ids, lengths, strict=True)])

    def _mask(self, name: str, frames: int, seed: int) -> Tensor:
        generator = np.random.default_rng(step_seed("mask", seed, name))
        starts = generator.random(frames) < self.options.begins
        starts[generator.integers(frames)] = True  # an utterance without a span would teach nothing
        masked = np.convolve(starts, np.ones(self.options.span))[:frames] > 0
        return torch.from_numpy(masked)

    def _masked(
        self, frames: Tensor, lengths: Sequence[int], ids: Sequence[str], seed: int
    ) -> tuple[Tensor, Tensor]:
        """Logits and units of the masked frames. A stored state may repeat its last frame once or twice to keep to the
        frame-count rule, so the units beyond the encoder's own frames are left out."""
        masked = self._masks(ids, lengths, seed).to(frames.device)
        each = [self.units[name][:length] for name, length in zip(ids, lengths, strict=True)]
        wanted = torch.cat(each).to(frames.device)
        return self.output(frames[masked]), wanted[masked]

    def loss(self, frames: Tensor, lengths: Sequence[int], ids: Sequence[str]) -> Tensor:
        return F.cross_entropy(*self._masked(frames, lengths, ids, torch.initial_seed()))

    def judge(self, batches: Iterable[tuple[Tensor, Sequence[int], Sequence[str]]], split: SplitData) -> DevScore:
        right, losses, count, seen = 0, 0.0, 0, 0
        for frames, lengths, ids in batches:
            logits, wanted = self._masked(frames, lengths, ids, 0)
            right += int((logits.argmax(dim=1) == wanted).sum())
            losses += float(F.cross_entropy(logits, wanted, reduction="sum"))
            count, seen = count + len(wanted), seen + len(ids)
        if seen != len(split.utterances):
            raise UserError(f"{split.name}: {len(split.utterances)} utterances wanted, {seen} scored")
        score = 100.0 * right / count
        return DevScore(metric=score, loss=losses / count, key=-score)


def _units(states: Sequence[dict[str, Any]], units: int, seed: int) -> dict[str, Tensor]:
    """Clusters of the first split's frames, and every utterance's nearest, frame by frame."""
    pooled = np.concatenate(list(states[0].values()))
    if len(pooled) < units:
        raise UserError(f"{units} units wanted of {len(pooled)} frames: give fewer, or more speech")
    chosen = np.random.default_rng(seed).permutation(len(pooled))[:CLUSTERED]
    centres, _ = kmeans2(pooled[np.sort(chosen)].astype(np.float64), units, minit="++", seed=seed)
    return {
        name: torch.from_numpy(vq(frames.astype(np.float64), centres)[0].astype(np.int64))
        for part in states
        for name, frames in part.items()
    }
