"""DeCoAR 2.0 through s3prl's own loader and code.

    decoar2 -k checkpoint_decoar2.pt   the file that s3prl loads, or a runner's with the encoder fine-tuned
    decoar2 -k FOLDER                  a folder with that file, or one that harness/merge.py wrote
    decoar2                            s3prl fetches its file itself

States: k - 1 is what enters transformer block k, the last the encoder's output: 13 of 768, stride 320 (50 a second),
from 80 filter banks of every second frame, normalised over the utterance.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict

from harness.config import parse
from harness.errors import UserError
from harness.registry import resolve
from upstreams.backbones import Backbone
from upstreams.decoar2 import checkpoint as files

if TYPE_CHECKING:
    from upstreams.card import Card


class Options(BaseModel):
    """A card's options: there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def build(
    card: Card,
    name: str,
    backbone: str | None,
    recipe_seed: int,
    checkpoint: Path | None,
    folder: Path | None = None,
) -> Backbone:
    """The upstream with the weights at `folder`, which may be a file. It is a backbone: `recipe_seed` is not read.

    Raises UserError: a post-training checkpoint or a backbone below, no or other weights, a tensor that is missing
    (s3prl would leave it at random values)."""
    parse(Options, card.options, f"card of {name}, options")
    if checkpoint is not None or backbone is not None:
        raise UserError(f"{name} stands on nothing and has no post-training checkpoint: give its weights with -k")
    bridge = resolve("upstreams.s3prl_bridge:S3PRLBackbone")
    if folder is None:
        fetched: Backbone = bridge("decoar2", name=name)
        return fetched
    path = files.file_in(folder)
    tensors = files.read(path)
    with TemporaryDirectory() as scratch:
        torch.save({"model": tensors}, Path(scratch) / "decoar2.pt")
        made = bridge("decoar2_local", Path(scratch) / "decoar2.pt", name=name)
    lacking = sorted(made.model.model.state_dict().keys() - tensors.keys())
    if lacking:
        raise UserError(f"{path} lacks {len(lacking)} tensors of DeCoAR 2.0, the first is {lacking[0]}")
    built: Backbone = made
    return built
