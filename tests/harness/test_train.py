"""The training loop: trials side by side are as trials alone, a NaN stays where it arose, a kill leaves no trace."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.contracts import DevScore, TrialSpec
from harness.errors import UserError
from harness.train import Outcome, Plan, fit, select


class Regression(nn.Module):
    """K linear regressions with dropout on one target: the smallest learner there is."""

    def __init__(self, seeds: Sequence[int]):
        super().__init__()
        nets = []
        for seed in seeds:
            torch.manual_seed(seed)
            nets.append(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)))
        self.nets = nn.ModuleList(nets)
        self.poisoned: int | None = None

    def trial_parameters(self, k: int) -> list[Tensor]:
        return list(self.nets[k].parameters())

    def losses(self, batch: Any, active: Sequence[int]) -> Tensor:
        x, y = batch
        losses = [
            (self.nets[k](x)[:, 0] - y).square().mean() * (float("nan") if k == self.poisoned else 1) for k in active
        ]
        return torch.stack(losses)

    def state(self, k: int) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.nets[k].state_dict().items()}

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        self.nets[k].load_state_dict(dict(state))


def batch(step: int, micro: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 * step + micro)
    x = torch.randn(16, 4, generator=generator)
    return x, x @ torch.tensor([1.0, -2.0, 0.5, 3.0])


def dev_of(learner: Regression):
    x, y = batch(99, 99)

    def dev(k: int) -> DevScore:
        error = float((learner.nets[k](x)[:, 0] - y).square().mean())
        return DevScore(metric=error, loss=error, key=error)

    return dev


PLAN = Plan(steps=50, accumulate=2, optimiser="adamw", clip=1.0, eval_every=10)
SPECS = [TrialSpec(1e-1, 0), TrialSpec(1e-2, 0), TrialSpec(1e-3, 1)]


def train(specs, plan=PLAN, poisoned=None, **kwargs) -> list[Outcome]:
    learner = Regression([spec.seed for spec in specs])
    learner.poisoned = poisoned
    return fit(learner, specs, batch, dev_of(learner), plan, **kwargs)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("k", range(3))
def test_a_trial_among_others_is_the_trial_alone(k: int) -> None:
    together, alone = train(SPECS)[k], train([SPECS[k]])[0]
    for name, value in alone.last.items():
        torch.testing.assert_close(together.last[name], value, atol=1e-4, rtol=0)


def test_clipping_is_each_trials_own() -> None:
    tight = Plan(steps=5, optimiser="sgd", clip=1e-3, eval_every=5)
    together, alone = train([TrialSpec(1.0, 0), TrialSpec(1.0, 5)], tight)[1], train([TrialSpec(1.0, 5)], tight)[0]
    assert same(together.last, alone.last)
    start = Regression([5]).state(0)
    moved = sum(float((alone.last[n] - start[n]).square().sum()) for n in start) ** 0.5
    assert 0 < moved <= 5e-3 * 1.001


def test_nan_stays_in_its_trial_and_the_failure_is_kept() -> None:
    sick, well = train(SPECS, poisoned=0), train(SPECS)
    assert "nan" in sick[0].diverged and sick[0].best is None and sick[0].last is None
    assert same(sick[1].last, well[1].last) and same(sick[2].last, well[2].last)
    assert select(sick)[0] != 0


def test_all_diverged_fails_and_names_the_rates() -> None:
    outcomes = train([TrialSpec(1e-1, 0)], poisoned=0)
    with pytest.raises(UserError, match=r"every learning rate diverged: 0\.1"):
        select(outcomes)


@pytest.mark.parametrize("onecycle", [None, {"pct_start": 0.1, "div_factor": 25, "final_div_factor": 1000}])
def test_resume_is_bit_exact(tmp_path: Path, onecycle) -> None:
    plan = PLAN.model_copy(update={"onecycle": onecycle})
    whole = train(SPECS, plan)
    file = tmp_path / "training.pt"

    def stop(step: int) -> None:
        if step == 37:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SPECS, plan, checkpoint=file, identity="a", on_step=stop)
    said: list[str] = []
    resumed = train(SPECS, plan, checkpoint=file, identity="a", what="training seed 0", say=said.append)
    assert said == ["training seed 0: going on from update 30 of 50"]
    for one, other in zip(whole, resumed, strict=True):
        assert same(one.last, other.last) and same(one.state, other.state) and one.curve == other.curve


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "training.pt"
    train(SPECS, checkpoint=file, identity="a")
    with pytest.raises(UserError, match="other settings"):
        train(SPECS, checkpoint=file, identity="b")


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    file = tmp_path / "training.pt"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"training\.pt cannot be resumed"):
        train(SPECS, checkpoint=file, identity="a")


def test_the_best_state_is_kept_and_not_the_last() -> None:
    learner = Regression([0])
    scores = iter([5.0, 1.0, 3.0, 4.0, 9.0])
    outcome = fit(learner, [TrialSpec(1e-2, 0)], batch, lambda k: (lambda s: DevScore(s, s, s))(next(scores)), PLAN)[0]
    assert outcome.best[0] == 20 and len(outcome.curve) == 5
    assert not same(outcome.state, outcome.last)


def scored(lr: float, key: float, loss: float) -> Outcome:
    return Outcome(TrialSpec(lr, 0), best=(1, DevScore(key, loss, key)), state={})


def test_selection_goes_by_metric_then_loss_then_smaller_rate() -> None:
    assert select([scored(1e-1, 2, 0), scored(1e-2, 1, 9)]) == (1, 1)
    assert select([scored(1e-1, 1, 2), scored(1e-2, 1, 3)]) == (0, 2)
    assert select([scored(1e-1, 1, 2), scored(1e-2, 1, 2), scored(1e-3, 1, 2)]) == (2, 3)


def test_out_of_memory_is_not_skipped() -> None:
    learner = Regression([0])

    def full(batch: Any, active: Sequence[int]) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    learner.losses = full  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        fit(learner, [TrialSpec(1e-2, 0)], batch, dev_of(learner), PLAN)


def test_a_full_disk_is_one_line_and_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, checkpoint = Regression([0]), tmp_path / "training.pt"

    def run(steps: int) -> None:
        fit(learner, [TrialSpec(1e-2, 0)], batch, dev_of(learner), Plan(steps=steps, eval_every=2),
            checkpoint=checkpoint, identity="same")  # fmt: skip

    run(2)
    before = checkpoint.read_bytes()
    real = os.fdopen
    monkeypatch.setattr("harness.results.os.fdopen", lambda _, mode: real(os.open("/dev/full", os.O_WRONLY), mode))
    with pytest.raises(UserError, match="could not write .*training.pt"):
        run(4)
    assert checkpoint.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["training.pt"]


@pytest.mark.parametrize("rate", [None, lambda step: 0.5])
def test_parts_of_a_learner_have_learning_rates_of_their_own(rate) -> None:
    def moved(factor: float) -> list[float]:
        learner = Regression([0])
        first, last = learner.nets[0][0], learner.nets[0][2]
        learner.groups = lambda k: [(list(first.parameters()), 1.0), (list(last.parameters()), factor)]
        before = [part.weight.detach().clone() for part in (first, last)]
        plan = Plan(steps=1, optimiser="sgd", clip=1e9, eval_every=1)
        fit(learner, [TrialSpec(1e-2, 0)], batch, dev_of(learner), plan, rate=rate)
        return [float((part.weight - old).norm()) for part, old in zip((first, last), before, strict=True)]

    one, ten = moved(1.0), moved(10.0)
    assert ten[0] == pytest.approx(one[0]) and ten[1] == pytest.approx(10 * one[1], rel=1e-4)
