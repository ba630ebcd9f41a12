"""Frame-level heads: the symbol of every frame, learnt from labels that say when each symbol ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from downstreams import stacked
from downstreams.utterance import PooledLearner, PooledNet
from harness.contracts import SAMPLE_RATE, DevScore, FeatureSource, Form, Level, SplitData, TrialSpec
from harness.errors import UserError
from harness.metrics_frames import TICKS, frame_accuracy, parse
from harness.progress import progress
from harness.train import step_seed

NO_CLASS = -100
"""The label of a frame whose symbol training has not: left out of the loss (torch's `ignore_index`)."""


class FrameOptions(BaseModel):
    """`batch`: utterances, whose frames are one batch."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    batch: int = Field(gt=0)
    projector: int = Field(default=256, gt=0)
    data_seed: int = 0


class FrameLinear:
    """Layer mix, Linear 256, Linear to the classes, each frame by itself; cross entropy, its mean over all frames of
    the batch. Implements `contracts.Head`.

    It is the network of `pooled_linear` with frames for items. The classes are the symbols of the training labels: a
    symbol that only dev or test has is never predicted, and its time counts as wrong."""

    name = "frame_linear"
    trainable = True
    reads: Form = "frames"
    accepts: tuple[Level, ...] = ("frame",)
    hidden = False

    def __init__(self, options: dict[str, Any], device: str = "cpu"):
        self.options = FrameOptions.model_validate(options)
        self.device = device
        self._train: SplitData | None = None
        self._classes: list[str] = []

    def net(self, num_layers: int, dim: int, classes: int) -> PooledNet:
        return PooledNet(num_layers, dim, classes, self.options.projector, self.hidden)

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> PooledLearner:
        classes = self._symbols(train)
        nets = stacked.seeded(lambda: self.net(source.num_layers, source.dim, len(classes)), specs)
        return PooledLearner([net.state_dict() for net in nets], self.device, {"classes": stacked.packed(classes)})

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> tuple[Tensor, Tensor]:
        """Layers (L, N, D) of the utterances end to end and labels (N,). Every epoch is a fresh permutation."""
        classes, size, count = self._symbols(train), self.options.batch, len(train.utterances)
        epoch, position = divmod(index, -(-count // size))
        order = np.random.default_rng(step_seed("order", self.options.data_seed, epoch)).permutation(count)
        ids = [train.utterances[at].id for at in order[position * size : (position + 1) * size]]
        frames = [source.frames(name) for name in ids]
        labels = [_labels(train, name, classes, len(f), source.stride) for name, f in zip(ids, frames, strict=True)]
        return torch.cat([f.transpose(0, 1) for f in frames], dim=1), torch.cat(labels)

    def _symbols(self, train: SplitData) -> list[str]:
        """Of all training labels, sorted; read once."""
        if self._train is not train:
            self._train = train
            self._classes = sorted({symbol for text in train.references.values() for symbol in parse(text)[0]})
        return self._classes

    @torch.no_grad()
    def _logits(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[Tensor]:
        """(T, classes) of each utterance, in the order of the split."""
        weights = dict(state)
        classes = len(stacked.unpacked(weights.pop("classes")))
        net = self.net(source.num_layers, source.dim, classes)
        net.load_state_dict(weights)
        net = net.to(self.device).eval()
        for utterance in progress(split.utterances, f"{self.name} on {split.name}", len(split.utterances)):
            yield net(source.frames(utterance.id).to(self.device)).cpu()

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore:
        """Frame accuracy in per cent, and the mean cross entropy of the frames whose symbol is one of the classes."""
        classes = stacked.unpacked(state["classes"])
        found, loss, frames = [], 0.0, 0
        for utterance, logits in zip(dev.utterances, self._logits(state, source, dev), strict=True):
            labels = _labels(dev, utterance.id, classes, len(logits), source.stride)
            loss += float(F.cross_entropy(logits, labels, ignore_index=NO_CLASS, reduction="sum"))
            frames += int((labels != NO_CLASS).sum())
            found.append(runs([classes[at] for at in logits.argmax(dim=1).tolist()], source.stride))
        score = frame_accuracy(found, [dev.references[u.id] for u in dev.utterances])
        return DevScore(metric=score, loss=loss / max(frames, 1), key=-score)

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[dict[str, Any]]:
        """The symbols of the largest logits, of equal ones the first in order, as `runs` writes them."""
        classes = stacked.unpacked(state["classes"])
        for utterance, logits in zip(split.utterances, self._logits(state, source, split), strict=True):
            found = [classes[at] for at in logits.argmax(dim=1).tolist()]
            yield {"id": utterance.id, "text": runs(found, source.stride)}


class FrameMLP(FrameLinear):
    """The second probe: mix, then two hidden layers with ReLU, as `pooled_mlp`. Implements `contracts.Head`."""

    name = "frame_mlp"
    hidden = True


def symbols_of_frames(text: str, frames: int, stride: int) -> list[str]:
    """The symbol at the middle of each frame, (t + 0.5) stride / 16,000 s; past the last end it is the last symbol.

    `text`: as `harness.metrics_frames.parse` reads it. `stride`: samples at 16 kHz."""
    symbols, ends = parse(text)
    middles = (np.arange(frames) + 0.5) * stride * TICKS / SAMPLE_RATE
    return [symbols[min(at, len(symbols) - 1)] for at in np.searchsorted(ends, middles, side="right").tolist()]


def runs(symbols: Sequence[str], stride: int) -> str:
    """The symbols of frames as "symbol:end", one for each run of equal ones; `end` in seconds, of its last frame."""
    last = [t for t in range(len(symbols)) if t + 1 == len(symbols) or symbols[t + 1] != symbols[t]]
    return " ".join(f"{symbols[t]}:{(t + 1) * stride / SAMPLE_RATE:.4f}" for t in last)


def _labels(split: SplitData, utterance_id: str, classes: Sequence[str], frames: int, stride: int) -> Tensor:
    """(frames,) indices into the classes, or NO_CLASS. Raises UserError where the utterance has no reference."""
    if utterance_id not in split.references:
        raise UserError(f"labels for each utterance of {split.name} wanted, {utterance_id} has none; add them")
    index = {name: at for at, name in enumerate(classes)}
    found = symbols_of_frames(split.references[utterance_id], frames, stride)
    return torch.tensor([index.get(symbol, NO_CLASS) for symbol in found])
