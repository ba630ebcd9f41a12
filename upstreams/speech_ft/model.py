"""Speech-FT as an upstream: a backbone's encoder with other weights, fine-tuned and merged with its own.

    speech_ft --checkpoint FOLDER            what harness/merge.py wrote: weights with their settings beside them
    speech_ft@hubert_base --checkpoint FILE  any weights of that backbone's encoder, also fairseq's and s3prl's
                                             (`foreign`); the settings are the backbone's

It stands on nothing: the waves go through it alone. What it is compared with is the backbone that it was made from,
`derived_from`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness.config import parse
from harness.contracts import Level
from harness.errors import UserError
from upstreams import backbones, catalogue, hf_speech, weights, whisper
from upstreams.speech_ft import foreign, sources

if TYPE_CHECKING:
    from upstreams.card import Card


class Options(BaseModel):
    """A card's options: there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Refined(nn.Module):
    """A backbone with other weights; follows `harness.contracts.Upstream`, its states are the backbone's class's.

    `derived_from` names the backbone whose own weights it began from."""

    base = None
    level: Level = "frame"

    def __init__(self, inside: backbones.Backbone, derived_from: str, checkpoint: Path, sha256: str):
        super().__init__()
        self.inside, self.derived_from, self.path = inside.requires_grad_(False).eval(), derived_from, checkpoint
        self.name, self.dim, self.num_layers, self.stride = inside.name, inside.dim, inside.num_layers, inside.stride
        identity = {"derived_from": derived_from, "inside": inside.fingerprint}
        self.fingerprint = weights.fingerprint([foreign, sys.modules[__name__]], sha256, identity)
        super().train(False)

    def layers(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """As `backbones.Backbone.layers`."""
        return self.inside.layers(waves)

    def transform(self, layers: Sequence[Tensor]) -> list[Tensor]:
        return list(layers)

    def train(self, mode: bool = True) -> Refined:
        """Frozen: it stays in eval mode."""
        return super().train(False)


def build(
    card: Card,
    name: str,
    backbone: str | None,
    recipe_seed: int,
    checkpoint: Path | None,
    folder: Path | None = None,
) -> Refined:
    """The upstream in `checkpoint`. `folder` holds the backbone in place of its card's weights; it is read for a
    checkpoint without settings of its own.

    Raises UserError: bad options, no checkpoint, one of another model, one that was merged from other weights than the
    backbone's.
    """
    parse(Options, card.options, f"card of {name}, options")
    if backbone is None:
        raise UserError(f"card of {name}: `backbone` is missing; name the one meant by the bare name")
    if checkpoint is None:
        raise UserError(
            f"{name} is given its weights: make them with python harness/merge.py PRETRAINED FINETUNED --alpha 0.25 "
            "--out FOLDER, then add --checkpoint FOLDER"
        )
    if not checkpoint.exists():
        raise UserError(
            f"checkpoint {checkpoint} does not exist: wanted what harness/merge.py wrote, or a file of weights"
        )
    if catalogue.S3PRL.match(backbone):
        raise UserError(f"{name}: {backbone} is built by s3prl and cannot be given weights; name one of our own cards")
    below = catalogue.card(backbone)
    if below.options.get("kind") not in (*foreign.KINDS, "whisper"):
        raise UserError(f"{name}: {backbone} has no weights that could be fine-tuned; wanted a HuBERT, wav2vec 2.0 …")
    if checkpoint.is_dir():
        file = weights.weights_file(checkpoint)
        sha256 = weights.sha256_file(file)
        _check_origin(file, name, backbone, below)
        # the file's own sum takes the place of the card's, and of a recorded one: a merge may be made again
        own = weights.WeightsSpec.model_validate({"file": file.name, "sha256": sha256})
        inside = backbones.build(below.model_copy(update={"weights": own}), name, checkpoint)
    else:
        sha256 = weights.sha256_file(checkpoint)
        _check_origin(checkpoint, name, backbone, below)
        inside = backbones.build(below, name, folder)
        _fill(inside, checkpoint)
    return Refined(inside, backbone, checkpoint, sha256)


def _check_origin(file: Path, name: str, backbone: str, below: Card) -> None:
    """A difference to the backbone says something only where the merge began from its very weights."""
    began, wanted = sources.origin(file), below.weights.sha256 if below.weights else None
    if began and wanted and began != wanted:
        raise UserError(
            f"{file} was merged from other weights ({began[:12]}) than those of {backbone} ({wanted[:12]}): name the"
            f" backbone that it was made from, as {name.partition('@')[0]}@BACKBONE"
        )


@torch.no_grad()
def _fill(inside: backbones.Backbone, path: Path) -> None:
    """Other weights into a built backbone."""
    if isinstance(inside, whisper.Whisper):
        inside.load(weights.load_tensors(path), path)
    elif isinstance(inside, hf_speech.HFSpeech):
        config = inside.model.config.to_dict()
        inside.model = hf_speech.load_model(config["model_type"], config, foreign.read(path), path)
