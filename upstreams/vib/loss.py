"""The loss of VIB (arXiv 2410.03037): the stage's task loss + beta * KL, and how beta rises."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-8
"""In the logarithm of the variance: softplus underflows to 0."""


def kl(mu: Tensor, var: Tensor) -> Tensor:
    """KL(N(mu, var) || N(0, 1)) of each frame in nats, (…, d) -> (…,): -1/2 sum over d of 1 + log var - mu^2 - var.

    Kingma & Welling 2014, appendix B; `var` is the variance itself."""
    return -0.5 * (1 + torch.log(var + EPS) - mu.square() - var).sum(dim=-1)


def beta_at(step: int, rise: int, beta: tuple[float, float]) -> float:
    """The weight of the KL at update `step` (0, 1, …): linear from beta[0] to beta[1] over the first `rise` updates,
    then beta[1]."""
    if step >= rise:
        return beta[1]
    return beta[0] + (beta[1] - beta[0]) * step / rise
