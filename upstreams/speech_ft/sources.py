"""Checkpoints as a merge reads them: tensors by comparable names, one at a time where the file allows it.

A file in safetensors, or the shards of one, under `transformers`' names is streamed; any other (a pickle, fairseq's
names) is read whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from harness.errors import UserError
from upstreams import hf_speech, weights
from upstreams.decoar2 import checkpoint as decoar2
from upstreams.speech_ft import foreign

KEY = "speech_ft"
"""Of the metadata in a merged file."""

PINNED = ("final_proj", "label_embs_concat")
"""Of HuBERT's pre-training: these never move."""

DECOAR2 = "decoar2"
"""The model type of DeCoAR 2.0, which `transformers` does not have: its files have no config.json, its merges this type
in one."""

ENCODERS = {
    "whisper": ("conv1.", "conv2.", "embed_positions.", "layers.", "layer_norm."),
    DECOAR2: decoar2.ENCODER,
}
"""How an encoder's tensors begin, by model type; others have `hf_speech.ENCODER`."""

COMPUTES = (
    "model_type", "hidden_act", "activation_function", "feat_extract_activation", "feat_extract_norm",
    "conv_kernel", "conv_stride", "conv_dim", "do_stable_layer_norm", "num_attention_heads", "encoder_attention_heads",
    "scale_embedding", "layer_norm_eps", "num_conv_pos_embedding_groups", "num_buckets", "max_bucket_distance",
)  # fmt: skip
"""Settings that change what the same weights compute: they have to agree too."""


BESIDE_ENCODER = {"wav2vec2": {"quantizer", "project_q"}, "hubert": {"label_embs_concat"}}
"""By model type, parts of the names that only its pre-training in fairseq has."""


