"""Filterbank and cepstral features, SUPERB's baselines: Kaldi-style, with deltas, normalised over the utterance.

The figures are those of s3prl's `fbank` and `mfcc` (upstream/baseline/*.yaml): windows of 25 ms every 10 ms,
first and second deltas over 5 frames, zero mean and unit variance over time. 80 mel bands make 240
dimensions, 13 cepstra 39.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor

from harness.config import parse
from harness.contracts import SAMPLE_RATE
from harness.errors import UserError
from upstreams import backbones, torchaudio_shim, weights
from upstreams.card import Card

WINDOW = 400
"""Samples in the analysis window, 25 ms."""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Literal["kaldi"]
    feature: Literal["fbank", "mfcc"]
    size: PositiveInt
    """Mel bands of fbank, cepstra of mfcc."""


def build(card: Card, name: str, folder: Path | None) -> Kaldi:
    if folder is not None:
        raise UserError(f"{name} has no weights: leave out -k")
    options = parse(Options, card.options, f"card {name!r}, options")
    return Kaldi(name, weights.fingerprint([backbones, sys.modules[__name__]], "", options.model_dump()), options)


class Kaldi(backbones.Backbone):
    """One layer of 3 x size dimensions at stride 160. Kaldi gives a frame per whole window; the last is repeated."""

    def __init__(self, name: str, fingerprint: str, options: Options):
        super().__init__(name, fingerprint, dim=3 * options.size, num_layers=1, stride=160)
        self.options = options

    def encode(self, waves: Tensor) -> Tensor:
        """(B, n) -> (B, T, 1, D). Below one window (25 ms) the wave is padded with zeros to one."""
        return torch.stack([self._features(wave) for wave in backbones.pad_to(waves, WINDOW)])[:, :, None]

    def _features(self, wave: Tensor) -> Tensor:
        torchaudio_shim.install()
        from torchaudio.compliance import kaldi
        from torchaudio.functional import compute_deltas

        args = {"sample_frequency": SAMPLE_RATE, "frame_length": 25.0, "frame_shift": 10.0}
        if self.options.feature == "fbank":
            static = kaldi.fbank(wave[None], num_mel_bins=self.options.size, use_log_fbank=True, **args).T
        else:
            static = kaldi.mfcc(wave[None], num_ceps=self.options.size, **args).T
        delta = compute_deltas(static[None], win_length=5)
        features = torch.cat([static, delta[0], compute_deltas(delta, win_length=5)[0]]).T
        centred = features - features.mean(dim=0)
        spread = features.std(dim=0, correction=min(1, len(features) - 1))
        # A constant (digital silence, a single frame) has no spread to divide by: s3prl's formula blows
        # rounding up.
        return torch.where(spread > 1e-5, centred / (spread + 1e-10), 0.0)
