"""SUPERB's featurizer: a learned softmax-weighted sum over an upstream's layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Featurizer(nn.Module):
    """(..., L, D) -> (..., D). The weights start at zero, so the sum starts as the plain mean of the layers."""

    def __init__(self, num_layers: int):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_layers))

    def forward(self, layers: Tensor) -> Tensor:
        return torch.einsum("l,...ld->...d", self.weights.softmax(dim=0), layers)
