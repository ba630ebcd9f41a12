"""Everything an ICL recipe can be told, as one strict model whose hash names the recipe."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.config import parse
from harness.errors import UserError
from harness.results import identity_hash
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


class Settings(BaseModel):
    """A recipe. Defaults are the preset `mini`, sized for 20 voices x 48 sentences; `paper` the authors' figures."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = 1
    """Raised when the recipe gives other weights for a reason that no field below shows."""
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

    @property
    def hash(self) -> str:
        return identity_hash(self.model_dump(mode="json"))


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
    given = dict(options)
    preset = given.pop("preset", "mini")
    if preset not in PRESETS:
        raise UserError(f"{where}: preset {preset!r} unknown; one of {', '.join(PRESETS)} wanted")
    settings: Settings = parse(Settings, PRESETS[preset] | given, where)
    return settings