class Weights:
    """A checkpoint's tensors by the names that they have without the prefix of a model with a head."""

    def __init__(self, place: Path, kind: str, files: ExitStack, *, encoder_only: bool = False):
        """`place`: a file, or a folder that holds one; `kind`: the model type. `files` closes what stays open.

        Raises UserError: no such file, one that cannot be read, another model's names."""
        if not place.exists():
            raise UserError(f"{place} does not exist: wanted a Hugging Face folder or a file of weights")
        self.path = _file_in(place)
        self.encoder = ENCODERS.get(kind, hf_speech.ENCODER)
        self.partial = encoder_only or kind == DECOAR2
        """Only the encoder counts."""
        self.held: dict[str, Tensor] = {}
        opened = [files.enter_context(_opened(file)) for file in _streamed(self.path)]
        self.files: dict[str, Any] = {}
        """By the tensor's name in it, the open file; none where the tensors are held."""
        for file in opened:
            self.files |= dict.fromkeys(file.keys(), file)
        self.metadata: dict[str, str] = (opened[0].metadata() or {}) if len(opened) == 1 else {}
        names = list(self.files) if opened else list(self._hold(foreign.state(self.path)))
        self.names = {_own_name(name, kind): name for name in names}
        if kind in foreign.KINDS and foreign.FIRST["transformers"] not in self.names:
            self.files, self.partial = {}, True
            _same_family(self.path, kind, names)
            self.names = {_own_name(name, kind): name for name in self._hold(foreign.read(self.path))}
        elif len(self.names) < len(names):
            raise UserError(f"{self.path}: a tensor is there under two names; wanted one model's weights")

    def _hold(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        self.held = state
        return state

    def aside(self, name: str) -> bool:
        """Whether the pre-trained value stays, whatever this file has."""
        return any(part in PINNED for part in name.split(".")) or self.partial and not name.startswith(self.encoder)

    def head(self, name: str) -> tuple[str, list[int]]:
        """Type as safetensors calls it, and shape."""
        own = self.names[name]
        if own not in self.files:
            tensor = self.held[own]
            return stored(torch.empty(0, dtype=tensor.dtype))[0]["dtype"], list(tensor.shape)
        found = self.files[own].get_slice(own)
        return found.get_dtype(), list(found.get_shape())

    def tensor(self, name: str) -> Tensor:
        own = self.names[name]
        found: Tensor = self.files[own].get_tensor(own) if own in self.files else self.held[own]
        return found


def _same_family(path: Path, kind: str, names: Sequence[str]) -> None:
    """Raise UserError for the pre-training of the other family, whose encoder has the same names: fairseq's files have
    no model type, but wav2vec 2.0's quantiser or HuBERT's labels beside the encoder."""
    parts = {part for name in names for part in name.split(".")}
    found = next((family for family, own in BESIDE_ENCODER.items() if parts & own), kind)
    if found != kind and {found, kind} <= BESIDE_ENCODER.keys():
        raise UserError(f"{path}: a checkpoint of {kind} wanted, as the pre-trained one is, found one of {found}")


def read_settings(place: Path) -> dict[str, Any]:
    """The pre-trained model's config.json, at a folder or beside a file; of DeCoAR 2.0, which has none, its model type.
    Raises UserError: missing, not JSON, no model type in it."""
    if not place.exists():
        raise UserError(f"{place} does not exist: the pre-trained checkpoint wanted, a Hugging Face folder or its file")
    folder = place if place.is_dir() else place.parent
    if not (folder / "config.json").is_file():
        if decoar2.is_one(_names(_file_in(place))):
            return {"model_type": DECOAR2}
        raise UserError(
            f"config.json is missing in {folder}: the pre-trained checkpoint has to be a Hugging Face folder, since the"
            " merge takes its settings, or DeCoAR 2.0's file"
        )
    config = weights.read_config(folder)
    if not isinstance(config.get("model_type"), str):
        raise UserError(f"{folder}/config.json: model_type wanted, such as hubert, found {config.get('model_type')!r}")
    return config


def same_settings(config: dict[str, Any], place: Path) -> None:
    """Raise UserError where the config.json beside a fine-tuned checkpoint, if any, is of another architecture."""
    folder = place if place.is_dir() else place.parent
    whose = place.is_dir() or place.name in weights.WEIGHT_FILES
    if not whose or not (folder / "config.json").is_file():
        return
    other = weights.read_config(folder)
    for name in COMPUTES:
        if name in config and name in other and config[name] != other[name]:
            raise UserError(
                f"{folder}/config.json has {name} {other[name]!r}, the pre-trained model {config[name]!r}: only models"
                " of one architecture can be merged"
            )


def same_tensors(theta0: Weights, theta: Weights) -> None:
    """Raise UserError naming the first tensor that only one has, or that has another type or shape."""
    for name in sorted(theta0.names.keys() | theta.names.keys()):
        if theta.aside(name):
            continue
        for one, other in ((theta0, theta), (theta, theta0)):
            if name not in one.names:
                raise UserError(
                    f"{one.path} lacks {name}, which {other.path} has: only models of one architecture can be merged"
                    f"{'' if name.startswith(theta.encoder) else '; --encoder-only leaves heads aside'}"
                )
        wanted, found = theta0.head(name), theta.head(name)
        if wanted != found:
            of = f"{name} is {found[0]} {found[1]}, {wanted[0]} {wanted[1]} wanted as in {theta0.path}"
            cast = "; save one in the other's type, with model.to(torch.…).save_pretrained" * (wanted[1] == found[1])
            raise UserError(f"{theta.path}: {of}{cast}")


def origin(path: Path) -> str | None:
    """sha256 of the pre-trained file that a merged one, or a merge of merges, began from; None for other files."""
    if path.suffix != ".safetensors":
        return None
    with _opened(path) as file:
        text = (file.metadata() or {}).get(KEY)
    return None if text is None else str(json.loads(text)["origin"])


def _file_in(place: Path) -> Path:
    """DeCoAR 2.0's one *.pt in a folder will do too."""
    return decoar2.file_in(place) if place.is_dir() else place


def _names(path: Path) -> list[str]:
    """A file's tensors as they are named there."""
    found: list[str] = []
    for one in _streamed(path):
        with _opened(one) as file:
            found += file.keys()
    return found or list(foreign.state(path))


def _streamed(path: Path) -> list[Path]:
    """The files whose tensors are read one at a time; none for one that is read whole."""
    if path.name.endswith(weights.INDEX):
        return weights.shards(path)
    return [path] if path.suffix == ".safetensors" else []


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: wanted model weights, but it cannot be read: {error}") from None


def _own_name(name: str, kind: str) -> str:
    """A tensor's name without the prefix of a model with a head, as the family's own loader takes it."""
    if kind == DECOAR2:
        return decoar2.own_name(name)
    if kind == "whisper":
        return name.removeprefix("model.").removeprefix("encoder.")
    return hf_speech._own_name(name, kind)


def stored(tensor: Tensor) -> tuple[dict[str, Any], bytes]:
    """A tensor as safetensors keeps it: its entry in the header, and its bytes."""
    blob = save({"": tensor.contiguous()})
    start = 8 + int.from_bytes(blob[:8], "little")
    return json.loads(blob[8:start])[""], blob[start:]
