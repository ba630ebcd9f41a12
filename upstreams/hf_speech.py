"""HuBERT, wav2vec 2.0 and WavLM through `transformers`, from a Hugging Face folder or repository.

States: 0 is what enters the first transformer block, k the output of block k; in models with the norm before
the blocks ('large') the final layer norm is applied to the last state alone. Stride 320 (50 a second).

Frame count: the convolutions give floor((n - 400) / 320) + 1 frames, one or two short of ceil(n / 320); the
last is repeated (`backbones.fit_frames` says why). A wave under 400 samples is padded with zeros to 400.

The wave is normalised to zero mean and unit variance, over the utterance, if the checkpoint's
preprocessor_config.json says `do_normalize`, else as the card says. Group-norm checkpoints ('base') give nearly
the same features either way: their first layer removes offset and scale, but for its epsilon.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness.config import parse
from harness.errors import UserError
from upstreams import backbones, torchaudio_shim, weights
from upstreams.card import Card

UNUSED = {"masked_spec_embed"}
"""Tensors that only training reads, so a checkpoint may lack them."""

ENCODER = ("feature_extractor.", "feature_projection.", "encoder.")


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Literal["hubert", "wav2vec2", "wavlm"]
    normalize: bool
    """Where the checkpoint does not say."""


def build(card: Card, name: str, folder: Path | None) -> HFSpeech:
    """Refuses a folder whose config names another model type, and weights that do not fit the config."""
    options = parse(Options, card.options, f"card {name!r}, options")
    source = weights.locate(card.weights, name, folder)
    config = weights.read_config(source.folder)
    if config.get("model_type") != options.kind:
        raise UserError(
            f"{name} wants a checkpoint of model type {options.kind!r}, {source.folder}/config.json says"
            f" {config.get('model_type')!r}: use the card of that model"
        )
    normalize = _normalize(source.folder, options)
    identity = {"kind": options.kind, "normalize": normalize, "config": config}
    fingerprint = weights.fingerprint([backbones, sys.modules[__name__]], source.sha256, identity)
    model = load_model(options.kind, config, weights.load_tensors(source.file), source.file)
    return HFSpeech(name, fingerprint, model, normalize=normalize)


def _normalize(folder: Path, options: Options) -> bool:
    path = folder / "preprocessor_config.json"
    found = weights.read_json(path).get("do_normalize", options.normalize) if path.is_file() else options.normalize
    if not isinstance(found, bool):
        raise UserError(f"{path}: do_normalize wants true or false, found {found!r}")
    return found


def load_model(kind: str, config: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> Any:
    """The transformers model in eval mode; a UserError if a tensor of the encoder is missing, unknown or misshapen."""
    torchaudio_shim.install()
    import transformers

    classes: dict[str, tuple[Any, Any]] = {
        "hubert": (transformers.HubertConfig, transformers.HubertModel),
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
        "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
    }
    config_class, model_class = classes[kind]
    model = model_class(config_class.from_dict(config))
    own = model.state_dict()
    found = {_own_name(key, kind): value for key, value in tensors.items()}
    wrong = {
        "are missing": own.keys() - found.keys() - UNUSED,
        "are unknown to it": {key for key in found.keys() - own.keys() if key.startswith(ENCODER)},
        "have another shape": {key for key in own.keys() & found.keys() if own[key].shape != found[key].shape},
    }
    for what, keys in wrong.items():
        if keys:
            raise UserError(
                f"{path}: weights do not fit the config.json beside them: {len(keys)} tensors {what},"
                f" the first is {min(keys)}"
            )
    model.load_state_dict({key: found.get(key, own[key]).float() for key in own})
    return model.eval()


def _own_name(key: str, kind: str) -> str:
    """A checkpoint's tensor name in this transformers version: a head's prefix off, weight norm by its new name."""
    key = key.removeprefix(f"{kind}.")
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        if key.endswith(f"pos_conv_embed.conv.{old}"):
            return key.removesuffix(old) + f"parametrizations.weight.{new}"
    return key


class HFSpeech(backbones.Backbone):
    """A transformers model of the wav2vec 2.0 kind; `normalize`: the wave to zero mean and unit variance first."""

    def __init__(self, name: str, fingerprint: str, model: Any, *, normalize: bool):
        config = model.config
        stride = math.prod(config.conv_stride)
        super().__init__(
            name, fingerprint, dim=config.hidden_size, num_layers=config.num_hidden_layers + 1, stride=stride
        )
        self.model = model
        self.normalize = normalize
        self.window = _receptive_field(config.conv_kernel, config.conv_stride)

    def encode(self, waves: Tensor) -> Tensor:
        """(B, n) -> (B, T, L, D), T = floor((n - window) / stride) + 1."""
        found = self.model(backbones.pad_to(self.normalised(waves), self.window), output_hidden_states=True)
        # transformers 5 gives the last hidden state of 'large' models before the final norm; elsewhere the two are one
        return torch.stack([*found.hidden_states[:-1], found.last_hidden_state], dim=2)

    def normalised(self, waves: Tensor) -> Tensor:
        """(B, n) as the checkpoint wants them."""
        if not self.normalize:
            return waves
        # Population variance and 1e-7, as transformers' Wav2Vec2FeatureExtractor.
        centred = waves - waves.mean(dim=1, keepdim=True)
        return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()


def _receptive_field(kernels: list[int], strides: list[int]) -> int:
    """Samples that one frame of stacked convolutions sees: 400 for the published models."""
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * step
        step *= stride
    return field
