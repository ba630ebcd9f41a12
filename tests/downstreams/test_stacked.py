"""Trials as one computation are the trials alone: same starts, same steps, clipping and NaN kept apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from downstreams import stacked
from downstreams.sequence import LinearCTCLearner
from downstreams.sequence_nets import LinearCTCNet, SequenceBatch
from downstreams.utterance import PooledLearner, PooledNet
from harness.contracts import DevScore, TrialSpec
from harness.train import Outcome, Plan, fit

L, D, CLASSES = 3, 24, 4
SPECS = [TrialSpec(1e-2, 0), TrialSpec(1e-1, 0), TrialSpec(1e-3, 5)]


def pooled(hidden: bool) -> Callable[[Sequence[TrialSpec]], stacked.Stacked]:
    def make(specs: Sequence[TrialSpec]) -> stacked.Stacked:
        starts = []
        for spec in specs:
            torch.manual_seed(spec.seed)
            starts.append(PooledNet(L, D, CLASSES, 16, hidden).state_dict())
        return PooledLearner(starts, "cpu", {})

    return make


def linear_ctc(specs: Sequence[TrialSpec]) -> stacked.Stacked:
    starts = []
    for spec in specs:
        torch.manual_seed(spec.seed)
        starts.append(LinearCTCNet(L, D, 6, 16).state_dict())
    return LinearCTCLearner(starts, "cpu", {})


def means(step: int, micro: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(10 * step + micro)
    x = torch.randn(L, 20, D, generator=generator)
    return x, (x[1, :, 0] > 0).long() + 2 * (x[2, :, 1] > 0).long()


def sequences(step: int, micro: int) -> SequenceBatch:
    generator = torch.Generator().manual_seed(10 * step + micro)
    layers = torch.randn(L, 25, D, generator=generator)
    return SequenceBatch(layers, [12, 8, 5], [[1, 2, 3], [4, 4, 1], [5, 1]])


CASES = [(pooled(False), means), (pooled(True), means), (linear_ctc, sequences)]
IDS = ["pooled_linear", "pooled_mlp", "linear_ctc"]


def train(
    make: Any, batch: Any, specs: Sequence[TrialSpec], poison: dict[int, int] | None = None, **plan: Any
) -> list[Outcome]:
    """50 updates; trial k's weights become NaN before the step that `poison` names."""
    learner = make(specs)

    def spoil(step: int) -> None:
        for k, at in (poison or {}).items():
            if step == at:
                learner.load_state(k, {name: value * float("nan") for name, value in learner.state(k).items()})

    settings = Plan(**({"steps": 50, "accumulate": 2, "eval_every": 50, "clip": 0.1} | plan))
    return fit(learner, specs, batch, lambda k: DevScore(0.0, 0.0, 0.0), settings, on_step=spoil)


@pytest.mark.parametrize(("make", "batch"), CASES, ids=IDS)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_trial_among_others_is_the_trial_alone(make, batch, optimiser) -> None:
    together = train(make, batch, SPECS, optimiser=optimiser)
    for k, spec in enumerate(SPECS):
        alone = train(make, batch, [spec], optimiser=optimiser)[0]
        start = make([spec]).state(0)
        assert any(not torch.equal(alone.last[name], start[name]) for name in start)
        for name, value in alone.last.items():
            torch.testing.assert_close(together[k].last[name], value, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("make", "batch"), CASES, ids=IDS)
def test_a_nan_stays_in_its_own_trial(make, batch) -> None:
    poisoned = train(make, batch, SPECS, poison={1: 20})
    assert "step 20" in poisoned[1].diverged and not poisoned[0].diverged and not poisoned[2].diverged
    untouched = train(make, batch, SPECS)
    for k in (0, 2):
        for name, value in untouched[k].last.items():
            torch.testing.assert_close(poisoned[k].last[name], value, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("make", "batch"), CASES, ids=IDS)
