"""Probes of a frozen representation, as the authors probe theirs (arXiv 2410.03037): a frame's symbols by one linear
map and CTC, an utterance's class by one-query attention over its frames and a linear map.

The first is the head `linear_ctc`, whose two linear maps with nothing between them are one; the second stands here.
Dev picks the learning rate and the update; the test rows are scored once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.nn import functional as F

from harness import selection, uncertainty
from harness.cell_head import build_head
from harness.contracts import DevScore, FeatureSource, Form, Head, Level, SplitData, TrialSpec
from harness.errors import UserError
from harness.evaluate import reference_table
from harness.metrics import METRICS, accuracy, score
from harness.results import Interval
from harness.schedules import cosine
from harness.train import Plan, fit, step_seed
from upstreams.vib.network import padded

LEVEL = 0.05
"""Of the test where there is no interval."""
EVALUATED = 64
"""Utterances scored at once."""
Verdict = Literal["better than chance", "at chance", "worse than chance", "n/a"]


class Settings(BaseModel):
    """How the probes train: AdamW, clipping at 1 and the cosine of the stages themselves; sizes for minutes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = 1
    """Raised when the same settings give other figures."""
    steps: int = Field(default=400, gt=0)
    batch: int = Field(default=32, gt=0)
    """Of the classes; CTC takes half."""
    lrs: tuple[float, ...] = (1e-2, 1e-3)
    weight_decay: float = 0.005
    warmup: float = Field(default=0.1, ge=0, lt=1)
    evaluations: int = Field(default=8, gt=0)
    seed: int = 0


@dataclass(slots=True)
class Batch:
    hidden: Tensor
    """(L, N, D), utterances end to end."""
    lengths: list[int]
    labels: Tensor
    """(B,)"""


class AttentionNet(nn.Module):
    """Layer mix, attention pooling by one query of ones at the start, linear.

    The weights of the frames sum to 1, so W sum_t(a_t x_t) = sum_t(a_t W x_t): a frame's class scores and its product
    with the query are one small matrix product, and only those few numbers a frame are padded."""

    def __init__(self, num_layers: int, dim: int, classes: int):
        super().__init__()
        self.mix, self.query = nn.Parameter(torch.zeros(num_layers)), nn.Parameter(torch.ones(dim))
        self.linear = nn.Linear(dim, classes)

    def forward(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        """(L, N, D), utterances end to end, N the sum of `lengths` -> logits (B, classes)."""
        mixed = (self.mix.softmax(dim=0) @ hidden.flatten(1)).view(hidden.shape[1:])
        scored, counts = padded(mixed @ torch.cat([self.linear.weight, self.query[None]]).T, lengths)
        share = scored[..., -1].masked_fill(~counts, -torch.inf).softmax(dim=1)
        return (share[..., None] * scored[..., :-1]).sum(dim=1) + self.linear.bias


class Learner(nn.Module):
    """K networks on the same batches; follows `harness.contracts.Learner`."""

    def __init__(self, nets: Sequence[AttentionNet]):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def trial_parameters(self, k: int) -> list[Tensor]:
        return list(self.nets[k].parameters())

    def losses(self, batch: Batch, active: Sequence[int]) -> Tensor:
        return torch.stack([F.cross_entropy(self.nets[k](batch.hidden, batch.lengths), batch.labels) for k in active])

    def state(self, k: int) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.nets[k].state_dict().items()}

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        self.nets[k].load_state_dict(state)


