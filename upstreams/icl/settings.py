"""Everything an ICL recipe can be told, as one strict model whose hash names the recipe."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from upstreams import checkpoints
from upstreams.icl.loss import OrthMode

Variant = Literal["joint", "speaker_only", "content_only"]
BLOCKS: dict[str, tuple[str, ...]] = {
    "joint": ("speaker", "content"),
    "speaker_only": ("speaker",),
    "content_only": ("content",),
}
"""The supervised blocks of a variant, in their order in the latent."""

VARIABLES = ("speaker", "content")
"""The intervened variables: rows and columns of the crossed table."""


class Settings(checkpoints.Settings):
    """A recipe. Defaults are the preset `mini`, sized for 20 voices x 48 sentences; `paper` the authors' figures."""

    variant: Variant = "joint"
    residual: bool = False
    """A further block that no variable supervises, kept orthogonal to the others."""
    hidden: tuple[int, ...] = (384, 384)
    block_dim: int = Field(default=192, gt=0)
    layers: str = "auto"
    """'last', a layer's number, 'concat', 'mix', or 'auto': what does best on the crossed validation set."""
    standardise: bool | None = None
    """Each dimension to mean 0, deviation 1 on the crossed training set. None: what does best, as `layers: auto`."""
    temperature: float = Field(default=0.1, gt=0)
    margin: float = Field(default=0.0, ge=0)
    orth_mode: OrthMode = "dimension"
    orth_weight: float = Field(default=1.0, ge=0)
    batch: int = Field(default=480, gt=0)
    lr: float = Field(default=1e-3, gt=0)
    steps: int = Field(default=480, ge=20)
    """At least 20: OneCycle's rise takes a tenth of them."""

    @field_validator("layers")
    @classmethod
    def _layers_known(cls, layers: str) -> str:
        if layers not in ("auto", "last", "concat", "mix") and not layers.isdigit():
            raise ValueError("auto, last, concat, mix or a layer's number wanted")
        return layers

    @property
    def supervised(self) -> tuple[str, ...]:
        return BLOCKS[self.variant]

    @property
    def blocks(self) -> tuple[str, ...]:
        return (*self.supervised, "residual") if self.residual else self.supervised


PRESETS: dict[str, dict[str, Any]] = {
    "mini": {},
    "paper": {
        "hidden": (768, 768),
        "block_dim": 384,
        "layers": "last",
        "standardise": False,
        "batch": 512,
        "lr": 1e-4,
    },
}


def from_options(options: dict[str, Any], where: str) -> Settings:
    """Settings from a card's or the command line's options, with an optional `preset`. Raises UserError."""
    return checkpoints.from_options(Settings, PRESETS, options, where)