def test_a_run_that_was_killed_ends_in_the_same_numbers(make, batch, tmp_path) -> None:
    class Killed(Exception):
        pass

    def kill(step: int) -> None:
        if step == 13:
            raise Killed

    def run(**options: Any) -> list[Outcome]:
        return fit(
            make(SPECS), SPECS, batch, lambda k: DevScore(0.0, 0.0, 0.0), Plan(steps=20, eval_every=5), **options
        )

    with pytest.raises(Killed):
        run(checkpoint=tmp_path / "training.pt", on_step=kill)
    resumed, whole = run(checkpoint=tmp_path / "training.pt"), run()
    for one, other in zip(resumed, whole, strict=True):
        assert all(torch.equal(one.last[name], other.last[name]) for name in other.last)


@pytest.mark.parametrize("hidden", [False, True])
def test_the_stacked_computation_is_the_networks_own(hidden) -> None:
    net = PooledNet(L, D, CLASSES, 16, hidden)
    net.featurizer.weights.data = torch.tensor([0.5, -1.0, 2.0])
    learner = PooledLearner([net.state_dict()], "cpu", {})
    layers, labels = means(0, 0)
    expected = torch.nn.functional.cross_entropy(net(layers.transpose(0, 1)), labels)
    found = learner.losses((layers, labels), [0])
    torch.testing.assert_close(found[0], expected)
    expected.backward()
    found.sum().backward()
    by_name = dict(zip(net.state_dict(), learner.trial_parameters(0), strict=True))
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(by_name[name].grad, parameter.grad)


def size(learner: stacked.Stacked, k: int) -> float:
    """Of a trial's gradient."""
    return float(torch.cat([p.grad.flatten() for p in learner.trial_parameters(k)]).norm())


def test_gradients_of_some_trials_land_in_their_places() -> None:
    learner = pooled(False)(SPECS)
    learner.losses(means(0, 0), [0, 2]).sum().backward()
    first = size(learner, 0)
    assert first > 0 and size(learner, 1) == 0 and size(learner, 2) > 0
    learner.losses(means(0, 0), [0, 2]).sum().backward()
    assert size(learner, 0) == pytest.approx(2 * first)
    learner.zero_grad()
    assert [size(learner, k) for k in range(3)] == [0, 0, 0]


def test_a_gradient_that_was_dropped_is_tied_again() -> None:
    """By an optimiser's `zero_grad(set_to_none=True)`, say."""
    learner = pooled(False)(SPECS[:2])
    learner.losses(means(0, 0), [0, 1]).sum().backward()
    expected = [size(learner, k) for k in range(2)]
    learner.zero_grad()
    for parameter in (*learner.trial_parameters(0), *learner._leaves.values()):
        parameter.grad = None
    learner.losses(means(0, 0), [0, 1]).sum().backward()
    assert [size(learner, k) for k in range(2)] == pytest.approx(expected)
    learner.zero_grad()
    assert [size(learner, k) for k in range(2)] == [0, 0]


def test_state_goes_out_and_in() -> None:
    learner = pooled(True)(SPECS)
    fresh = pooled(True)([TrialSpec(1.0, 9)] * 3)
    fresh.load_state(1, learner.state(2))
    assert all(torch.equal(fresh.state(1)[name], value) for name, value in learner.state(2).items())
    assert not torch.equal(fresh.state(0)["linear.weight"], learner.state(2)["linear.weight"])
    kept = learner.state(0)
    with torch.no_grad():
        for parameter in learner.trial_parameters(0):
            parameter.add_(1.0)
    assert torch.allclose(learner.state(0)["linear.bias"], kept["linear.bias"] + 1)


@pytest.mark.parametrize("rows", [2, 500])
def test_two_maps_are_the_same_in_either_order(rows) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, rows, 10), (2, 16, 10), (2, 16), (2, 7, 16), (2, 7)]
    x, w1, b1, w2, b2 = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    expected = stacked.linear(stacked.linear(x, w1, b1), w2, b2)
    torch.testing.assert_close(stacked.two_linear(x, w1, b1, w2, b2), expected)


def test_names_survive_as_bytes() -> None:
    names = ["_silence_", "yes", "ß, \"o'clock\"", "一"]
    assert stacked.unpacked(stacked.packed(names)) == names
