"""Trains a stage of VIB on a frozen backbone's frames and judges it on validation; the loop is `harness.train.fit`.

A batch's utterances are laid end to end, so the per-frame network sees no padding and an utterance's latent does not
depend on its batch; only CTC and the attention poolers see the utterances padded, and mask it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from harness import ctc
from harness.contracts import DevScore, FeatureSource, SplitData
from harness.errors import UserError
from harness.metrics_sequences import error_rate
from harness.text import normalise
from harness.train import Plan, step_seed
from upstreams.vib.loss import beta_at, kl
from upstreams.vib.network import Vib, padded
from upstreams.vib.settings import Settings

IN_MEMORY = 4 << 30
"""Bytes of frames held in memory, in half precision; those beyond are read from the store each time."""
EVALUATED = 32
"""Utterances judged at once."""
NOT_YET = float("inf")
"""The key of a state whose beta has not reached its last value: dev does not choose among those."""


class Batch(NamedTuple):
    """Utterances end to end: frames of the mix's layers, (N, layers, D), the frames of each utterance, and its place
    in the split."""

    frames: Tensor
    lengths: list[int]
    places: list[int]


class Rows:
    """The frames of a split's utterances, of the mix's layers only."""

    def __init__(self, split: SplitData, source: FeatureSource, layers: Sequence[int], device: str = "cpu"):
        self.ids = [u.id for u in split.utterances]
        self.source, self.layers, self.device = source, list(layers), device
        self._kept: dict[str, Tensor] = {}
        self._room = IN_MEMORY

    def __len__(self) -> int:
        return len(self.ids)

    def frames(self, place: int) -> Tensor:
        """(T, layers, D) float32, on the device."""
        name = self.ids[place]
        found = self._kept.get(name)
        if found is None:
            found = self.source.frames(name)[:, self.layers].half()
            if found.nbytes <= self._room:
                self._room -= found.nbytes
                self._kept[name] = found
        return found.to(self.device).float()

    def batch(self, places: Sequence[int]) -> Batch:
        every = [self.frames(place) for place in places]
        return Batch(torch.cat(every), [len(frames) for frames in every], list(places))

    def batches(self) -> list[list[int]]:
        """All places in order, `EVALUATED` at a time."""
        return [list(range(at, min(at + EVALUATED, len(self)))) for at in range(0, len(self), EVALUATED)]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each dimension of each layer over all frames, (layers, D) float32 each."""
        count, first, second = 0, torch.zeros(1), torch.zeros(1)
        for place in range(len(self)):
            frames = self.frames(place).double()
            count, first, second = count + len(frames), first + frames.sum(0), second + frames.square().sum(0)
        mean = first / count
        return mean.float(), (second / count - mean.square()).clamp(min=0).sqrt().float()


class Task(ABC):
    """What a stage is trained for beside the KL."""

    outputs: list[str]
    """Names of the decoder's outputs."""
    metric: str

    @abstractmethod
    def loss(self, network: Vib, latent: Tensor, batch: Batch) -> Tensor:
        """The mean over the utterances, a scalar; `latent` is (N, d)."""

    @abstractmethod
    def score(self, network: Vib, rows: Rows) -> tuple[float, float]:
        """The metric in per cent and the mean loss of a network in eval mode, over all rows."""

    @abstractmethod
    def key(self, metric: float) -> float:
        """Smaller is better."""


class Transcription(Task):
    """Stage 1: CTC over SUPERB's letters, greedy WER on validation. Targets have no end-of-sentence symbol."""

    metric = "wer"

    def __init__(self, split: SplitData):
        self.symbols = ctc.Symbols("letters")
        self.outputs = list(self.symbols.symbols)
        self.references = [normalise(u.text) for u in split.utterances]
        empty = [u.id for u, text in zip(split.utterances, self.references, strict=True) if not text]
        if empty:
            raise UserError(f"stage text: a text for every utterance wanted, {len(empty)} have none, first {empty[0]}")
        self.targets = [self.symbols.encode(text)[:-1] for text in self.references]

    def loss(self, network: Vib, latent: Tensor, batch: Batch) -> Tensor:
        logits, _ = padded(network.decoder(latent), batch.lengths)
        return ctc.losses(logits, torch.tensor(batch.lengths), [self.targets[i] for i in batch.places]).mean()

    def score(self, network: Vib, rows: Rows) -> tuple[float, float]:
        found, total = [], 0.0
        for places in rows.batches():
            batch = rows.batch(places)
            latent, _, _ = network.latent(batch.frames)
            total += self.loss(network, latent, batch).item() * len(places)
            found += [ctc.greedy(one) for one in torch.split(network.decoder(latent), batch.lengths)]
        said = [self.symbols.decode(ids) for ids in found]
        return error_rate(said, self.references, "word"), total / len(rows)

    def key(self, metric: float) -> float:
        return metric


