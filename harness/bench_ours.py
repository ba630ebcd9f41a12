"""Our side of `python harness/bench.py`: one task's features from an empty store, then the head's training, timed.

Pooled heads are trained whole, at SUPERB's number of updates and with every scoring of dev; frame heads for some
updates, from which the whole is computed. Nothing here is a score: rates are chosen so that no trial diverges.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import audio
from harness.cell_head import build_head, reads_test
from harness.cell_upstream import Resolved
from harness.config import Runtime, Task
from harness.contracts import SAMPLE_RATE, DevScore, Form, Head, SplitData, TrialSpec
from harness.errors import UserError
from harness.features import Features
from harness.provenance import peak_memory_mb
from harness.registry import resolve
from harness.train import Plan, fit

Layers = Callable[[Sequence[Tensor]], list[Tensor]]

ONE = (1e-4,)
GRID = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""What a rate is has no part in what an update costs, unless a trial diverges and is dropped."""
SOME = {"pr": 40, "asr": 6, "asv": 8}
"""Updates that a frame head is timed over; a pooled one is trained whole."""
GRID_UPDATES = {"pr": 20, "asr": 2, "asv": 3}
POOLED_GRID_UPDATES = 2_000
SID_SPEAKERS = 1_251
"""The speaker classes of SUPERB's SID, which s3prl's head always has."""
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Settings:
    """`updates` caps the updates of every task, `clips` the training clips; None: the whole."""

    task: str
    upstream: str
    folder: str | None = None
    updates: int | None = None
    clips: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    threads: int | None = None
    suite: str = "mini"
    preset: str = "superb"


@dataclass(frozen=True)
class Timed:
    """Seconds of wall time, and `cpu` seconds of the processor, all threads together. `update` is the median."""

    updates: int
    update: float
    total: float
    cpu: float


@dataclass(frozen=True)
class Ours:
    """One task. `encode` is the seconds of the training clips' features, `encode_dev` of dev's; `one` and `grid` are
    updates of the head at one and at five learning rates; `scoring` is one trial's score on dev, of which a training
    has `scorings`. `training` is a whole training at one rate as it ran, dev included; None where it was cut short.
    `…_cpu`: the processor's seconds for the same, all threads together."""

    task: str
    head: str
    clips: int
    dev_clips: int
    audio: float
    encode: float
    encode_cpu: float
    encode_dev: float
    encode_dev_cpu: float
    one: Timed
    grid: Timed
    scoring: float
    scoring_cpu: float
    scorings: int
    updates: int
    training: float | None
    reads: str
    bytes_a_second: float
    memory_mb: float
    threads: int
    device: str

    @property
    def whole(self) -> float:
        """Features and training of one learning rate: measured where `training` is, else computed."""
        features = self.encode + self.encode_dev
        if self.training is not None:
            return features + self.training
        return features + self.updates * self.one.update + self.scorings * self.scoring

    @property
    def whole_grid(self) -> float:
        """The same for five learning rates on one pass of features, always computed."""
        scored = self.scorings * self.scoring * len(GRID)
        return self.encode + self.encode_dev + self.updates * self.grid.update + scored


