"""What a post-training takes: which updates are timed, what is computed from them, and that nothing is kept of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from crossed_tones import Toy, write_crossed, write_said

from harness import cost_training
from harness.contracts import DevScore, TrialSpec
from harness.cost_training import Spent, StandIn, TimedJob, spread, time_training
from harness.errors import UserError
from harness.recipe import Job, Stage
from harness.train import Plan
from upstreams.icl import posttrain as icl
from upstreams.vib import posttrain as vib


class Clock:
    """Runs only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A learner whose updates take 2 s in the first half of the training and 4 s in the second; a clip more that it
    reads, of those to train or to validate, takes 3 s."""

    def __init__(self, clock: Clock, steps: int):
        self.clock, self.steps, self.seen, self.judgements = clock, steps, [], 0
        self.weight = torch.zeros(1, requires_grad=True)

    def batch(self, step: int, micro: int) -> int:
        return step

    def losses(self, step: int, active: list[int]) -> torch.Tensor:
        self.clock.now += (2 if step < self.steps / 2 else 4) + 3 * (step not in self.seen)
        self.seen.append(step)
        return self.weight.square()

    def judged(self, k: int) -> DevScore:
        self.clock.now += 5 + 3 * (self.judgements == 0)
        self.judgements += 1
        return DevScore(1.0, 1.0, 1.0)

    def trial_parameters(self, k: int) -> list[torch.Tensor]:
        return [self.weight]

    def state(self, k: int) -> dict[str, torch.Tensor]:
        return {"weight": self.weight.detach().clone()}

    def zero_grad(self) -> None:
        self.weight.grad = None

    def train(self, mode: bool = True) -> None:
        pass


def timed_job(clock: Clock, count: int, tmp_path: Path, asked: bool = False) -> TimedJob:
    """Its clips to train are 40 times as long as those to validate."""
    job = TimedJob("vib", "toy", tmp_path, [0], clock=clock, scratch=tmp_path, count=count, ratio=40.0)
    vars(job)["features"] = SimpleNamespace(asked=asked)
    return job


@pytest.mark.parametrize("count", [4, 12])
@pytest.mark.parametrize("asked", [False, True])
def test_all_updates_follow_from_a_few(tmp_path, count, asked):
    clock, phases = Clock(), []
    learner, job = Slow(clock, 100), timed_job(clock, count, tmp_path, asked)
    plan = Plan(steps=100, eval_every=30)
    made = job.fit(learner, [TrialSpec(0.1, 0)], learner.batch, learner.judged, plan, on_step=phases.append, what="x")
    assert learner.seen == phases == 2 * spread(100, count)
    # 50 of 2 s, 50 of 4 s, and validation at 30, 60, 90 and 100; clips are read once, or their features are stored
    seconds = 300 + 4 * 5 + (0 if asked else 3 * 41)
    assert job.spent == Spent(seconds=pytest.approx(seconds), inside=clock.now, updates=100, timed=count)
    assert made[0].last and made[0].best == (100, DevScore(1.0, 1.0, 1.0))
    job.fit(learner, [TrialSpec(0.1, 0)], learner.batch, learner.judged, plan)
    assert job.spent.updates == 200 and job.spent.timed == 2 * count


def test_a_training_shorter_than_the_sample(tmp_path):
    clock = Clock()
    learner, job = Slow(clock, 3), timed_job(clock, 12, tmp_path)
    onecycle = {"pct_start": 0.1, "div_factor": 25.0, "final_div_factor": 1e3}
    plan = Plan(steps=3, eval_every=5, onecycle=onecycle)
    job.fit(learner, [TrialSpec(0.1, 0)], learner.batch, learner.judged, plan)
    assert learner.seen == [0, 1, 2] and (job.spent.updates, job.spent.timed) == (3, 3)
    job.count = 2
    job.fit(learner, [TrialSpec(0.1, 0)], learner.batch, learner.judged, plan)
    assert learner.seen[3:] == [0, 0, 2]


def test_a_training_that_diverges_is_the_recipe_s_to_complain_of(tmp_path):
    clock = Clock()
    learner, job = Slow(clock, 10), timed_job(clock, 2, tmp_path)
    learner.weight.data += torch.inf
    (outcome,) = job.fit(learner, [TrialSpec(0.1, 0)], learner.batch, learner.judged, Plan(steps=10, eval_every=5))
    assert outcome.diverged and learner.judgements == 0


def test_spread():
    assert spread(10, 5) == [1, 3, 5, 7, 9] and spread(3, 3) == [0, 1, 2] and spread(7, 0) == []
    assert spread(500, 10)[0] == 25 and spread(500, 10)[-1] == 475


def test_what_stands_in_for_features_has_their_sizes(tmp_path):
    toy = Toy()
    job = Job("vib", "toy", write_crossed(tmp_path), [0])
    job.backbone = toy
    rows = [row for split in job.splits.values() for row in split.utterances]
    made = StandIn(toy, rows)
    assert not made.asked
    for name in (rows[0].id, rows[-1].id):
        assert made.frames(name).shape == job.features.frames(name).shape
        assert made.mean(name).shape == job.features.mean(name).shape
        assert [part.shape for part in made.blocks(name)] == [part.shape for part in job.features.blocks(name)]
    assert made.means([row.id for row in rows]).shape == (len(rows), 3, toy.dim)
    assert made.asked and not torch.equal(made.frames(rows[0].id), made.frames(rows[1].id))


SMALL = {
    "icl": {"hidden": [16, 16], "block_dim": 8, "batch": 12, "steps": 30, "lr": 3e-3},
    "vib": {"standardise": True, "beta": (0.1, 1.0), "dim": 6, "epochs": 4, "hold": 2, "batch": 5, "lr": 3e-3},
}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """(family, **options) -> a stage of a recipe on made-up voices, as its checkpoint tells it; nothing is trained."""
    root = tmp_path / "here"
    monkeypatch.setattr("harness.cost_data.ROOT", root)
    monkeypatch.setattr("upstreams.catalogue.build", lambda name, **_: Toy())
    data = {
        "icl": write_crossed(root / "tasks" / "a"),
        "vib": write_said(root / "tasks" / "b", ["a b", "b a", "ab", "ba c", "c a", "cab"]),
    }
    data["vib"].write_text(data["vib"].read_text().replace("name: crossed", "name: said"))

    def make(family: str, **options: object) -> Stage:
        recipe = {"icl": icl.Recipe, "vib": vib.Recipe}[family](argparse.Namespace(**SMALL[family] | options))
        job = Job(family, "toy", data[family], [0])
        name = f"{job.data.suite}/{job.data.name} version {job.data.version}"
        return Stage(recipe, tmp_path / "x", 0, "toy", [name], job.data_hash, "0" * 64)

    return make


def kept(tmp_path: Path) -> set[Path]:
    return {path for path in tmp_path.rglob("*") if path.is_file()}


def test_a_recipe_on_features(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    stage = trained("vib", stage="text")
    before = kept(tmp_path)
    clock = cost_training.clock_of("cpu")
    plain = time_training("vib", [stage], 3, clock, 0.0)
    assert kept(tmp_path) == before
    # 16 clips in batches of 5, 4 times
    assert (plain.updates, plain.timed) == (16, 3) and plain.seconds > 0
    # 24 clips of 0.3 s at 1000 times real time: no training takes as long
    encoded = time_training("vib", [stage], 3, clock, 1000.0)
    assert 7200 < encoded.seconds < 7200 + 600
    # clips that two stages share are encoded once, and both are trained
    both = time_training("vib", [stage, stage], 3, clock, 1000.0)
    assert (both.updates, both.timed) == (32, 6) and 7200 < both.seconds < 7200 + 600


def test_the_choice_of_an_input_counts_and_is_not_kept(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    chosen, named = trained("icl"), trained("icl", layers="last", standardise=True)
    before = kept(tmp_path)
    clock = cost_training.clock_of("cpu")
    assert time_training("icl", [chosen], 2, clock, 0.0).updates == 60
    assert time_training("icl", [named], 2, clock, 0.0).updates == 30
    assert kept(tmp_path) == before


def test_setting_up_and_writing_count_once(trained, monkeypatch):
    stage, clock = trained("vib", stage="text"), Clock()

    def slow(recipe: object, job: Job) -> list[Path]:
        clock.now += 11
        learner = Slow(clock, 100)
        job.fit(learner, [TrialSpec(0.1, 0)], learner.batch, learner.judged, Plan(steps=100, eval_every=100))
        clock.now += 7
        return []

    monkeypatch.setattr(vib.Recipe, "run", slow)
    took = time_training("vib", [stage], 4, clock, 1000.0)
    # no features, but clips: 16 to train, 8 to validate, of one length
    assert took.seconds == pytest.approx(11 + 300 + 5 + 3 * 3 + 7) and took.timed == 4


def test_other_data_are_refused(trained, tmp_path):
    stage = trained("vib", stage="text")
    manifest = tmp_path / "here" / "tasks" / "b" / "data" / "crossed_tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",p03,", ",p04,"))
    with pytest.raises(UserError, match="the data that it was trained on are not those here now"):
        time_training("vib", [stage], 2, Clock(), 0.0)