class Classification(Task):
    """Stage 2: cross-entropy, with the frozen mean of stage 1 beside the latent; accuracy on validation."""

    metric = "accuracy"

    def __init__(self, labels: Sequence[str], classes: Sequence[str], text_mu: Sequence[Tensor]):
        """`labels` and `text_mu`, (T, d) each, of the split's utterances in order."""
        unknown = sorted(set(labels) - set(classes))
        if unknown:
            raise UserError(f"stage acoustic: class {unknown[0]!r} is in `val` and not in `train`")
        self.outputs = list(classes)
        self.labels = torch.tensor([self.outputs.index(label) for label in labels])
        self.text_mu = text_mu

    def logits(self, network: Vib, latent: Tensor, batch: Batch) -> Tensor:
        """(B, C)."""
        acoustic, mask = padded(latent, batch.lengths)
        text, _ = padded(torch.cat([self.text_mu[i].to(latent.device) for i in batch.places]), batch.lengths)
        found: Tensor = network.decoder(text, acoustic, mask)
        return found

    def loss(self, network: Vib, latent: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(self.logits(network, latent, batch), self.labels[batch.places].to(latent.device))

    def score(self, network: Vib, rows: Rows) -> tuple[float, float]:
        right, total = 0, 0.0
        for places in rows.batches():
            batch = rows.batch(places)
            logits = self.logits(network, network.latent(batch.frames)[0], batch).cpu()
            right += int((logits.argmax(dim=1) == self.labels[places]).sum())
            total += F.cross_entropy(logits, self.labels[places], reduction="sum").item()
        return 100 * right / len(rows), total / len(rows)

    def key(self, metric: float) -> float:
        return -metric


@torch.no_grad()
def means(network: Vib, rows: Rows) -> list[Tensor]:
    """The mean of the latent of every utterance, (T, d) each."""
    return [network.latent(rows.frames(place))[1] for place in range(len(rows))]


@dataclass(frozen=True)
class Steps:
    """Updates of a recipe on `count` utterances."""

    settings: Settings
    count: int

    @property
    def micro_batches(self) -> int:
        """In an epoch; the last is smaller where the utterances do not divide."""
        return -(-self.count // self.settings.batch)

    @property
    def epoch(self) -> int:
        return -(-self.micro_batches // self.settings.accumulate)

    @property
    def all(self) -> int:
        return self.epoch * self.settings.epochs

    @property
    def rise(self) -> int:
        """Updates over which beta rises; none where it is constant."""
        first, last = self.settings.beta
        return 0 if first == last or not self.settings.bottleneck else self.all - self.epoch * self.settings.hold

    def plan(self) -> Plan:
        return Plan(
            steps=self.all,
            accumulate=self.settings.accumulate,
            optimiser="adamw",
            weight_decay=self.settings.weight_decay,
            clip=1.0,
            eval_every=self.epoch,
        )


class Learner:
    """One network; follows `harness.contracts.Learner`."""

    def __init__(self, network: Vib, task: Task, rows: Rows, settings: Settings, seed: int):
        self.network, self.task, self.rows, self.settings, self.seed = network, task, rows, settings, seed
        self.steps = Steps(settings, len(rows))
        self.step = 0
        self._terms: dict[str, float] = {}

    @property
    def beta(self) -> float:
        return beta_at(self.step, self.steps.rise, self.settings.beta) if self.settings.bottleneck else 0.0

    def begin(self, step: int) -> None:
        """Before update `step`."""
        self.step = step

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch `micro` of update `step`: an epoch permutes the utterances; a pure function of seed and step."""
        index = step * self.settings.accumulate + micro
        epoch, at = divmod(index, self.steps.micro_batches)
        generator = torch.Generator().manual_seed(step_seed("order", self.seed, epoch))
        order = torch.randperm(len(self.rows), generator=generator).tolist()
        return self.rows.batch(order[at * self.settings.batch : (at + 1) * self.settings.batch])

    def losses(self, batch: Batch, active: Sequence[int]) -> Tensor:
        latent, mu, var = self.network.latent(batch.frames)
        task = self.task.loss(self.network, latent, batch)
        info = kl(mu, var).mean()
        self._terms = {self.task.metric + "_loss": task.item(), "kl": info.item(), "beta": self.beta}
        return (task + self.beta * info if self.settings.bottleneck else task)[None]

    def terms(self) -> dict[str, float]:
        """Of the last micro-batch: the task's loss, the KL in nats a frame, and beta."""
        return self._terms

    def trial_parameters(self, k: int) -> list[Tensor]:
        return list(self.network.parameters())

    def state(self, k: int) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        self.network.load_state_dict(state)

    def zero_grad(self) -> None:
        self.network.zero_grad()

    def train(self, mode: bool = True) -> None:
        self.network.train(mode)


class Validation:
    """Judges the learner's network on the validation rows."""

    def __init__(self, learner: Learner, task: Task, rows: Rows):
        self.learner, self.task, self.rows = learner, task, rows

    @torch.no_grad()
    def score(self) -> DevScore:
        """The metric, then the task's loss. A state trained below the last beta cannot be chosen: its bottleneck is
        wider than the recipe's."""
        metric, loss = self.task.score(self.learner.network, self.rows)
        last = self.learner.step >= self.learner.steps.rise
        return DevScore(metric, loss, self.task.key(metric) if last else NOT_YET)

    @torch.no_grad()
    def kl(self) -> float:
        """Nats a frame, over all frames."""
        network = self.learner.network
        every = [kl(*network.latent(self.rows.frames(place))[1:]) for place in range(len(self.rows))]
        return torch.cat(every).double().mean().item()
