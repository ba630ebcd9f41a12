"""Reads a state dict of the authors' own training code, weights only, into a checkpoint of ours.

    python harness/posttrain.py vib --stage text --convert model_s1.pth --backbone hubert_base -k FOLDER
    python harness/posttrain.py vib --stage acoustic --target emotion --convert model_s2.pth --backbone hubert_base …

Their mix reads states 1 to L of the transformer, raw; a file without `layer_weights` was trained on one layer, which it
does not name, so `--layer` does. Stage 2 goes on the stage 1 that was converted before it (or `--text FILE`): which one
it was conditioned on is not in the file. What was converted is an upstream by a card whose recipe is `paper`:

    family: vib
    backbone: hubert_base
    options: {stream: text, recipe: {preset: paper, dim: 32}}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from harness.contracts import Upstream
from harness.ctc import LETTERS
from harness.errors import UserError
from upstreams.checkpoints import backbone_fields, probe
from upstreams.vib.checkpoint import Checkpoint, Meta
from upstreams.vib.settings import from_options
from upstreams.weights import load_tensors, sha256_file

SYMBOLS = ["<pad>", "<s>", "</s>", "<unk>", *LETTERS]
"""Of the tokenizers of wav2vec2-base-960h and hubert-large-ls960-ft, which the authors take; the pad is the blank."""
EMOTIONS = ["ang", "hap", "neu", "sad"]
"""Their numbering of IEMOCAP's four classes."""
ENCODER = {f"encoder.{part}.{kind}" for part in ("enc1", "enc2", "mu", "var") for kind in ("weight", "bias")}
STAGES = {
    "text": {"decoder.lm_head.weight", "decoder.lm_head.bias"},
    "acoustic": {
        "decoder.cond_attention.query",
        "decoder.z_attention.query",
        "decoder.clf.weight",
        "decoder.clf.bias",
    },
}


def converted(path: Path, backbone: Upstream, given: dict[str, Any], seed: int, text: Checkpoint | None) -> Checkpoint:
    """The checkpoint in `path` on `backbone`; `given` are the command line's settings, `text` the stage 1 of a stage 2.

    Raises UserError: a pickle with more than tensors and plain containers, another network or stage, another backbone's
    width or layers."""
    tensors = load_tensors(path)
    stage = given.get("stage", "text")
    wanted, found = ENCODER | STAGES[stage], set(tensors) - {"layer_weights"}
    if found != wanted:
        first = sorted(wanted ^ found)[0]
        raise UserError(
            f"{path}: wanted the authors' network of stage {stage}, {'lacks' if first in wanted else 'found'} {first}"
        )
    width, dim = tensors["encoder.enc1.weight"].shape[-1], tensors["encoder.mu.bias"].shape[0]
    if width != backbone.dim:
        raise UserError(
            f"{path} reads {width} dimensions, {backbone.name} gives {backbone.dim}: it is for another backbone"
        )
    layers = _layers(path, backbone, tensors, given)
    settings = from_options({"preset": "paper", **given, "dim": dim, "standardise": False}, "--convert")
    outputs = tensors["decoder.lm_head.bias" if stage == "text" else "decoder.clf.bias"].shape[0]
    meta = Meta(
        origin=f"converted from {path.name}, sha256 {sha256_file(path)}",
        settings=settings,
        recipe_hash=settings.hash,
        seed=seed,
        layers=layers,
        symbols=_symbols(path, outputs) if stage == "text" else [],
        classes=_classes(settings.target, outputs) if stage == "acoustic" else [],
        text_sha256=text.meta.tensors_sha256 if text else "",
        licence="as its source",
        **backbone_fields(backbone),
    )
    network = Checkpoint.network_of(meta)
    own = network.state_dict()
    theirs = {name: value.float() for name, value in tensors.items() if name != "layer_weights"}
    theirs["mix.weights"] = tensors.get("layer_weights", own["mix.weights"]).float()
    for name, value in theirs.items():
        # their query is (1, d)
        shape = value.shape[-1:] if name.endswith("query") else value.shape
        if shape != own[name].shape:
            raise UserError(
                f"{path}: {name} of shape {tuple(own[name].shape)} wanted, found {tuple(value.shape)}; give the sizes "
                "that it was trained with"
            )
    network.load_state_dict({**own, **{name: value.reshape(own[name].shape) for name, value in theirs.items()}})
    return Checkpoint(meta, network, probe(backbone))


def _layers(path: Path, backbone: Upstream, tensors: dict[str, Tensor], given: dict[str, Any]) -> list[int]:
    layer, weights = given.get("layer"), tensors.get("layer_weights")
    if weights is None:
        if layer is None or layer >= backbone.num_layers:
            raise UserError(
                f"{path} was trained on one layer and does not say which: --layer 0 to {backbone.num_layers - 1} wanted"
            )
        return [layer]
    if layer is not None:
        raise UserError(f"{path} mixes {weights.numel()} layers, so --layer does not go with it")
    if weights.numel() != backbone.num_layers - 1:
        raise UserError(
            f"{path} mixes {weights.numel()} layers, {backbone.name} has {backbone.num_layers - 1}: it is for another "
            "backbone"
        )
    return list(range(1, backbone.num_layers))


def _symbols(path: Path, outputs: int) -> list[str]:
    if outputs != len(SYMBOLS):
        raise UserError(f"{path}: {len(SYMBOLS)} symbols wanted, found {outputs}")
    return SYMBOLS


def _classes(target: str | None, outputs: int) -> list[str]:
    if target == "emotion" and outputs == len(EMOTIONS):
        return EMOTIONS
    return [f"{target} {number}" for number in range(outputs)]
