"""Weights of DeCoAR 2.0 (arXiv 2012.06659) as s3prl names them, in any of the containers that `foreign` reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from harness.errors import UserError
from upstreams import weights
from upstreams.speech_ft import foreign

ENCODER = ("post_extract_proj.", "encoder.")
"""How the tensors begin that features depend on; quantizer and decoder are pre-training's."""

TELLING = {"post_extract_proj.weight", "encoder.pos_conv.0.weight_v", "encoder.layers.0.fc1.weight"}
"""Tensors that it has, as fairseq's models of waves have them too."""

OF_WAVES = "feature_extractor."
"""How the convolutions' tensors begin that it has not: it reads filter banks."""


def own_name(name: str) -> str:
    """A tensor's name without what s3prl's runner puts before it."""
    return re.sub(r"^(module\.)?(upstream\.)?(model\.)?", "", name)


def is_one(names: Iterable[str]) -> bool:
    """Whether tensors of these names are DeCoAR 2.0's."""
    own = {own_name(name) for name in names}
    return own >= TELLING and not any(name.startswith(OF_WAVES) for name in own)


def file_in(place: Path) -> Path:
    """The weights at `place`: a file, or in a folder what Hugging Face calls them, else the one *.pt or *.ckpt.

    Raises UserError: nothing there, or more than one such file."""
    if not place.exists():
        raise UserError(f"{place} does not exist: wanted a file of weights or a folder that holds one")
    if not place.is_dir():
        return place
    if not any((place / name).is_file() for name in weights.WEIGHT_FILES):
        found = sorted([*place.glob("*.pt"), *place.glob("*.ckpt")])
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{place} holds {len(found)} checkpoints, one wanted: name the file, such as {found[0]}")
    return weights.weights_file(place)


def read(path: Path) -> dict[str, Tensor]:
    """The encoder's tensors by their own names. Raises UserError: unreadable, code in a pickle, another model."""
    state = foreign.state(path)
    if not is_one(state):
        raise UserError(f"{path}: weights of DeCoAR 2.0 wanted, with {', '.join(sorted(TELLING))}: another model's")
    own = {own_name(name): value for name, value in state.items()}
    return {name: value for name, value in own.items() if name.startswith(ENCODER)}
