"""The protocols that the rooms agree on. Shapes and units are stated here once.

An utterance walks one way: a `tasks` row -> waveform -> an `Upstream`'s hidden states -> the feature store ->
a `Head` -> predictions -> metrics. Nothing in this file knows a concrete model, head or corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

SAMPLE_RATE = 16_000
"""Hz. Every waveform handed to an upstream has it."""
BLOCK_SECONDS = 1.0
"""Length of the blocks whose means a pooled head crops from."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One manifest row. `start` and `duration` are seconds into the audio member; `rate` is the file's own, in Hz."""

    id: str
    corpus: str
    split: str
    archive: Path | None
    member: str
    start: float
    duration: float
    rate: int
    speaker: str
    speaker_known: str
    language: str
    channel: str
    text: str
    phones: str
    label: str
    source: str
    licence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A verification trial: do `enrol` and `test` (utterance ids) come from one speaker?"""

    id: str
    enrol: str
    test: str
    target: bool
    same: Mapping[str, bool] = field(default_factory=dict)
    """By 'language', 'channel' and 'gender', where it is known: do the two sides share it?"""


Level = Literal["frame", "utterance"]
Form = Literal["frames", "means", "blocks"]
"""What is kept of an utterance: its hidden states, their mean over time, or their means over blocks of a second."""


@runtime_checkable
class Upstream(Protocol):
    """A frozen speech model: waveforms in, hidden states out, each utterance encoded free of its batch.

    A backbone has `base = None` and implements `layers`; what sits on a frozen backbone has `base = its name` and
    implements `transform`, a map on the backbone's stored hidden states. What is a backbone with other weights has
    `base = None`, implements `layers`, and names the backbone that it is compared with by an attribute `derived_from`.
    """

    name: str
    base: str | None
    level: Level
    dim: int
    num_layers: int
    stride: int
    """Samples at 16 kHz from one frame to the next (an int). 0 for level 'utterance'."""
    fingerprint: str
    """sha256 over weights and the upstream's own modules: two upstreams with one fingerprint give the same features."""

    def layers(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Waves: 1-D float32, 16 kHz, in [-1, 1], all of one length n. One (T, L, D) a wave, T = ceil(n / stride)."""
        ...

    def transform(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """The base's hidden states, one (T, L, D) a wave, any lengths. Returns one (T', L', D') a wave; T' = 1 at
        level 'utterance'."""
        ...

    def to(self, device: torch.device | str) -> Any: ...


class FeatureSource(Protocol):
    """What a head reads: hidden states of utterances by id, from the store or encoded on the fly."""

    num_layers: int
    dim: int
    level: Level
    stride: int

    def frames(self, utterance_id: str) -> Tensor:
        """(T, L, D) float32."""
        ...

    def mean(self, utterance_id: str) -> Tensor:
        """Mean over time, (L, D) float32."""
        ...

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        """(N, L, D) float32, in the order of the ids; memory-mapped where it would not fit in memory."""
        ...

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        """Means over consecutive blocks of BLOCK_SECONDS, (N, L, D) float32, and the frames in each, (N,) float32; the
        last block may be shorter. A mean over any run of blocks is their mean weighted by their frames."""
        ...


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """One run of a head's grid: a learning rate and the head's seed."""

    lr: float
    seed: int


@dataclass(frozen=True, slots=True)
class DevScore:
    """A trial's score on dev. `key` orders trials: smaller is better, compared before `loss`."""

    metric: float
    loss: float
    key: float


class Learner(Protocol):
    """What the training loop trains: K trials side by side on the same batches, their gradients kept apart.

    A learner may have `optimiser_options`, a dict of further arguments for the optimiser (`fused`, say), and
    `groups(k)`, trial k's parameters in parts, each with what its learning rate is multiplied by."""

    def trial_parameters(self, k: int) -> list[Tensor]:
        """The tensors that trial k alone owns; each has `.grad` after a backward pass of the summed losses."""
        ...

    def losses(self, batch: Any, active: Sequence[int]) -> Tensor:
        """Losses of one micro-batch, one for each trial in `active` and in that order; trial k's parameters receive a
        gradient from its own loss alone."""
        ...

    def state(self, k: int) -> dict[str, Tensor]:
        """Trial k's weights, detached copies."""
        ...

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None: ...

    def zero_grad(self) -> None:
        """Before an update. nn.Module's own sets gradients to None; a stacked learner zeroes them in place."""
        ...

    def train(self, mode: bool = True) -> Any: ...


@dataclass(slots=True)
class SplitData:
    """The rows a head may read: utterances, and either the trials on them or a reference for each."""

    name: str
    utterances: list[Utterance]
    trials: list[Trial] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    """By utterance id: the class (classification), the normalised words (words), the phones with words apart by ' | '
    (phones), or phones with their ends in seconds, 'sym:end sym:end' (frames). Empty for verification."""


class Head(Protocol):
    """A downstream: how a head is built, fed, judged on dev, and how it predicts. Configured by the task's YAML."""

    name: str
    trainable: bool
    reads: Form
    """Of the training utterances; a head that crops in training only says by `reads_test` how it reads dev and test."""
    accepts: tuple[Level, ...]
    """The upstream levels it works on."""

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> Learner:
        """The stacked trials, each initialised from its own seed."""
        ...

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> Any:
        """Micro-batch number `index` of the training; a pure function, so that a resumed run sees the same data."""
        ...

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore: ...

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterable[dict[str, Any]]:
        """One prediction a trial or utterance, each with its `id`. `state` is a learner's; empty if untrained."""
        ...


class Objective(Protocol):
    """A head trained together with the encoder below it: what a recipe that fine-tunes minimises. An `nn.Module`.

    Hidden states come as utterances end to end, (N, D), with the frames of each and their ids."""

    metric: str
    """What `judge` scores by, as in the task's results."""

    def parameters(self) -> Iterable[Any]: ...

    def loss(self, frames: Tensor, lengths: Sequence[int], ids: Sequence[str]) -> Tensor:
        """The mean over the utterances, a scalar with a gradient."""
        ...

    def judge(self, batches: Iterable[tuple[Tensor, Sequence[int], Sequence[str]]], split: SplitData) -> DevScore:
        """The score of a whole split, its frames batch by batch. Raises UserError where an utterance is missing."""
        ...
