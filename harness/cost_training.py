"""What a post-training takes, computed: a few of its updates are made and timed, with their number the rest follows.

    seconds = updates x mean of the timed ones + looks at validation x one of them + all else that the recipe does
              + reading the clips, or encoding them where it is trained on a frozen backbone's features

A checkpoint holds no time, since the same recipe gives the same bytes. So the recipe is run again as it was set up, on
the same rows, but for two things: of the updates it makes some that are spread evenly over all, since a schedule may
freeze parts; and stored features are noise of their sizes, since how long an update takes does not depend on values.
The updates and the look at validation are made twice and the second time counts, for the first one also reads clips,
which a training keeps in memory: what it takes more, by the second of audio, is counted once for all clips. What the
trainings before took, those whose weights one began from or was conditioned on, is added. All else is what the recipe
does before and after its updates, such as statistics of its features and the figures that it writes; loading the
backbone is not in it, nor reading stored features or keeping the state that an interrupted training goes on from. A
core that is shared with other work takes more seconds for the same: measure where nothing else runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from harness.contracts import SAMPLE_RATE, Form, Upstream, Utterance
from harness.cost_data import jobs
from harness.errors import UserError
from harness.features import block_frames, time_mean
from harness.recipe import Job, Stage
from harness.train import Outcome, Plan, sample

Clock = Callable[[], float]


@dataclass
class Spent:
    """On trainings, added up."""

    seconds: float = 0.0
    """Of all their updates and looks at validation, and of reading clips, computed."""
    inside: float = 0.0
    """That the timed ones took."""
    updates: int = 0
    timed: int = 0


@dataclass
class TimedJob(Job):
    """A call of `posttrain.py` that makes a few updates and keeps nothing."""

    clock: Clock = field(kw_only=True)
    scratch: Path = field(kw_only=True)
    count: int = field(kw_only=True)
    """Updates to time, a training."""
    ratio: float = field(kw_only=True)
    """Of the seconds of audio to train to those to validate."""
    spent: Spent = field(default_factory=Spent)

    def folder_of(self, recipe_hash: str) -> Path:
        return self.scratch / recipe_hash[:16]

    def fit(
        self,
        learner: Any,
        specs: Any,
        batch: Any,
        dev: Any,
        plan: Plan,
        *,
        on_step: Callable[[int], None] | None = None,
        rate: Any = None,
        **_: Any,
    ) -> list[Outcome]:
        clock = self.clock
        began, starts, first, second = clock(), [], 0.0, 0.0

        def starting(step: int) -> None:
            starts.append(clock())
            if on_step:
                on_step(step)

        def judged(k: int) -> Any:
            nonlocal first, second
            starts.append(clock())
            dev(k)
            again = clock()
            score = dev(k)
            first, second = first + again - starts[-1], second + clock() - again
            return score

        timed = min(self.count, plan.steps)
        chosen = spread(plan.steps, timed)
        # of a training that short not all can be made twice: a schedule ends with it
        before = chosen[: plan.steps - timed]
        outcomes = sample(learner, specs, batch, judged, plan, [*before, *chosen], on_step=starting, rate=rate)
        end, last = clock(), len(before) + timed
        # where every trial diverged there was no look; the recipe itself says so
        update = ((starts[last] if len(starts) > last else end) - starts[len(before)]) / timed
        self.spent.seconds += plan.steps * update + math.ceil(plan.steps / plan.eval_every) * second
        if not self.features.asked:  # type: ignore[attr-defined]
            self.spent.seconds += max(0.0, first - second) * (1 + self.ratio)
        self.spent.inside += end - began
        self.spent.updates += plan.steps
        self.spent.timed += timed
        return outcomes


def spread(steps: int, count: int) -> list[int]:
    """The middles of `count` equal parts of all steps."""
    return [int((part + 0.5) * steps / count) for part in range(count)]


class StandIn:
    """Noise in the sizes of a backbone's features; follows `harness.contracts.FeatureSource`."""

    def __init__(self, backbone: Upstream, rows: Sequence[Utterance]):
        self.num_layers, self.dim = backbone.num_layers, backbone.dim
        self.level, self.stride = backbone.level, backbone.stride
        self.lengths = {u.id: max(1, math.ceil(u.duration * SAMPLE_RATE / self.stride)) for u in rows}
        self.places = {name: place for place, name in enumerate(self.lengths)}
        size = max(self.lengths.values()) + len(self.places)
        generator = torch.Generator().manual_seed(0)
        self.noise = torch.randn(size, self.num_layers, self.dim, generator=generator)
        self.asked = False

    def prepare(self, ids: Sequence[str], form: Form, what: str = "") -> None:
        """Nothing has to be made ready."""

    def frames(self, utterance_id: str) -> Tensor:
        """Another piece of the noise for each."""
        self.asked = True
        start = self.places[utterance_id]
        return self.noise[start : start + self.lengths[utterance_id]]

    def mean(self, utterance_id: str) -> Tensor:
        return time_mean(self.frames(utterance_id))

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        return torch.stack([self.mean(name) for name in utterance_ids])

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        parts = torch.split(self.frames(utterance_id), block_frames(self.stride))
        return torch.stack([time_mean(part) for part in parts]), torch.tensor([float(len(part)) for part in parts])


