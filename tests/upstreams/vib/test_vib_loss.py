"""KL and beta as formulas."""

from __future__ import annotations

import math

import pytest
import torch

from upstreams.vib.loss import beta_at, kl
from upstreams.vib.settings import from_options
from upstreams.vib.training import Steps


def test_kl_by_hand() -> None:
    mu, var = torch.tensor([[1.0, -2.0], [0.0, 0.0]]), torch.tensor([[0.5, 2.0], [1.0, 1.0]])
    by_hand = 0.5 * (1 + 0.5 - 1 - math.log(0.5)) + 0.5 * (4 + 2 - 1 - math.log(2))
    assert torch.allclose(kl(mu, var), torch.tensor([by_hand, 0.0]), atol=1e-6)


def test_kl_is_torchs_own() -> None:
    mu, var = torch.randn(7, 5), torch.rand(7, 5) + 0.1
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, var.sqrt()), torch.distributions.Normal(0.0, 1.0)
    )
    assert torch.allclose(kl(mu, var), theirs.sum(1), atol=1e-5)


def test_a_variance_of_zero_is_finite_with_a_finite_gradient() -> None:
    var = torch.zeros(1, 2, requires_grad=True)
    found = kl(torch.zeros(1, 2), var)
    found.sum().backward()
    assert var.grad is not None
    assert torch.isfinite(found).all() and torch.isfinite(var.grad).all() and found.item() > 10


@pytest.mark.parametrize(("step", "wanted"), [(0, 0.1), (45, 0.55), (90, 1.0), (99, 1.0), (1000, 1.0)])
def test_beta_rises_to_its_last_value_and_stays(step: int, wanted: float) -> None:
    assert beta_at(step, 90, (0.1, 1.0)) == pytest.approx(wanted)


def test_beta_is_below_its_last_until_the_rise_is_over() -> None:
    assert beta_at(89, 90, (0.1, 1.0)) < 1.0 == beta_at(90, 90, (0.1, 1.0))


def test_a_constant_beta_has_no_rise() -> None:
    steps = Steps(from_options({"beta": 0.3}, ""), 100)
    assert steps.rise == 0
    assert {beta_at(step, steps.rise, (0.3, 0.3)) for step in (0, 1, steps.all)} == {0.3}


def test_paper_rises_over_45_of_50_epochs() -> None:
    steps = Steps(from_options({"preset": "paper", "stage": "acoustic", "target": "emotion"}, ""), 17)
    assert (steps.epoch, steps.all, steps.rise) == (3, 150, 135)
    text = Steps(from_options({"preset": "paper"}, ""), 8000)
    assert (text.epoch, text.all, text.rise) == (8000, 400_000, 360_000)


def test_micro_batches_make_an_update() -> None:
    steps = Steps(from_options({"batch": 4, "accumulate": 3, "epochs": 5, "hold": 1}, ""), 30)
    assert (steps.micro_batches, steps.epoch, steps.all, steps.plan().accumulate) == (8, 3, 15, 3)
