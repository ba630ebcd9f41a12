"""ICL's loss against values worked out by hand, against SupCon's own formula, and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from upstreams.icl.loss import contrastive, orthogonality, total


@pytest.fixture
def z() -> Tensor:
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


VALUES = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])


def supcon(z: Tensor, values: Tensor, tau: float) -> float:
    """L_out of Khosla et al. 2020, equation 2, written out with loops."""
    unit = [row / row.norm() for row in z]
    per_anchor = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        below = sum(math.exp(float(unit[i] @ unit[a]) / tau) for a in others)
        positives = [a for a in others if values[a] == values[i]]
        if positives:
            logs = [math.log(math.exp(float(unit[i] @ unit[p]) / tau) / below) for p in positives]
            per_anchor.append(-sum(logs) / len(positives))
    return sum(per_anchor) / len(per_anchor)


def test_three_vectors_by_hand() -> None:
    # cosines: 0-1 is 1, 0-2 and 1-2 are 0; anchors 0 and 1 have one positive each, anchor 2 has none and is dropped
    z = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0]])
    values = torch.tensor([7, 7, 9])
    expected = -math.log(math.e / (math.e + 1))
    assert contrastive(z, values, temperature=1.0).item() == pytest.approx(expected, abs=1e-6)


def test_two_positives_share_the_target() -> None:
    # anchor 0: positives 1 (cosine 1) and 2 (cosine 0), other 3 (cosine -1); anchors 1 and 2 likewise
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    e = math.e
    first = -0.5 * (1 - math.log(e + 1 + 1 / e)) - 0.5 * (0 - math.log(e + 1 + 1 / e))
    third = math.log(3)
    expected = (first + first + third) / 3
    assert contrastive(z, torch.tensor([0, 0, 0, 1]), 1.0).item() == pytest.approx(expected, abs=1e-6)


def test_equal_vectors_cost_the_log_of_the_others() -> None:
    z = torch.ones(512, 3)
    values = torch.arange(512) // 32
    assert contrastive(z, values).item() == pytest.approx(math.log(511), abs=1e-4)


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_equals_supcon_out(z: Tensor, tau: float) -> None:
    values = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4])
    assert contrastive(z, values, tau).item() == pytest.approx(supcon(z, values, tau), abs=1e-10)


def test_margin_is_taken_off_positives_only(z: Tensor) -> None:
    unit = torch.nn.functional.normalize(z, dim=1)
    cosine = unit @ unit.T
    positive = (VALUES[:, None] == VALUES[None]) & ~torch.eye(12, dtype=torch.bool)
    logits = (cosine - 0.2 * positive) / 0.1
    expected = 0.0
    for i in range(12):
        kept = torch.cat([logits[i, :i], logits[i, i + 1 :]])
        expected += float(kept.logsumexp(0) - logits[i][positive[i]].mean()) / 12
    assert contrastive(z, VALUES, 0.1, margin=0.2).item() == pytest.approx(expected, abs=1e-10)
    assert contrastive(z, VALUES, 0.1, margin=0.2) > contrastive(z, VALUES, 0.1)


def test_scale_of_the_latents_is_no_matter(z: Tensor) -> None:
    scales = torch.rand(12, 1, dtype=torch.float64) + 0.1
    assert torch.allclose(contrastive(z, VALUES), contrastive(z * scales, VALUES))


def test_no_positives_at_all_is_zero_with_a_warning_and_a_gradient(z: Tensor) -> None:
    z.requires_grad_()
    with pytest.warns(UserWarning, match="no two samples"):
        loss = contrastive(z, torch.arange(12))
    loss.backward()
    assert loss.item() == 0 and z.grad is not None and not z.grad.any()


def test_orthogonality_by_hand_in_both_forms() -> None:
    z_j = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    z_k = torch.tensor([[1.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    # Zj'Zk = [[1, 1], [1, 0]]; Zj Zk' = [[1, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert orthogonality(z_j, z_k, "dimension").item() == pytest.approx(3 / 4)
    assert orthogonality(z_j, z_k, "batch").item() == pytest.approx(5 / 9)
    assert orthogonality(z_j, z_k).item() == orthogonality(z_j, z_k, "dimension").item()


def test_total_adds_each_block_and_each_pair_once(z: Tensor) -> None:
    blocks = torch.stack([z, z.flip(0), z.roll(1, 0)], dim=1)
    values = torch.stack([VALUES, VALUES.roll(1)], dim=1)
    expected = contrastive(blocks[:, 0], values[:, 0]) + contrastive(blocks[:, 1], values[:, 1])
    for j, k in ((0, 1), (0, 2), (1, 2)):
        expected = expected + 0.5 * orthogonality(blocks[:, j], blocks[:, k], "batch")
    assert torch.allclose(total(blocks, values, orth_mode="batch", orth_weight=0.5), expected)


def test_one_block_has_no_orthogonality(z: Tensor) -> None:
    assert torch.equal(total(z[:, None], VALUES[:, None]), contrastive(z, VALUES))


@pytest.mark.parametrize("mode", ["dimension", "batch"])
def test_gradient_by_finite_differences(z: Tensor, mode: str) -> None:
    blocks = torch.stack([z[:, :3], z[:, 2:]], dim=1).clone().requires_grad_()
    values = torch.stack([VALUES, torch.arange(12) % 3], dim=1)

    def loss(x: Tensor) -> Tensor:
        return total(x, values, temperature=0.5, margin=0.1, orth_mode=mode)  # type: ignore[arg-type]

    loss(blocks).backward()
    assert blocks.grad is not None
    for place in [(0, 0, 0), (3, 1, 2), (11, 0, 1), (7, 1, 0)]:
        step = torch.zeros_like(blocks)
        step[place] = 1e-6
        slope = (loss(blocks.detach() + step) - loss(blocks.detach() - step)) / 2e-6
        assert blocks.grad[place].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8)
