"""Waves -> an upstream's features, the one way: backbone, rounding to what the store keeps, then the map on top.

s3prl's wrapper, `run.py check` and the feature store all round with `rounded`, so a score never depends on
whether the store was warm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from harness.contracts import Upstream
from harness.errors import UserError
from harness.registry import resolve

CATALOGUE = "upstreams.catalogue:build"


def rounded(features: Tensor, name: str) -> Tensor:
    """A backbone's features to half precision and back, as the store keeps them.

    Raises UserError if any is not finite, before or after: half precision ends at 65504.
    """
    kept = features.to(torch.float16).float()
    if not bool(torch.isfinite(kept).all()):
        reason = (
            "holds NaN or infinity" if not bool(torch.isfinite(features).all()) else "exceeds half precision (65504)"
        )
        raise UserError(f"a hidden state of {name} {reason}: this upstream cannot be evaluated as it is")
    return kept


def base_of(
    upstream: Upstream, *, folder: str | Path | None = None, device: torch.device | str = "cpu"
) -> Upstream | None:
    """The backbone that a post-trained upstream stands on, built from the catalogue; None for a backbone itself.

    `folder`: the backbone's weights in place of its card's. An upstream with a method `check_base` may refuse the one
    it gets by a UserError.
    """
    if upstream.base is None:
        return None
    base: Upstream = resolve(CATALOGUE)(upstream.base, folder=folder, device=device)
    if hasattr(upstream, "check_base"):
        upstream.check_base(base)
    return base


@torch.no_grad()
def encode(upstream: Upstream, waves: Sequence[Tensor], base: Upstream | None = None) -> list[Tensor]:
    """1-D float32 waves at 16 kHz, of any lengths -> one (T, L, D) float32 each, on the upstream's device.

    T = ceil(n / stride), or 1 at level 'utterance'. `base` is the built backbone if the upstream names one
    (`base_of`); without it it is built here, which is slow if done often. Raises UserError as `layers`,
    `rounded` and `transform` do.
    """
    below = upstream if upstream.base is None else base or base_of(upstream)
    assert below is not None
    groups: dict[int, list[int]] = defaultdict(list)
    for index, wave in enumerate(waves):
        groups[wave.shape[0]].append(index)
    layers: dict[int, Tensor] = {}
    for indices in groups.values():
        for index, states in zip(indices, below.layers([waves[i] for i in indices]), strict=True):
            layers[index] = rounded(states, below.name)
    return [features.float() for features in upstream.transform([layers[index] for index in range(len(waves))])]