def training_set(settings: Settings) -> tuple[Task, SplitData, SplitData]:
    """(task, train, dev); the training clips cut to `settings.clips`, spread over the set."""
    task, _ = resolve("tasks.catalogue:load")(settings.task, settings.suite)
    data = resolve("tasks.catalogue:Data")(task)
    train: SplitData = data.named("train")
    if settings.clips is not None:
        kept = train.utterances[:: max(1, len(train.utterances) // settings.clips)][: settings.clips]
        train = SplitData(train.name, kept, train.trials, train.references)  # with every class, as the whole set has
    return task, train, data.named("dev")


def clips(settings: Settings) -> list[tuple[np.ndarray, str, str, str, str]]:
    """(wave, speaker, label, text, phones) of the training clips, the task's front end applied: s3prl's share."""
    task, train, _ = training_set(settings)
    phones = train.references if task.kind == "phones" else {}
    return [
        (wave, u.speaker, u.label, u.text, phones.get(u.id, ""))
        for u, wave in zip(train.utterances, _waves(task, train), strict=True)
    ]


def _waves(task: Task, train: SplitData) -> Iterator[np.ndarray]:
    chain = resolve("tasks.catalogue:condition")(task, "train")
    for utterance in train.utterances:
        wave = audio.read(utterance)
        yield chain.apply(wave, utterance.id) if chain else wave


def measure(settings: Settings) -> Ours:
    """Time one task. Raises UserError as a cell does, and where a trial diverges."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    task, train, dev = training_set(settings)
    seconds_of_audio = sum(len(wave) for wave in _waves(task, train)) / SAMPLE_RATE
    name = task.default_head("frame")
    preset = task.heads[name].presets[settings.preset]
    assert preset.plan is not None
    head = build_head(name, preset.options, settings.device)
    with tempfile.TemporaryDirectory() as folder:
        sources = _sources(settings, task, Path(folder))
        source, encode = _encoded(sources(train, "train"), train, head.reads, settings, "train")
        dev_source, encode_dev = _encoded(sources(dev, "dev"), dev, reads_test(head), settings, "dev")
        if settings.task == "sid":
            train = _with_speakers(train, SID_SPEAKERS)
        trained = _Training(settings, head, source, train, dev_source, dev, preset.plan)
        limit = preset.plan.steps if settings.updates is None else settings.updates
        whole = limit >= preset.plan.steps and settings.task not in SOME
        one = trained.run(ONE, preset.plan.steps if whole else min(limit, SOME.get(settings.task, limit)), whole)
        grid = trained.run(GRID, min(limit, GRID_UPDATES.get(settings.task, POOLED_GRID_UPDATES)), False)
        scoring, scoring_cpu = trained.scoring()
        bytes_a_second = SAMPLE_RATE / source.stride * source.num_layers * source.dim * 2
        return Ours(
            task=settings.task,
            head=name,
            clips=len(train.utterances),
            dev_clips=len(dev.utterances),
            audio=seconds_of_audio,
            encode=encode.total,
            encode_cpu=encode.cpu,
            encode_dev=encode_dev.total,
            encode_dev_cpu=encode_dev.cpu,
            one=one,
            grid=grid,
            scoring=scoring,
            scoring_cpu=scoring_cpu,
            scorings=-(-preset.plan.steps // preset.plan.eval_every),
            updates=preset.plan.steps,
            training=one.total if whole else None,
            reads=head.reads,
            bytes_a_second=bytes_a_second if head.reads == "frames" else 0.0,
            memory_mb=peak_memory_mb(),
            threads=torch.get_num_threads(),
            device=settings.device,
        )


def _with_speakers(train: SplitData, count: int) -> SplitData:
    """Classes that no clip has, so that the head is as large as SUPERB's."""
    lacking = count - len(set(train.references.values()))
    more = {f"nobody {n}": f"speaker {n}" for n in range(max(0, lacking))}
    return SplitData(train.name, train.utterances, train.trials, train.references | more)


# -- features ---------------------------------------------------------------------------------------------------------


def _sources(settings: Settings, task: Task, root: Path) -> Callable[[SplitData, str], Features]:
    folder = Path(settings.folder) if settings.folder else None
    together = 16 if settings.device.startswith("cuda") else 1  # as `run.py` does
    runtime = Runtime(out=root, cache=root, device=settings.device, folder=folder, encode_batch=together)
    upstream = Resolved(settings.upstream, 0, runtime)
    backbone: Any = upstream.base or upstream.upstream
    backbone.layers = in_precision(backbone.layers, settings.precision, settings.device)

    def source(split: SplitData, part: str) -> Features:
        chain = resolve("tasks.catalogue:condition")(task, part)
        found = upstream.features(split.utterances, {u.id: chain for u in split.utterances} if chain else {}, None)
        assert isinstance(found, Features)  # a view of single layers has a name of its own
        return found

    return source


def in_precision(layers: Layers, precision: str, device: str) -> Layers:
    """An upstream's `layers` under autocast to half the bits; what it gives is float32 as before."""
    dtype = PRECISIONS[precision]
    if dtype is None:
        return layers

    def cast(waves: Sequence[Tensor]) -> list[Tensor]:
        with torch.autocast(torch.device(device).type, dtype=dtype):
            return [frames.float() for frames in layers(waves)]

    return cast


def _encoded(source: Features, split: SplitData, form: Form, settings: Settings, part: str) -> tuple[Features, Timed]:
    clock = _Clock(settings.device)
    source.prepare([u.id for u in split.utterances], form, f"{settings.task}: {form} of {part}")
    wall, cpu = clock.read()
    return source, Timed(0, 0.0, wall, cpu)


# -- training ---------------------------------------------------------------------------------------------------------


class _Clock:
    """Wall and processor seconds since it was made, the accelerator's work done."""

    def __init__(self, device: str):
        self.cuda = device.startswith("cuda")
        self.wall, self.cpu = self._now()

    def _now(self) -> tuple[float, float]:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        wall, cpu = self._now()
        return wall - self.wall, cpu - self.cpu


@dataclass
class _Training:
    """A head on its features, to be trained for a number of updates, as often as wanted."""

    settings: Settings
    head: Head
    source: Features
    train: SplitData
    dev_source: Features
    dev: SplitData
    plan: Plan
    state: dict[str, Tensor] | None = None

    def run(self, rates: Sequence[float], updates: int, with_dev: bool) -> Timed:
        """Seconds of an update: the median, the first of them left out, when what is read once is read."""
        specs = [TrialSpec(rate, 0) for rate in rates]
        plan = self.plan.model_copy(update={"steps": updates})
        clock, stamps = _Clock(self.settings.device), list[float]()
        learner = self.head.learner(self.source, self.train, specs)
        outcomes = fit(
            learner,
            specs,
            lambda step, micro: self.head.batch(self.source, self.train, step * plan.accumulate + micro),
            lambda k: self.head.dev(learner.state(k), self.dev_source, self.dev) if with_dev else DevScore(0, 0, 0),
            plan,
            on_step=lambda step: stamps.append(time.perf_counter()),
            what=f"{self.settings.task}, {self.head.name}: {len(specs)} learning rates",
        )
        stamps.append(time.perf_counter())
        lost = [outcome.diverged for outcome in outcomes if outcome.diverged]
        if lost:
            raise UserError(f"{self.settings.task}: a timed trial diverged ({lost[0]}); time another upstream")
        self.state = learner.state(0)
        wall, cpu = clock.read()
        seconds = [end - start for start, end in pairwise(stamps)]
        return Timed(updates, statistics.median(seconds[1:] or seconds), wall, cpu)

    def scoring(self) -> tuple[float, float]:
        """Seconds, wall and processor, in which one trial is scored on dev, what is read once read before."""
        assert self.state is not None
        for _ in range(2):
            clock = _Clock(self.settings.device)
            self.head.dev(self.state, self.dev_source, self.dev)
        return clock.read()
