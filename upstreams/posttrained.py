"""An upstream that is a trained map on a frozen backbone's hidden states, whatever the family that trained it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.contracts import Level, Upstream
from harness.errors import UserError
from harness.features import time_mean
from upstreams import weights
from upstreams.checkpoints import Checkpoint


class Head(Protocol):
    """The map, an `nn.Module`: (…, L, D) -> (…, dim). `options` are what tells apart two maps of one checkpoint."""

    dim: int
    options: dict[str, Any]

    def __call__(self, hidden: Tensor) -> Tensor: ...


class PostTrained(nn.Module):
    """A map on a frozen backbone's hidden states; follows `harness.contracts.Upstream`."""

    num_layers = 1

    def __init__(
        self,
        name: str,
        sources: Sequence[tuple[Checkpoint[Any, Any], Path]],
        head: Head,
        modules: Sequence[ModuleType],
        form: Level = "frame",
    ):
        """`sources`: the checkpoints that `head` is made of, and their files, the one that the name means first.
        `modules`: the family's own that compute it; a change in them is a change of the features."""
        super().__init__()
        meta = sources[0][0].meta
        self.name, self.base, self.path, self.head, self.sources = name, meta.backbone, sources[0][1], head, sources
        self.level: Level = form
        self.dim = head.dim
        self.stride = meta.stride if form == "frame" else 0
        self.backbone_shape = meta.backbone_layers, meta.backbone_dim
        # the backbone's own fingerprint is not in it: a cell and the store count the backbone they run on beside this
        sums = json.dumps([source.meta.tensors_sha256 for source, _ in sources] + [meta.backbone])
        self.fingerprint = weights.fingerprint(
            [sys.modules[__name__], *modules],
            hashlib.sha256(sums.encode()).hexdigest(),
            {**head.options, "form": form},
        )
        self.requires_grad_(False).eval()

    def check_base(self, base: Upstream) -> None:
        """Raise UserError unless `base` is the backbone that every checkpoint in it was trained on."""
        for source, path in self.sources:
            source.check_base(base, str(path))

    def layers(self, waves: Sequence[Tensor]) -> list[Tensor]:
        raise UserError(f"{self.name} stands on {self.base}: encode waves with that and hand its states to `transform`")

    @torch.no_grad()
    def transform(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """One (T, L, D) a wave -> one (T, 1, dim), or (1, 1, dim) at level 'utterance', where time is averaged first; a
        mean that was taken already, (1, L, D), gives the same. Raises UserError for other layers."""
        return [self._one(hidden) for hidden in layers]

    def _one(self, hidden: Tensor) -> Tensor:
        want = self.backbone_shape
        if tuple(hidden.shape[1:]) != want:
            raise UserError(
                f"{self.path} was trained on {want[0]} layers x {want[1]} of {self.base}, found "
                f"{' x '.join(map(str, hidden.shape[1:]))}: this is another backbone"
            )
        below = time_mean(hidden)[None] if self.level == "utterance" else hidden.float()
        return self.head(below)[:, None]

    def train(self, mode: bool = True) -> PostTrained:
        """Frozen: it stays in eval mode."""
        return super().train(False)
