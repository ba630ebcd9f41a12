"""The names of one fine-tuning's merges, for `harness/sweep.py`."""

from __future__ import annotations

from harness.errors import UserError
from upstreams import catalogue
from upstreams.speech_ft.settings import ALPHA


def suffix_at(alpha: float) -> str:
    """What follows a card's name: nothing at the card's own alpha, '+plain' at 1."""
    return {ALPHA: "", 1.0: "+plain"}.get(alpha, f"+alpha{alpha:g}")


def name_at(name: str, alpha: float) -> str:
    """The upstream at an alpha from 0 to 1, by the name that other commands have for it: that of the backbone at 0,
    whose weights these are bit for bit, unless the card's fine-tuning began from another merge.

    Raises UserError for a card without a recipe, and a name that is a variant already."""
    own, at, backbone = name.partition("@")
    card = catalogue.card(own)
    if "+" in own or not card.options:
        raise UserError(f"{name}: a card with a recipe and no +suffix wanted, such as speech_ft_asr")
    if alpha == 0 and not card.options.get("after"):
        return backbone or str(card.backbone)
    return f"{own}{suffix_at(alpha)}{at}{backbone}"
