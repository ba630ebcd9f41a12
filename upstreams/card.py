"""Cards: one YAML file in upstreams/cards an upstream, `NAME.yaml`, read into a strict `Card`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.config import parse, read_yaml
from upstreams.weights import WeightsSpec

NAME = r"^[a-z0-9][a-z0-9_.+-]*$"
"""Names of cards: safe as a file name, so that no name leads out of the results folder."""

Answer = Literal["yes", "no", "unknown"]


class TrainedOn(BaseModel):
    """One corpus that the weights have seen, and what of it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    corpus: str
    labels: Literal["text", "speaker", "none", "unknown"]
    note: str = ""


class Card(BaseModel):
    """What an upstream is and where it comes from. `options` is checked by the family that builds it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    family: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """'backbones', or `x` for what `upstreams/x/model.py` builds."""
    backbone: str | None = Field(None, pattern=NAME)
    """Of a post-trained upstream: the backbone meant by its bare name."""
    weights: WeightsSpec | None = None
    options: dict[str, Any] = {}
    recipe: str | None = None
    """What post-trained it, in words or as a paper's reference."""
    trained_on: list[TrainedOn] = []
    contamination: Answer
    """Has it seen a test set of the suite's?"""
    supervised: bool
    """Trained with text or speaker labels, the backbone included."""
    licence: str
    source: str
    note: str = ""


def read_card(path: Path) -> Card:
    """A card's file; a UserError names the first thing wrong with it, an unknown key with a suggestion."""
    card: Card = parse(Card, read_yaml(path), path)
    return card
