"""ICL checkpoints: what they say beside what every family's do, and the network that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from upstreams import checkpoints
from upstreams.checkpoints import probe
from upstreams.icl.network import InputMap, Kind, Network
from upstreams.icl.settings import PRESETS, Settings, from_options

__all__ = ["Checkpoint", "Choice", "Meta", "command", "find", "halved", "load", "new_network", "of", "probe"]


class Choice(BaseModel):
    """An input that was tried on the crossed validation set. `eer` is the mean over the blocks, in per cent."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layers: list[int]
    kind: Kind
    standardise: bool
    eer: float
    loss: float


class Meta(checkpoints.Meta):
    """What a checkpoint says of itself. `validation`: cosine EER (%) by block on the crossed validation set, and the
    loss."""

    format: Literal["post-superb icl 1"] = "post-superb icl 1"
    settings: Settings
    layers: list[int]
    """The backbone's layers that the network reads."""
    kind: Kind
    standardise: bool
    choices: list[Choice] = []
    """Every input tried, best first; empty where none was chosen."""


class Checkpoint(checkpoints.Checkpoint[Meta, Network]):
    family, title, meta_type = "icl", "ICL", Meta
    shipped = Path(__file__).resolve().parent / "weights"
    off = {"standardise": "--raw"}

    @staticmethod
    def network_of(meta: Meta) -> Network:
        return new_network(meta.settings, meta.layers, meta.kind, meta.backbone_dim)

    @classmethod
    def defaults(cls, settings: Settings) -> Settings:
        return Settings()

    @classmethod
    def presets(cls, settings: Settings) -> dict[str, Settings]:
        return {name: from_options({"preset": name}, "defaults") for name in PRESETS if name != "mini"}


def new_network(settings: Settings, layers: list[int], kind: Kind, width: int) -> Network:
    return Network(InputMap(layers, width, kind), settings.hidden, settings.block_dim, len(settings.blocks))


load, find, of, command, halved = (
    Checkpoint.load,
    Checkpoint.find,
    Checkpoint.of,
    Checkpoint.command,
    Checkpoint.halved,
)
