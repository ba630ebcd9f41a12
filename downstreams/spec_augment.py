"""SpecAugment as SUPERB's speech recognition has it: on the mixed features of a padded batch, in training.

Park et al. 2019, "SpecAugment"; the settings and the order of draws are s3prl's (`downstream/specaug.py`), so one seed
gives the same augmentation in both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

WARP = 5
"""Frames that a point of time is moved by at most."""
FEATURE_MASKS, FEATURE_WIDTH = 4, 50
"""How many masks, and the width in features that none reaches."""
TIME_MASKS, TIME_WIDTH = 2, 40
"""How many masks, and the width in frames that none reaches."""


def spec_augment(x: Tensor, frames: Sequence[int]) -> Tensor:
    """(B, T, D) padded, `frames` valid in each -> the same shape: time warped, masked features and times set to 0.

    Draws from torch's global generator. Masks lie anywhere in T, in padding too, as s3prl's."""
    warped = [_warped(one[:count]) for one, count in zip(x, frames, strict=True)]
    x = torch.stack([F.pad(one, (0, 0, 0, x.shape[1] - len(one))) for one in warped])
    x = x.masked_fill(_masks(len(x), x.shape[2], FEATURE_MASKS, FEATURE_WIDTH).to(x.device)[:, None, :], 0.0)
    return x.masked_fill(_masks(len(x), x.shape[1], TIME_MASKS, TIME_WIDTH).to(x.device)[:, :, None], 0.0)


def _warped(x: Tensor) -> Tensor:
    """(T, D): the frames before a random point stretched or squeezed by up to WARP, those after it the other way."""
    count = len(x)
    if count - WARP <= WARP:
        return x
    centre = int(torch.randint(WARP, count - WARP, (1,)))
    target = int(torch.randint(centre - WARP, centre + WARP, (1,))) + 1
    parts = ((x[:centre], target), (x[centre:], count - target))
    return torch.cat([
        F.interpolate(part[None, None], (length, x.shape[1]), mode="bicubic", align_corners=False)[0, 0]
        for part, length in parts
    ])  # fmt: skip


def _masks(batch: int, length: int, masks: int, width: int) -> Tensor:
    """(B, length) bool: the union of each item's masks."""
    widths = torch.randint(0, width, (batch, masks))[:, :, None]
    starts = torch.randint(0, max(1, length - int(widths.max())), (batch, masks))[:, :, None]
    at = torch.arange(length)[None, None]
    return ((starts <= at) & (at < starts + widths)).any(dim=1)
