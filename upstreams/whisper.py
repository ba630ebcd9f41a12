"""Whisper's encoder at any length: the parts of `transformers`' WhisperEncoder, driven by hand.

The library accepts exactly 30 s of mel frames. Here the wave is padded to whole frames only and the position
embeddings are sliced, so that an utterance costs what it lasts. At exactly 30 s the states equal the
library's own. Audio beyond 30 s is encoded in windows of 30 s, each with its own log-mel normalisation and
positions from zero; nothing is cut.

States, at stride 320 (50 a second): 0 is the sum of convolutions and positions, k the output of block k; the
final layer norm is applied to the last state alone (as the library does), so earlier ones are the
un-normalised residual stream.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness.config import parse
from harness.errors import UserError
from upstreams import backbones, torchaudio_shim, weights
from upstreams.card import Card

HOP, FFT = 160, 400
"""Samples from one mel frame to the next, and in its window."""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Literal["whisper"]


def build(card: Card, name: str, folder: Path | None) -> Whisper:
    """From a folder with config.json and a checkpoint of the encoder or of the whole model."""
    torchaudio_shim.install()
    from transformers import WhisperConfig

    source = weights.locate(card.weights, name, folder)
    config = weights.read_config(source.folder)
    if config.get("model_type") != "whisper":
        raise UserError(f"card {name!r} wants a Whisper checkpoint, {source.folder} holds {config.get('model_type')!r}")
    options = parse(Options, card.options, f"card {name!r}, options")
    modules = [backbones, sys.modules[__name__]]
    fingerprint = weights.fingerprint(modules, source.sha256, options.model_dump() | {"config": config})
    encoder = Whisper(name, fingerprint, WhisperConfig.from_dict(config))
    encoder.load(weights.load_tensors(source.file), source.file)
    return encoder


class Whisper(backbones.Backbone):
    """Whisper's audio encoder; `config` is a transformers WhisperConfig."""

    mel_filters: Tensor
    mel_window: Tensor

    def __init__(self, name: str, fingerprint: str, config: Any):
        torchaudio_shim.install()
        from transformers.audio_utils import mel_filter_bank
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        stride = HOP * 2
        super().__init__(name, fingerprint, dim=config.d_model, num_layers=config.encoder_layers + 1, stride=stride)
        self.encoder = WhisperEncoder(config)
        self.window_samples = config.max_source_positions * stride
        filters = mel_filter_bank(
            num_frequency_bins=FFT // 2 + 1,
            num_mel_filters=config.num_mel_bins,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=16_000,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("mel_filters", torch.from_numpy(filters).float(), persistent=False)
        self.register_buffer("mel_window", torch.hann_window(FFT), persistent=False)

    def load(self, tensors: dict[str, Tensor], path: Path) -> None:
        """Encoder weights under whatever prefix they have ('', 'encoder.', 'model.encoder.'); all must be there."""
        own = self.encoder.state_dict()
        prefix = next((p for p in ("model.encoder.", "encoder.", "") if f"{p}conv1.weight" in tensors), None)
        if prefix is None:
            raise UserError(f"{path} holds no Whisper encoder: no tensor ends in conv1.weight")
        found = {key: tensors.get(prefix + key) for key in own}
        wrong = [key for key, value in found.items() if value is None or value.shape != own[key].shape]
        if wrong:
            raise UserError(f"{path}: {len(wrong)} tensors are missing or have another shape, the first is {wrong[0]}")
        self.encoder.load_state_dict({key: value.float() for key, value in found.items() if value is not None})

    def log_mel(self, waves: Tensor) -> Tensor:
        """(B, n) -> (B, mels, n / 160): log10 mel power, at most 8 below the utterance's maximum, scaled to about 1.

        The same steps as transformers' WhisperFeatureExtractor and OpenAI's `log_mel_spectrogram`.
        """
        spectrum = torch.stft(waves, FFT, HOP, window=self.mel_window, return_complex=True)
        power = (spectrum[..., :-1].abs() ** 2).contiguous()
        mel = (self.mel_filters.T @ power).clamp(min=1e-10).log10()
        return (torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0

    def encode(self, waves: Tensor) -> Tensor:
        """(B, n) -> (B, ceil(n / 320), L, D), window by window."""
        return torch.cat([self._window(window) for window in torch.split(waves, self.window_samples, dim=1)], dim=1)

    def _window(self, waves: Tensor) -> Tensor:
        encoder, gelu = self.encoder, nn.functional.gelu
        frames = -(-waves.shape[1] // self.stride)
        mel = self.log_mel(backbones.pad_to(waves, frames * self.stride))
        hidden = gelu(encoder.conv2(gelu(encoder.conv1(mel)))).transpose(1, 2)
        states = [hidden + encoder.embed_positions.weight[:frames]]
        for block in encoder.layers:
            states.append(block(states[-1], None))
        states[-1] = encoder.layer_norm(states[-1])
        return torch.stack(states, dim=2)
