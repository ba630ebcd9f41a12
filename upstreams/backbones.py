"""Backbones: frozen encoders that turn a waveform into hidden states. A card with `family: backbones` is built here.

`Backbone` is the base of all of them: it checks the waves, encodes each free of its batch, and holds to the
frame-count rule T = ceil(n / stride). A new kind is a module with a subclass and a line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.contracts import Level
from harness.errors import UserError
from harness.registry import resolve
from upstreams.card import Card

KINDS = {
    "whisper": "upstreams.whisper:build",
    "hubert": "upstreams.hf_speech:build",
    "wav2vec2": "upstreams.hf_speech:build",
    "wavlm": "upstreams.hf_speech:build",
    "kaldi": "upstreams.kaldi:build",
}
"""A card's `options.kind` -> the function that builds it from (card, name, folder)."""


def build(card: Card, name: str, folder: Path | None = None) -> Backbone:
    """The backbone of a card, in eval mode on the CPU; `folder` takes the place of the card's weights."""
    kind = card.options.get("kind")
    if kind not in KINDS:
        raise UserError(f"card {name!r}: options.kind wants one of {', '.join(KINDS)}, found {kind!r}")
    backbone: Backbone = resolve(KINDS[kind])(card, name, folder)
    return backbone.requires_grad_(False).eval()


class Backbone(nn.Module):
    """A frozen encoder that follows `harness.contracts.Upstream`; subclasses write `encode`.

    On the CPU waves are encoded one at a time, since batched matrix products differ in the last bits; on an
    accelerator waves of one length share a batch. No padding and no mask is ever needed.
    """

    base = None
    level: Level = "frame"
    _place: Tensor

    def __init__(self, name: str, fingerprint: str, *, dim: int, num_layers: int, stride: int):
        super().__init__()
        self.name, self.fingerprint = name, fingerprint
        self.dim, self.num_layers, self.stride = dim, num_layers, stride
        # A buffer, so that `.to(device)` moves it: says where the waves have to go, also for encoders without
        # weights.
        self.register_buffer("_place", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        return self._place.device

    def encode(self, waves: Tensor) -> Tensor:
        """(B, n) waves on this device -> (B, T, L, D), where T may fall a little short of ceil(n / stride)."""
        raise NotImplementedError

    @torch.no_grad()
    def layers(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Waves of one length n, 1-D float32 at 16 kHz -> one (ceil(n / stride), L, D) float32 a wave, on this device.

        Frames that the encoder itself gives are never changed to make up the count: its last frame is
        repeated. Raises UserError on an empty, non-finite or misshapen wave, and on lengths that differ.
        """
        if not waves:
            return []
        batch = _stack(waves, self.name).to(self.device)
        pieces = torch.split(batch, 1) if self.device.type == "cpu" else (batch,)
        encoded = torch.cat([self.encode(piece) for piece in pieces])
        return list(fit_frames(encoded, -(-batch.shape[1] // self.stride)).unbind(0))

    def transform(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """A backbone's features are its hidden states: nothing is changed."""
        return list(layers)

    def train(self, mode: bool = True) -> Backbone:
        """Frozen: it stays in eval mode, or dropout and layer drop would make features random."""
        return super().train(False)


def fit_frames(frames: Tensor, count: int) -> Tensor:
    """(B, T, L, D) -> (B, count, L, D): surplus frames at the end are cut, missing ones are copies of the last.

    Convolutional encoders give a frame per whole window, floor((n - 400) / 320) + 1 for HuBERT, which is one
    or two short of ceil(n / 320). Zeros appended to the wave would fill the count too, but they change every
    frame through normalisation over time and attention; a repeated frame changes none.
    """
    missing = count - frames.shape[1]
    if missing <= 0:
        return frames[:, :count]
    return torch.cat([frames, frames[:, -1:].expand(-1, missing, -1, -1)], dim=1)


def pad_to(waves: Tensor, length: int) -> Tensor:
    """(B, n) waves with zeros appended up to `length` samples; longer ones as they are."""
    return nn.functional.pad(waves, (0, max(0, length - waves.shape[1])))


def _stack(waves: Sequence[Tensor], name: str) -> Tensor:
    for wave in waves:
        if wave.dim() != 1 or wave.dtype != torch.float32:
            raise UserError(f"{name} wants 1-D float32 waves, found {wave.dim()}-D {wave.dtype}")
    lengths = {wave.shape[0] for wave in waves}
    if len(lengths) > 1:
        raise UserError(f"{name} wants waves of one length in a call, found {min(lengths)} to {max(lengths)} samples")
    if lengths == {0}:
        raise UserError(f"{name} was given an empty wave: check the audio file")
    batch = torch.stack([wave.detach() for wave in waves])
    if not bool(torch.isfinite(batch).all()):
        raise UserError(f"{name} was given a wave with NaN or infinite samples: check the audio file")
    return batch
