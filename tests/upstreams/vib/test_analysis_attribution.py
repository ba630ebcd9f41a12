"""Attention and integrated gradients of small networks whose answers are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from upstreams.vib.attribution import TwoStages, integrated_gradients, salience
from upstreams.vib.network import seeded

pytest.importorskip("captum")


def two_stages(dim: int = 8) -> TwoStages:
    text = seeded([1, 2], 6, dim, 5, text=True, bottleneck=True, seed=0).eval()
    acoustic = seeded([1, 2], 6, dim, 3, text=False, bottleneck=True, seed=1).eval()
    return TwoStages(text, acoustic).requires_grad_(False)


def states(seed: int, frames: int = 7) -> Tensor:
    return torch.randn(frames, 3, 6, generator=torch.Generator().manual_seed(seed))


def test_attributions_sum_to_the_difference_of_the_outputs() -> None:
    model, hidden, silence = two_stages(), states(0), torch.zeros(7, 3, 6)
    found, error = integrated_gradients(model, hidden, silence, 2, steps=128)
    difference = float(model(hidden)[2] - model(silence)[2])
    assert found.shape == hidden.shape
    assert float(found.sum()) == pytest.approx(difference, abs=1e-3 * max(1.0, abs(difference)))
    assert error == pytest.approx(float(found.sum()) - difference, abs=1e-5)


def test_of_a_linear_map_they_are_weight_times_difference() -> None:
    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([(2 * x).sum(dim=(-1, -2, -3)), (x * weight).sum(dim=(-1, -2, -3))], dim=-1)

    weight, hidden, silence = states(1), states(2), states(3)
    found, _ = integrated_gradients(Linear(), hidden, silence, 1)
    assert torch.allclose(found, weight * (hidden - silence), atol=1e-4)


def test_a_layer_that_no_stage_reads_has_no_attribution() -> None:
    found, _ = integrated_gradients(two_stages(), states(0), torch.zeros(7, 3, 6), 0)
    assert not found[:, 0].any() and found[:, 1:].abs().min() > 0


def test_the_curves_of_an_utterance_sum_to_one() -> None:
    model, hidden = two_stages(), states(4)
    found = salience(model, hidden, torch.zeros_like(hidden))
    assert found.explained == int(model(hidden).argmax()) and found.logits.shape == (3,)
    for curve in (found.text, found.acoustic, found.gradients):
        assert curve.shape == (7,) and (curve >= 0).all()
        assert float(curve.sum()) == pytest.approx(1, abs=1e-5)
    assert salience(model, hidden, torch.zeros_like(hidden), wanted=1).explained == 1


def test_gradients_fall_on_the_frame_that_differs_from_silence() -> None:
    model, silence = two_stages(), states(5)
    hidden = silence.clone()
    hidden[3] += 2.0
    found = salience(model, hidden, silence)
    assert int(found.gradients.argmax()) == 3 and float(found.gradients[3]) == pytest.approx(1, abs=1e-5)
