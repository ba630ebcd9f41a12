"""The upstreams there are: names -> cards -> `harness.contracts.Upstream`.

A name is that of a card (`whisper_tiny`, `icl_speaker`), `u@backbone` for a post-trained upstream on another
backbone, `backbone+input` for what a post-training network gets, untrained, or `s3prl:NAME` for one of
s3prl's own.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from harness.contracts import Upstream
from harness.errors import UserError
from harness.registry import resolve, unknown
from upstreams.card import NAME, Card, read_card

CARDS = Path(__file__).resolve().parent / "cards"

BACKBONES = "backbones"
"""The family of cards that stand on nothing else."""

S3PRL = re.compile(r"^s3prl:[A-Za-z0-9][A-Za-z0-9_]*$")


def names() -> list[str]:
    """Every card's name, sorted."""
    return sorted(path.stem for path in CARDS.glob("*.yaml"))


def card(name: str) -> Card:
    """The card behind a name, the suffixes `@backbone` and `+input` left aside. Raises UserError if there is none."""
    return _card_of(_split(name)[0])


def _card_of(own: str) -> Card:
    """The card of `u`, or of the variant `u+suffix`."""
    stem, plus, suffix = own.partition("+")
    found = _card(CARDS, stem)
    if not plus:
        return found
    changed: Card = resolve(f"upstreams.{found.family}.model:variant")(found, suffix)
    return changed


@cache
def _card(folder: Path, name: str) -> Card:
    return read_card(folder / f"{name}.yaml")


def describe(name: str) -> dict[str, Any]:
    """The card as a dict, with `name`, and for a post-trained upstream its backbone's card under `backbone_card`."""
    if S3PRL.match(name):
        return {
            "name": name,
            "family": "s3prl",
            "contamination": "unknown",
            "note": "one of s3prl's own upstreams",
        }
    own, backbone, untrained = _split(name)
    found = _card_of(own).model_dump()
    if untrained:
        found["note"] = f"what a post-training network gets from {own}, untrained"
    elif backbone is not None:
        found |= {"backbone": backbone, "backbone_card": describe(backbone)}
    return {"name": name} | found


def build(
    name: str,
    *,
    folder: str | Path | None = None,
    checkpoint: str | Path | None = None,
    recipe_seed: int = 0,
    device: torch.device | str = "cpu",
) -> Upstream:
    """The upstream of a name, ready to encode on `device`.

    `folder` holds a backbone's weights in place of its card's; where a post-trained upstream's backbone is built apart
    (`harness.encode.base_of`), its folder is given there: `takes_folder` says which. `checkpoint` and `recipe_seed`
    choose among a post-trained upstream's own weights. Raises UserError: unknown name (with a suggestion), missing
    weights, a wrong checksum, weights of another model.
    """
    folder = Path(folder).expanduser() if folder is not None else None
    checkpoint = Path(checkpoint).expanduser() if checkpoint is not None else None
    upstream = _build(name, folder, checkpoint, recipe_seed)
    upstream.to(device)
    return upstream


def takes_folder(name: str) -> bool:
    """Whether the backbone's folder, the user's -k, is for `build`: for a backbone, one of s3prl's own, and a family
    that puts other weights into a backbone, whose own `build` has a parameter `folder`. Raises UserError for an unknown
    name."""
    if S3PRL.match(name):
        return True
    own, _, untrained = _split(name)
    family = _card_of(own).family
    build_family = _family(family)
    fills = build_family is not None and "folder" in signature(build_family).parameters
    return not untrained and (family == BACKBONES or fills)


def _build(name: str, folder: Path | None, checkpoint: Path | None, recipe_seed: int) -> Upstream:
    if S3PRL.match(name):
        _no_checkpoint(name, checkpoint)
        bridge: Upstream = resolve("upstreams.s3prl_bridge:S3PRLBackbone")(name.partition(":")[2], folder)
        return bridge
    own, backbone, untrained = _split(name)
    found = _card_of(own)
    if folder is not None and not takes_folder(name):
        raise UserError(f"{name} stands on a backbone: folder {folder} is for that one, where it is built")
    if untrained:
        made: Upstream = resolve("upstreams.icl.model:build_input")(own, recipe_seed, checkpoint)
        return made
    if found.family == BACKBONES:
        _no_checkpoint(name, checkpoint)
        plain: Upstream = resolve("upstreams.backbones:build")(found, name, folder)
        return plain
    build_family = _family(found.family)
    if build_family is None:
        raise UserError(
            f"card {own!r}: family {found.family!r} wants upstreams/{found.family}/model.py, which is missing"
        )
    place = {"folder": folder} if folder is not None else {}
    post_trained: Upstream = build_family(found, name, backbone, recipe_seed, checkpoint, **place)
    return post_trained


def _family(family: str) -> Callable[..., Any] | None:
    """The function that builds a family's cards; None where there is no such family."""
    if not (Path(__file__).parent / family / "model.py").is_file():
        return None
    build_family: Callable[..., Any] = resolve(f"upstreams.{family}.model:build")
    return build_family


def _split(name: str) -> tuple[str, str | None, bool]:
    """A name's card (or variant of one), the backbone it stands on (None: on nothing), and whether it ends in
    '+input'."""
    own, at, backbone = name.partition("@")
    untrained = own.endswith("+input") and not at
    own = own.removesuffix("+input") if untrained else own
    stem, plus, _ = own.partition("+")
    if not re.match(NAME, stem) or stem not in names():
        raise unknown("upstream", own, names())
    if plus and not _has_variants(stem):
        raise unknown("upstream", own, names())
    found = _card_of(own)
    if found.family == BACKBONES or untrained:
        if at or found.family != BACKBONES:
            raise UserError(
                f"{name!r}: {'@' if at else '+input'} does not go with {own!r}: it wants"
                f" {'a post-trained upstream' if at else 'a backbone'} before it"
            )
        return own, None, untrained
    if not at:
        return own, found.backbone, False
    if not S3PRL.match(backbone) and (backbone not in names() or _card(CARDS, backbone).family != BACKBONES):
        backbones = [other for other in names() if _card(CARDS, other).family == BACKBONES]
        raise unknown("backbone", backbone, backbones)
    return own, backbone, False


def _has_variants(stem: str) -> bool:
    family = _card(CARDS, stem).family
    return _family(family) is not None and hasattr(importlib.import_module(f"upstreams.{family}.model"), "variant")


def _no_checkpoint(name: str, checkpoint: Path | None) -> None:
    if checkpoint is not None:
        raise UserError(f"{name} is a backbone and has no post-training checkpoint: give its weights with -k FOLDER")