class AttentionProbe:
    """An utterance's class by attention pooling. Implements `contracts.Head`, for one train split."""

    name = "attention"
    trainable = True
    reads: Form = "frames"
    accepts: tuple[Level, ...] = ("frame",)

    def __init__(self, batch: int, device: str = "cpu"):
        self.size, self.device = batch, device
        self.classes: list[str] = []

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> Learner:
        self.classes = sorted(set(train.references.values()))
        if len(self.classes) < 2:
            raise UserError(f"two classes or more wanted in {train.name}, found {self.classes}; check its labels")
        nets = []
        for spec in specs:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(step_seed("probe", spec.seed))
                nets.append(AttentionNet(source.num_layers, source.dim, len(self.classes)))
        return Learner(nets).to(self.device)

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> Batch:
        """Every epoch is a fresh permutation."""
        count = len(train.utterances)
        epoch, position = divmod(index, -(-count // self.size))
        order = np.random.default_rng(step_seed("order", epoch)).permutation(count)
        return self._read(source, train, order[position * self.size : (position + 1) * self.size].tolist())

    def _read(self, source: FeatureSource, split: SplitData, places: Sequence[int]) -> Batch:
        ids = [split.utterances[i].id for i in places]
        frames = [source.frames(name) for name in ids]
        labels = [self.classes.index(split.references[name]) if self._known(split, name) else -1 for name in ids]
        hidden = torch.cat([f.transpose(0, 1) for f in frames], dim=1).to(self.device)
        return Batch(hidden, [len(f) for f in frames], torch.tensor(labels, device=self.device))

    def _known(self, split: SplitData, name: str) -> bool:
        return split.references[name] in self.classes

    @torch.no_grad()
    def _logits(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> tuple[Tensor, Tensor]:
        """Logits (N, classes) and labels (N,), -1 where training has not had the class."""
        net = AttentionNet(source.num_layers, source.dim, len(self.classes)).to(self.device).eval()
        net.load_state_dict(state)
        found, labels = [], []
        for at in range(0, len(split.utterances), EVALUATED):
            batch = self._read(source, split, range(at, min(at + EVALUATED, len(split.utterances))))
            found.append(net(batch.hidden, batch.lengths).cpu())
            labels.append(batch.labels.cpu())
        return torch.cat(found), torch.cat(labels)

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore:
        """Accuracy in per cent, and the mean cross entropy over the classes that training has."""
        logits, labels = self._logits(state, source, dev)
        right = accuracy(logits.argmax(dim=1).tolist(), labels.tolist())
        known = labels >= 0
        loss = float(F.cross_entropy(logits[known], labels[known])) if bool(known.any()) else 0.0
        return DevScore(metric=right, loss=loss, key=-right)

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[dict[str, Any]]:
        """The class of the largest logit; of equal ones the first in order."""
        best = self._logits(state, source, split)[0].argmax(dim=1).tolist()
        for utterance, index in zip(split.utterances, best, strict=True):
            yield {"id": utterance.id, "label": self.classes[index]}


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe's figures, all in per cent. `low` and `high` are None with fewer than 8 test speakers."""

    metric: str
    value: float
    low: float | None
    high: float | None
    chance: float
    constant: float
    """What the best constant answer scores on the test rows."""
    verdict: Verdict
    test: int
    speakers: int
    dev: float
    lr: float
    step: int

    def row(self) -> dict[str, Any]:
        return {name: math.nan if value is None else value for name, value in asdict(self).items()}


def probe(
    source: FeatureSource, splits: Mapping[str, SplitData], words: bool, chance: float | None, settings: Settings,
    device: str, what: str,
) -> Probed:  # fmt: skip
    """Train on `splits['train']`, select on 'dev', score 'test' once: words by CTC (WER), else classes (accuracy).

    `chance` in per cent; None: what answering with the commonest class of train scores on test. Raises UserError where
    every learning rate diverges, and where a test row has no prediction."""
    batch = max(1, settings.batch // 2) if words else settings.batch
    head: Head = (
        build_head("linear_ctc", {"symbols": "letters", "batch": batch}, device)
        if words
        else AttentionProbe(batch, device)
    )
    train, dev, test = splits["train"], splits["dev"], splits["test"]
    plan = Plan(
        steps=settings.steps,
        optimiser="adamw",
        weight_decay=settings.weight_decay,
        clip=1.0,
        eval_every=-(-settings.steps // settings.evaluations),
    )
    specs = [TrialSpec(lr, settings.seed) for lr in settings.lrs]
    learner = head.learner(source, train, specs)
    outcomes = fit(
        learner,
        specs,
        lambda step, micro: head.batch(source, train, step),
        lambda k: head.dev(learner.state(k), source, dev),
        plan,
        rate=cosine(settings.steps, settings.warmup),
        what=what,
    )
    kind, metric = ("words", "wer") if words else ("classification", "accuracy")
    state, chosen = selection.of_trials(outcomes, metric, None)
    predictions = {row["id"]: row for row in head.predict(state, source, test)}
    references = reference_table(test)
    value = score(kind, predictions, references)[metric]
    interval = uncertainty.interval(metric, predictions, references)
    answers = list(test.references.values())
    if words:
        chance = constant = 100.0  # no word at all
        right = None
    else:
        known = list(train.references.values())
        common = max(sorted(set(known)), key=known.count)
        chance = 100.0 * answers.count(common) / len(answers) if chance is None else chance
        constant = 100.0 * max(answers.count(one) for one in set(answers)) / len(answers)
        right = round(value * len(answers) / 100)
    assert chosen.dev_metric is not None and chosen.lr is not None and chosen.step is not None
    return Probed(
        metric, value, interval.low if interval else None, interval.high if interval else None, chance, constant,
        verdict(interval, chance, constant, METRICS[metric].higher_is_better, right, len(answers)),
        len(answers), references["speaker"].nunique(), chosen.dev_metric, chosen.lr, chosen.step,
    )  # fmt: skip


def verdict(
    interval: Interval | None, chance: float, constant: float, higher: bool, right: int | None, count: int
) -> Verdict:
    """Whether a score (per cent) is better than the best constant answer, worse than chance, or neither.

    By its 95 % interval; without one, of `right` items out of `count`, by exact two-sided binomial tests, which take
    the items for independent. n/a where there is neither. A constant answer may beat chance where the classes of the
    test rows are uneven, so the bars differ."""
    if interval is not None:
        better = interval.low > constant if higher else interval.high < constant
        worse = interval.high < chance if higher else interval.low > chance
    elif right is not None:
        better = right > count * constant / 100 and _apart(right, count, constant)
        worse = right < count * chance / 100 and _apart(right, count, chance)
    else:
        return "n/a"
    return "better than chance" if better else "worse than chance" if worse else "at chance"


def _apart(right: int, count: int, bar: float) -> bool:
    return 0 < bar < 100 and bool(binomtest(right, count, bar / 100).pvalue < LEVEL)
