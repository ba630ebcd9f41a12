"""Merges of fine-tuned models with the one they were fine-tuned from, as functions of tensors; `files` has the files.

A model moves along its delta, theta' - theta0: with Speech-FT (arXiv 2502.12672) to theta0 + alpha (theta' - theta0),
alpha 0.25, for several models along the mean of their deltas. Deltas are taken in single precision and the result has
theta0's type. alpha 0 is theta0 and, of one model, alpha 1 is theta', both bit for bit.

All functions take theta0 and the fine-tuned ones as tensors of one shape and floating type, and give a new tensor. They
raise ValueError where those differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

METHODS = ("linear", "sequential", "ties", "arithmetic")

Combine = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""(theta0, fine-tuned) -> merged."""

HIGH, LOW = 1 << 15, 1 << 16
"""How many values the upper half of a non-negative float32's bits has (the sign is 0), and the lower half."""


def interpolate(theta0: Tensor, thetas: Sequence[Tensor], alpha: float) -> Tensor:
    """theta0 + alpha times the mean of the deltas (Speech-FT)."""
    if alpha == 1 and len(thetas) == 1:
        return _alike(theta0, thetas)[0].clone()
    return _moved(theta0, torch.stack(_deltas(theta0, thetas)).mean(dim=0), alpha)


def sequential(theta0: Tensor, thetas: Sequence[Tensor], alpha: float) -> Tensor:
    """`interpolate` in rounds, each from where the last one ended: for models that were each fine-tuned from the merge
    before. The type is theta0's after every round, as it is in files."""
    for theta in thetas:
        theta0 = interpolate(theta0, [theta], alpha)
    return theta0


def arithmetic(theta0: Tensor, thetas: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """theta0 + the sum of the deltas times their coefficients; a negative one takes a skill out (Ilharco et al. 2023,
    arXiv 2212.04089). A single coefficient of 1, the others 0, is that model bit for bit."""
    if sorted(coefficients) == [0.0] * (len(thetas) - 1) + [1.0]:
        return _alike(theta0, thetas)[list(coefficients).index(1.0)].clone()
    scaled = [delta * c for delta, c in zip(_deltas(theta0, thetas), coefficients, strict=True)]
    return _moved(theta0, torch.stack(scaled).sum(dim=0), 1.0 if any(coefficients) else 0.0)


def ties(
    theta0: Tensor, thetas: Sequence[Tensor], alpha: float, density: float, floors: Sequence[float] | None = None
) -> Tensor:
    """theta0 + alpha times the deltas' TIES merge (Yadav et al. 2023, arXiv 2306.01708).

    Of each delta the share `density` that is largest in magnitude is kept; the sign of the kept entries' sum is
    elected; the mean is over the kept entries of that sign. Where the sum is exactly 0 theta0 stays (the authors' code
    takes the model's majority sign there).
    `floors`: the magnitudes from which on entries are kept, one a model, of deltas larger than this tensor: the paper
    trims a model as a whole. All entries that are as large as the smallest one kept are kept.
    """
    deltas = _deltas(theta0, thetas)
    if floors is None:
        floors = [magnitude_floor(partial(iter, [delta]), kept(density, delta.numel())) for delta in deltas]
    trimmed = torch.stack([delta * (delta.abs() >= floor) for delta, floor in zip(deltas, floors, strict=True)])
    agree = trimmed.sign() == trimmed.sum(dim=0).sign()
    mean = (trimmed * agree).sum(dim=0) / agree.sum(dim=0).clamp(min=1)
    return _moved(theta0, mean, alpha)


def kept(density: float, count: int) -> int:
    """How many of `count` entries the share `density` is: at least one where there is one."""
    return min(count, max(1, round(density * count)))


def magnitude_floor(deltas: Callable[[], Iterable[Tensor]], keep: int) -> float:
    """The `keep`-th largest magnitude over all of the deltas' entries, exactly, with one delta in memory at a time.

    `deltas` is called twice: the bits of non-negative floats are ordered as the floats are, so that counting their
    upper halves finds the bin, and counting the lower halves in that bin the value.
    """
    if keep < 1:
        return 0.0
    upper = torch.zeros(HIGH, dtype=torch.int64)
    for delta in deltas():
        upper += torch.bincount(_bits(delta) >> 16, minlength=HIGH)
    high, left = _from_above(upper, keep)
    lower = torch.zeros(LOW, dtype=torch.int64)
    for delta in deltas():
        bits = _bits(delta)
        lower += torch.bincount(bits[bits >> 16 == high] & (LOW - 1), minlength=LOW)
    low, _ = _from_above(lower, left)
    return float(torch.tensor([high << 16 | low], dtype=torch.int32).view(torch.float32))


def delta_of(theta0: Tensor, theta: Tensor) -> Tensor:
    """theta - theta0 in single precision, or in double where they are double."""
    return theta.to(_wide(theta0)) - theta0.to(_wide(theta0))


def _deltas(theta0: Tensor, thetas: Sequence[Tensor]) -> list[Tensor]:
    return [delta_of(theta0, theta) for theta in _alike(theta0, thetas)]


def _alike(theta0: Tensor, thetas: Sequence[Tensor]) -> Sequence[Tensor]:
    if not thetas or not theta0.is_floating_point():
        raise ValueError(f"fine-tuned tensors of a floating type wanted, found {len(thetas)} of {theta0.dtype}")
    for theta in thetas:
        if theta.shape != theta0.shape or theta.dtype != theta0.dtype:
            raise ValueError(f"{theta0.dtype} {tuple(theta0.shape)} wanted, found {theta.dtype} {tuple(theta.shape)}")
    return thetas


def _moved(theta0: Tensor, delta: Tensor, alpha: float) -> Tensor:
    return (theta0.to(_wide(theta0)) + alpha * delta).to(theta0.dtype) if alpha else theta0.clone()


def _wide(theta: Tensor) -> torch.dtype:
    return torch.promote_types(theta.dtype, torch.float32)


def _bits(delta: Tensor) -> Tensor:
    return delta.float().abs().flatten().view(torch.int32)


def _from_above(counts: Tensor, keep: int) -> tuple[int, int]:
    """The bin in which the `keep`-th falls, counted from the last bin on, and its place in it."""
    above = counts.flip(0).cumsum(0)
    place = int((above >= keep).nonzero()[0])
    found = len(counts) - 1 - place
    return found, keep - int(above[place] - counts[found])
