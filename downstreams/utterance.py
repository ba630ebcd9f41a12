"""Utterance-level heads on time-means: SUPERB's linear one for KS, SID and ER, and a non-linear second probe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from downstreams import stacked
from downstreams.featurizer import Featurizer
from harness.contracts import BLOCK_SECONDS, DevScore, FeatureSource, Form, Level, SplitData, TrialSpec
from harness.errors import UserError
from harness.metrics import accuracy
from harness.metrics_classes import uar
from harness.train import step_seed

CHUNK = 512
"""Utterances scored at once."""
ON_DEVICE = 4 << 30
"""Bytes of means that are kept where the head is; more stay in the computer's memory or on its disk."""
BLOCKS_KEPT = 1 << 30
"""Bytes of blocks that are kept in memory between epochs."""


class PooledOptions(BaseModel):
    """`crop_seconds` crops the training utterances that are longer; `balanced` draws every class equally often in
    training (s3prl's sampler for KS, which it also uses on dev; here dev is always scored whole)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    batch: int = Field(gt=0)
    projector: int = Field(default=256, gt=0)
    crop_seconds: float | None = Field(default=None, ge=BLOCK_SECONDS)
    balanced: bool = False
    select: Literal["accuracy", "uar"] = "accuracy"
    data_seed: int = 0


class PooledNet(nn.Module):
    """Layer mix, projector, with `hidden` a ReLU, a linear layer and a ReLU, then a linear layer to the classes.

    (B, L, D) means over time -> (B, classes)."""

    def __init__(self, num_layers: int, in_dim: int, classes: int, projector: int, hidden: bool):
        super().__init__()
        self.featurizer = Featurizer(num_layers)
        self.projector = nn.Linear(in_dim, projector)
        self.hidden = nn.Linear(projector, projector) if hidden else None
        self.linear = nn.Linear(projector, classes)

    def forward(self, means: Tensor) -> Tensor:
        x = self.projector(self.featurizer(means))
        if self.hidden is not None:
            x = self.hidden(x.relu()).relu()
        logits: Tensor = self.linear(x)
        return logits


class PooledLearner(stacked.Stacked):
    """K `PooledNet`s as one computation. A batch is layers (L, B, D) and labels (B,)."""

    def losses(self, batch: tuple[Tensor, Tensor], active: Sequence[int]) -> Tensor:
        layers, labels = (part.to(self.device) for part in batch)
        w = self.weights(active)
        x = stacked.mix(layers, w["featurizer.weights"])
        first, last = (w["projector.weight"], w["projector.bias"]), (w["linear.weight"], w["linear.bias"])
        if "hidden.weight" in w:
            x = stacked.linear(x, *first).relu()
            logits = stacked.linear(stacked.linear(x, w["hidden.weight"], w["hidden.bias"]).relu(), *last)
        else:
            logits = stacked.two_linear(x, *first, *last)
        each = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none")
        return each.view(len(logits), -1).mean(dim=1)


@dataclass(slots=True)
class _Whole:
    """A split as a pooled head reads it. `means` (N, L, D), `labels` (N,) indices into the classes."""

    source: FeatureSource
    split: SplitData
    means: Tensor
    labels: Tensor
    epoch: int = -1
    order: Tensor | None = None


class PooledLinear:
    """SUPERB's head for KS, SID and ER. Implements `contracts.Head`.

    SUPERB mixes the layers of each frame, projects, averages over time and classifies. All of it up to the average is
    affine in the frames, and mean_t(W x_t + b) = W mean_t(x_t) + b, so the same function is computed on the layers'
    means over time: a few numbers an utterance instead of its frames. A crop is a run of whole blocks, whose mean is
    theirs weighted by their frames; s3prl crops the wave before the encoder, at any sample."""

    name = "pooled_linear"
    trainable = True
    accepts: tuple[Level, ...] = ("frame", "utterance")
    reads_test: Form = "means"
    """What dev and test are read as: they are never cropped."""
    hidden = False

    def __init__(self, options: dict[str, Any], device: str = "cpu"):
        self.options = PooledOptions.model_validate(options)
        self.device = device
        self.reads: Form = "means" if self.options.crop_seconds is None else "blocks"
        self._kept: list[_Whole] = []
        self._blocks: dict[str, tuple[Tensor, Tensor]] = {}
        self._short: set[str] = set()
        self._room = BLOCKS_KEPT

    def net(self, num_layers: int, dim: int, classes: int) -> PooledNet:
        return PooledNet(num_layers, dim, classes, self.options.projector, self.hidden)

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> PooledLearner:
        classes = _classes(train)
        nets = stacked.seeded(lambda: self.net(source.num_layers, source.dim, len(classes)), specs)
        return PooledLearner([net.state_dict() for net in nets], self.device, {"classes": stacked.packed(classes)})

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> tuple[Tensor, Tensor]:
        """Layers (L, B, D) and labels (B,). Every epoch is a fresh permutation, or balanced draws with replacement."""
        whole, size = self._whole(source, train), self.options.batch
        epoch, position = divmod(index, -(-len(whole.labels) // size))
        if whole.epoch != epoch or whole.order is None:
            whole.epoch, whole.order = epoch, self._order(whole.labels, epoch).to(whole.labels.device)
        chosen = whole.order[position * size : (position + 1) * size]
        rows = whole.means.view(-1, whole.means.shape[2])
        count = whole.means.shape[1]
        layers = rows.index_select(0, _rows(chosen, count).to(rows.device)).view(count, len(chosen), -1)
        if self.options.crop_seconds is not None and source.level == "frame":
            layers = self._cropped(layers, source, train, chosen.tolist(), index)
        return layers, whole.labels[chosen]

    def _order(self, labels: Tensor, epoch: int) -> Tensor:
        """Indices of one epoch: a permutation, or, balanced, as many draws as whole batches take."""
        generator = np.random.default_rng(step_seed("order", self.options.data_seed, epoch))
        if not self.options.balanced:
            return torch.from_numpy(generator.permutation(len(labels)))
        shares = 1.0 / np.bincount(labels.cpu().numpy())[labels.cpu().numpy()]
        draws = -(-len(labels) // self.options.batch) * self.options.batch
        return torch.from_numpy(generator.choice(len(labels), size=draws, p=shares / shares.sum()))

    def _cropped(
        self, layers: Tensor, source: FeatureSource, train: SplitData, chosen: Sequence[int], index: int
    ) -> Tensor:
        """(L, B, D) with the means of the longer utterances replaced by those of a run of whole blocks."""
        assert self.options.crop_seconds is not None
        length = int(self.options.crop_seconds / BLOCK_SECONDS)
        generator = np.random.default_rng(step_seed("crop", self.options.data_seed, index))
        for place, at in enumerate(chosen):
            draw = generator.random()
            name = train.utterances[at].id
            if name in self._short:
                continue
            blocks, frames = self._blocks_of(source, name)
            if len(frames) <= length:
                self._short.add(name)
                self._blocks.pop(name, None)
                continue
            start = int(draw * (len(frames) - length + 1))
            share = frames[start : start + length]
            crop = torch.einsum("n,nld->ld", share / share.sum(), blocks[start : start + length])
            layers[:, place] = crop.to(layers.device)
        return layers

    def _blocks_of(self, source: FeatureSource, name: str) -> tuple[Tensor, Tensor]:
        kept = self._blocks.get(name)
        if kept is None:
            kept = source.blocks(name)
            if self._room > kept[0].nbytes:
                self._room -= kept[0].nbytes
                self._blocks[name] = kept
        return kept

    def _whole(self, source: FeatureSource, split: SplitData, classes: list[str] | None = None) -> _Whole:
        """The split's means, read once; the two splits last read are kept. Blocks are those of the train split."""
        for kept in self._kept:
            if kept.source is source and kept.split is split:
                return kept
        if classes is None:
            classes = _classes(split)
            self._blocks, self._short, self._room = {}, set(), BLOCKS_KEPT
        means = source.means([u.id for u in split.utterances])
        if means.nbytes <= ON_DEVICE:
            means = means.to(self.device)
        whole = _Whole(source, split, means, _labels(split, classes).to(means.device))
        self._kept = [*self._kept[-1:], whole]
        return whole

    @torch.no_grad()
    def _logits(self, state: Mapping[str, Tensor], chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """(n, classes) for each chunk of means (n, L, D)."""
        weights = dict(state)
        classes = len(stacked.unpacked(weights.pop("classes")))
        net = self.net(len(weights["featurizer.weights"]), weights["projector.weight"].shape[1], classes)
        net.load_state_dict(weights)
        net = net.to(self.device).eval()
        for means in chunks:
            yield net(means.to(self.device)).cpu()

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore:
        """Accuracy (or UAR) in per cent, and the mean cross entropy."""
        classes = stacked.unpacked(state["classes"])
        whole = self._whole(source, dev, classes)
        labels = whole.labels.cpu()
        logits = torch.cat(list(self._logits(state, torch.split(whole.means, CHUNK))))
        found, wanted = ([classes[i] for i in side.tolist()] for side in (logits.argmax(dim=1), labels))
        score = {"accuracy": accuracy, "uar": uar}[self.options.select](found, wanted)
        loss = float(F.cross_entropy(logits, labels))
        return DevScore(metric=score, loss=loss, key=-score)

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[dict[str, Any]]:
        """The class of the largest logit; of equal ones the first in order."""
        classes = stacked.unpacked(state["classes"])
        if split.references:
            _labels(split, classes)
        ids = [u.id for u in split.utterances]
        chunks = (source.means(ids[at : at + CHUNK]) for at in range(0, len(ids), CHUNK))
        found = (best for logits in self._logits(state, chunks) for best in logits.argmax(dim=1).tolist())
        for utterance_id, best in zip(ids, found, strict=True):
            yield {"id": utterance_id, "label": classes[best]}


class PooledMLP(PooledLinear):
    """The second probe: mix, time-mean, then two hidden layers with ReLU. Implements `contracts.Head`.

    A ranking of upstreams may hang on the probe being linear (Zaiem et al. 2023, arXiv:2306.00452)."""

    name = "pooled_mlp"
    hidden = True


def _rows(chosen: Tensor, layers: int) -> Tensor:
    """Rows of (N * L, D) that make (L, B, D) of the chosen utterances."""
    return (chosen[None] * layers + torch.arange(layers, device=chosen.device)[:, None]).flatten()


def _classes(train: SplitData) -> list[str]:
    """Raises UserError where there are not two."""
    classes = sorted(set(train.references.values()))
    if len(classes) < 2:
        count = Counter(train.references.values())
        raise UserError(f"two classes or more wanted in {train.name}, found {dict(count)}; check its labels")
    return classes


def _labels(split: SplitData, classes: Sequence[str]) -> Tensor:
    """(N,) indices into `classes`. Raises UserError for a reference that is none of them, or that is missing."""
    index = {name: i for i, name in enumerate(classes)}
    for utterance in split.utterances:
        reference = split.references.get(utterance.id)
        if reference not in index:
            raise UserError(
                f"one of {len(classes)} training classes ({', '.join(classes[:4])} …) wanted, found {reference!r} for "
                f"{utterance.id} in {split.name}; map or leave out that label"
            )
    return torch.tensor([index[split.references[u.id]] for u in split.utterances])
