"""A model in memory as a Hugging Face folder: the pre-trained one's files with another encoder in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from harness.errors import UserError
from harness.results import atomic_write
from upstreams import catalogue, weights
from upstreams.speech_ft.files import BESIDE
from upstreams.speech_ft.sources import KEY, Weights


def export(encoder: Mapping[str, Tensor], backbone: str, folder: Path | None, out: Path) -> Path:
    """Write `out`/model.safetensors, tensors under the pre-trained file's names and in its types, with its settings
    beside it. `folder` holds the backbone in place of its card's weights. Returns the file.

    Raises UserError: a folder that holds a model already, tensors that the pre-trained file lacks."""
    source = weights.locate(catalogue.card(backbone).weights, backbone, folder)
    target = free(out)
    kind = weights.read_config(source.folder)["model_type"]
    with ExitStack() as files:
        theta0 = Weights(source.folder, kind, files)
        missing = sorted(set(encoder) - set(theta0.names))
        if missing:
            raise UserError(f"{source.file} lacks {missing[0]}, which the encoder has")
        made = {}
        for own, stored in theta0.names.items():
            before = theta0.tensor(own)
            made[stored] = encoder[own].to(before.dtype).contiguous() if own in encoder else before
    said = {"format": "pt", KEY: json.dumps({"origin": source.sha256}, sort_keys=True)}
    for name in BESIDE:
        if (source.folder / name).is_file():
            atomic_write(out / name, (source.folder / name).read_bytes())
    atomic_write(target, save(made, said))
    return target


def free(out: Path) -> Path:
    """The file of weights that `export` will write. Raises UserError where one is there already."""
    target = out / weights.WEIGHT_FILES[0]
    if target.exists():
        raise UserError(f"{target} is there already: choose another --export folder")
    return target