@dataclass(frozen=True)
class Took:
    """Seconds of a post-training, all stages together, and how many of its updates were timed for it."""

    seconds: float
    updates: int
    timed: int


def time_training(
    family: str,
    stages: Sequence[Stage],
    count: int,
    clock: Clock,
    encoding: float,
    *,
    folder: Path | None = None,
    device: str = "cpu",
) -> Took:
    """`count` updates of each training timed by `clock`, on a backbone that encodes a second of audio in `encoding`
    seconds. Raises UserError as the recipes do, and for data that are not those of the checkpoints."""
    seconds, spent = 0.0, Spent()
    encoded: dict[tuple[str, str], float] = {}
    for stage in stages:
        with TemporaryDirectory() as scratch:
            job = _job(family, stage, count, clock, Path(scratch), folder, device)
            features = _stand_in(job)
            began = clock()
            stage.recipe.run(job)
            seconds += clock() - began - job.spent.inside + job.spent.seconds
        spent.updates, spent.timed = spent.updates + job.spent.updates, spent.timed + job.spent.timed
        if features.asked:
            rows = [row for split in job.splits.values() for row in split.utterances]
            encoded |= {(row.corpus, row.id): row.duration for row in rows}
    return Took(seconds + encoding * sum(encoded.values()), spent.updates, spent.timed)


def _job(
    family: str, stage: Stage, count: int, clock: Clock, scratch: Path, folder: Path | None, device: str
) -> TimedJob:
    found = jobs(stage)
    if found is None:
        raise UserError(f"{stage.path}: the data that it was trained on are not those here now; make it again")
    seconds = {True: 0.0, False: 0.0}
    for name, split in ((name, split) for job in found for name, split in job.splits.items()):
        seconds[name == "train"] += sum(row.duration for row in split.utterances)
    return TimedJob(
        family, stage.backbone, found[0].data_path, [stage.seed], device=device, folder=folder,
        out=scratch / "timed.safetensors", again=True, say=lambda line: None, clock=clock, scratch=scratch, count=count,
        ratio=seconds[True] / max(seconds[False], 1e-3),
    )  # fmt: skip


def _stand_in(job: TimedJob) -> StandIn:
    """In the place of the job's features; with the backbone and the rows read before a clock runs."""
    made = StandIn(job.backbone, [row for split in job.splits.values() for row in split.utterances])
    vars(job)["features"] = made
    return made


def clock_of(device: str) -> Clock:
    """Processor seconds of this process, or on a GPU seconds on the wall, its work done."""
    return partial(_on_gpu, device) if device.startswith("cuda") else time.process_time


def _on_gpu(device: str) -> float:
    torch.cuda.synchronize(device)
    return time.perf_counter()
