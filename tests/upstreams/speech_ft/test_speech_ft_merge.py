"""Merges against figures worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from upstreams.speech_ft.merge import arithmetic, interpolate, kept, magnitude_floor, sequential, ties

ONE, TWO = torch.tensor([3.0, 2.0, 0.0]), torch.tensor([1.0, -2.0, -4.0])
BASE = torch.tensor([1.0, 2.0, -4.0])
"""Deltas of ONE: 2, 0, 4; of TWO: 0, -4, 0."""


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.view(torch.uint8), other.view(torch.uint8))


def test_a_quarter_of_the_way():
    assert interpolate(BASE, [ONE], 0.25).tolist() == [1.5, 2.0, -3.0]


def test_several_models_go_along_the_mean_of_their_deltas():
    assert interpolate(BASE, [ONE, TWO], 0.5).tolist() == [1.5, 1.0, -3.0]


def test_sequential_goes_on_from_where_it_was():
    base, one, two = (torch.tensor([x]) for x in (0.0, 4.0, 6.0))
    assert sequential(base, [one, two], 0.5).tolist() == [4.0]
    assert sequential(base, [two, one], 0.5).tolist() == [3.5]


def test_arithmetic_adds_and_takes_away():
    assert arithmetic(BASE, [ONE, TWO], [1, -1]).tolist() == [3.0, 6.0, 0.0]
    assert arithmetic(BASE, [ONE, TWO], [-0.5, 0.25]).tolist() == [0.0, 1.0, -6.0]


@pytest.mark.parametrize("alpha, wanted", [(1.0, [5.0, -2.0, 6.0]), (0.5, [3.0, -0.5, 3.5])])
def test_ties_trims_elects_a_sign_and_averages_who_agrees(alpha, wanted):
    base = torch.ones(3)
    deltas = [torch.tensor([4.0, -3.0, 0.125]), torch.tensor([-2.0, 1.0, 5.0])]
    # trimmed to two of three: (4, -3, 0) and (-2, 0, 5); signs of the sums +, -, +; means of who agrees: 4, -3, 5
    assert ties(base, [base + delta for delta in deltas], alpha, 2 / 3).tolist() == wanted


def test_ties_averages_over_the_kept_alone():
    thetas = [torch.tensor(theta) for theta in ([4.0, 1.0, 0.5, 0.0], [2.0, 9.0, 0.0, 0.5], [0.5, 8.0, 7.0, 0.0])]
    # half of four are kept: (4, 1, 0, 0), (2, 9, 0, 0), (0, 8, 7, 0)
    assert ties(torch.zeros(4), thetas, 1.0, 0.5).tolist() == [3.0, 6.0, 7.0, 0.0]


def test_ties_without_a_majority_stays():
    base = torch.tensor([0.5])
    assert ties(base, [base + 2, base - 2], 1.0, 1.0).tolist() == [0.5]


def test_ties_trims_by_the_floor_of_the_whole_model():
    base, theta = torch.zeros(3), torch.tensor([3.0, -2.0, 1.0])
    assert ties(base, [theta], 1.0, 1 / 3).tolist() == [3.0, 0.0, 0.0]
    assert ties(base, [theta], 1.0, 1 / 3, floors=[1.5]).tolist() == [3.0, -2.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_both_ends_bit_for_bit(dtype):
    generator = torch.Generator().manual_seed(0)
    base, theta = (torch.randn(999, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    base[:3] = torch.tensor([-0.0, 6e-8, 60000.0])
    theta[:3] = torch.tensor([0.0, -6e-8, -60000.0])
    starts = [
        interpolate(base, [theta], 0.0),
        interpolate(base, [theta, base], 0.0),
        sequential(base, [theta, theta], 0.0),
        arithmetic(base, [theta, theta], [0.0, -0.0]),
        ties(base, [theta, theta], 0.0, 0.2),
    ]
    assert all(same_bits(start, base) for start in starts)
    ends = [
        interpolate(base, [theta], 1.0),
        sequential(base, [base, theta], 1.0),
        arithmetic(base, [base, theta], [0.0, 1.0]),
    ]
    assert all(same_bits(end, theta) for end in ends)
    between = interpolate(base, [theta], 0.25)
    assert between.dtype == dtype and not torch.equal(between, base) and not torch.equal(between, theta)


def test_half_precision_is_merged_in_single():
    base, theta = torch.tensor([2048.0], dtype=torch.float16), torch.tensor([-1.0], dtype=torch.float16)
    # the delta, -2049, is no half-precision number: rounded to -2048 it would give 0
    assert interpolate(base, [theta], 1023 / 1024).item() == pytest.approx(2048 - 2049 * 1023 / 1024, rel=1e-3)


def test_what_comes_in_stays_as_it_was():
    base, theta = BASE.clone(), ONE.clone()
    for made in (interpolate(base, [theta], 0.0), interpolate(base, [theta], 1.0), ties(base, [theta], 0.5, 1.0)):
        made += 100
    assert torch.equal(base, BASE) and torch.equal(theta, ONE)


@pytest.mark.parametrize("keep", [1, 2, 700, 1500, 1999, 2006])
def test_the_floor_is_the_exact_one_over_several_tensors(keep):
    generator = torch.Generator().manual_seed(keep)
    deltas = [torch.randn(1000, generator=generator), 1e-5 * torch.randn(10, 100, generator=generator)]
    deltas += [torch.zeros(3), torch.tensor([1e-42, -3e38, 1.0])]
    wanted = torch.cat([delta.flatten() for delta in deltas]).abs().topk(keep).values[-1].item()
    assert magnitude_floor(lambda: iter(deltas), keep) == wanted


def test_at_least_one_entry_is_kept_and_never_more_than_there_are():
    assert [kept(0.2, n) for n in (0, 1, 2, 10, 1000)] == [0, 1, 1, 2, 200]
    assert kept(1.0, 7) == 7


@pytest.mark.parametrize("theta", [torch.zeros(2), torch.zeros(1, 3), torch.zeros(3, dtype=torch.float16)])
def test_another_shape_or_type_is_refused(theta):
    for alpha in (0.0, 0.25, 1.0):
        with pytest.raises(ValueError, match="wanted, found"):
            interpolate(BASE, [theta], alpha)
    with pytest.raises(ValueError, match="wanted, found"):
        arithmetic(BASE, [BASE, theta], [1.0, 0.0])
    with pytest.raises(ValueError, match="wanted, found"):
        ties(BASE, [BASE, theta], 1.0, 0.2)


def test_whole_numbers_and_no_models_are_refused():
    with pytest.raises(ValueError, match="floating"):
        interpolate(torch.arange(3), [torch.arange(3)], 0.5)
    with pytest.raises(ValueError, match="found 0"):
        interpolate(BASE, [], 0.5)
