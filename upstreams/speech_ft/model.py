"""Speech-FT as an upstream: a backbone's encoder with other weights, fine-tuned and merged with its own.

    speech_ft_asr                            a recipe's checkpoint, merged a quarter of the way
    speech_ft_asr+alpha0.5                   the same checkpoint, half of the way
    speech_ft_asr+lora                       a baseline of the same task: plain, unstable, l2, features, lora, dora,
                                             early
    speech_ft --checkpoint FOLDER            what harness/merge.py wrote: weights with their settings beside them
    speech_ft@hubert_base --checkpoint FILE  any weights of that backbone's encoder, also fairseq's and s3prl's
                                             (`foreign`); the settings are the backbone's

It stands on nothing: the waves go through it alone. What it is compared with is the backbone that it was made from,
`derived_from`.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness.config import parse
from harness.contracts import Level
from harness.errors import UserError
from upstreams import backbones, catalogue, hf_speech, weights, whisper
from upstreams.speech_ft import assemble, encoder, foreign, merge, sources
from upstreams.speech_ft import checkpoint as checkpoints
from upstreams.speech_ft.settings import BASELINES, Baseline, Settings, alpha_of, from_options

if TYPE_CHECKING:
    from upstreams.card import Card


class Options(BaseModel):
    """A card's options; none of them for the card whose weights are given."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    task: str | None = None
    """What was fine-tuned on; several by '+' jointly."""
    preset: str = "mini"
    after: tuple[str, ...] = ()
    """Tasks of the rounds before, of sequential Speech-FT."""
    merged: tuple[str, ...] = ()
    """Tasks whose separately fine-tuned models are merged, in place of `task`."""
    method: Literal["linear", "ties"] = "linear"
    baseline: Baseline | None = None
    alpha: float | None = None

    def wanted(self, name: str) -> list[Settings]:
        """The recipes whose checkpoints are merged."""
        shared: dict[str, Any] = {"preset": self.preset, "baseline": self.baseline}
        tasks = self.merged or (self.task,)
        return [from_options({**shared, "task": task, "after": self.after}, f"card of {name}") for task in tasks]

    def distance(self) -> float:
        return alpha_of(self.baseline) if self.alpha is None else self.alpha


def variant(card: Card, suffix: str) -> Card:
    """A card under a name with `+suffix`: a baseline, or another alpha. Raises UserError for another suffix."""
    options = parse(Options, card.options, "card's options")
    number = re.fullmatch(r"alpha(\d+(?:\.\d+)?)", suffix)
    if options.task is None and not options.merged:
        raise UserError(f"+{suffix}: a card with a recipe wanted, such as speech_ft_asr")
    if number and float(number[1]) <= 1:
        told = {"alpha": float(number[1])}
        how = f"alpha {float(number[1]):g}"
    elif suffix in BASELINES:
        told = {"baseline": suffix, "alpha": alpha_of(suffix)}  # type: ignore[dict-item]
        how = WORDS[suffix]
    else:
        raise UserError(f"+{suffix}: +alphaA with A from 0 to 1 wanted, or one of +{', +'.join(BASELINES)}")
    recipe = f"{(card.recipe or '').partition(';')[0]}; {how}"
    return card.model_copy(update={"options": {**card.options, **told}, "recipe": recipe})


WORDS = {
    "plain": "not merged: stable fine-tuning alone, alpha 1",
    "unstable": "without the stable schedule, merged at alpha 0.25",
    "l2": "held near the pre-trained weights by an L2 penalty, not merged",
    "features": "held near the pre-trained features by a penalty, not merged",
    "lora": "LoRA in place of all weights, merged back whole",
    "dora": "DoRA in place of all weights, merged back whole",
    "early": "the early checkpoint, after 20 % of the updates, not merged",
}


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
        # the merge's own modules: a change in them is a change of the features
        made_by = [foreign, merge, assemble, checkpoints, sys.modules[__name__]]
        self.fingerprint = weights.fingerprint(made_by, sha256, identity)
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
    options = parse(Options, card.options, f"card of {name}, options")
    if backbone is None:
        raise UserError(f"card of {name}: `backbone` is missing; name the one meant by the bare name")
    if options.task is not None or options.merged:
        return _from_recipes(options, name, backbone, recipe_seed, checkpoint, folder)
    if checkpoint is None:
        raise UserError(
            f"{name} is given its weights: make them with python harness/merge.py PRETRAINED FINETUNED --alpha 0.25 "
            "--out FOLDER, then add --checkpoint FOLDER"
        )
    if not checkpoint.exists():
        raise UserError(
            f"checkpoint {checkpoint} does not exist: wanted what harness/merge.py wrote, or a file of weights"
        )
    below = _card_below(name, backbone)
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


def _from_recipes(
    options: Options, name: str, backbone: str, seed: int, path: Path | None, folder: Path | None
) -> Refined:
    """The merge of a backbone with what recipes made of it."""
    wanted = options.wanted(name)
    if path is not None and len(wanted) > 1:
        raise UserError(f"{name} is merged of {len(wanted)} checkpoints: --checkpoint names one; leave it out")
    inside: Any = backbones.build(_card_below(name, backbone), backbone, folder)
    module = encoder.inner(inside)
    theta0 = dict(module.state_dict())
    found = assemble.found_for(wanted, backbone, seed, path)
    began, rounds = assemble.began(found[0][0].meta.settings, backbone, theta0, seed)
    for one, place in found:
        one.check_base(inside, str(place))
        if one.meta.before_sha256 != assemble.before_sha256(rounds):
            raise UserError(f"{place} was fine-tuned from another merge than there is now; make it again with --again")
    thetas = [one.finetuned(began) for one, _ in found]
    module.load_state_dict(assemble.combined(began, thetas, options.method, options.distance()))
    told = [one.meta.tensors_sha256 for one in (*rounds, *(one for one, _ in found))]
    sums = "|".join([inside.fingerprint, *told, options.method, f"{options.distance():g}"])
    inside.name = name
    return Refined(inside, backbone, found[0][1], hashlib.sha256(sums.encode()).hexdigest())


def _card_below(name: str, backbone: str) -> Card:
    """Raises UserError for a backbone whose weights cannot be replaced."""
    if catalogue.S3PRL.match(backbone):
        raise UserError(f"{name}: {backbone} is built by s3prl and cannot be given weights; name one of our own cards")
    below = catalogue.card(backbone)
    if below.options.get("kind") not in (*foreign.KINDS, "whisper"):
        raise UserError(f"{name}: {backbone} has no weights that could be fine-tuned; wanted a HuBERT, wav2vec 2.0 …")
    return below


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
