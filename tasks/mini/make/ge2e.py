"""GE2E speaker embeddings (Wan et al. 2018; the weights of the Resemblyzer wheel, Apache-2.0) in plain torch.

Used only while making data, to find sets whose clips are not one person's. It takes no part in any
benchmark figure.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

RATE = 16_000
FRAMES = 160  # 1.6 s windows at a hop of 10 ms, what the network was trained on


class SpeakerEncoder:
    """`embed(wave)` -> (256,) unit vector from 16 kHz mono samples."""

    def __init__(self, wheel: Path) -> None:
        import librosa
        import torch

        blob = zipfile.ZipFile(wheel).read("resemblyzer/pretrained.pt")
        state = torch.load(BytesIO(blob), map_location="cpu", weights_only=True)["model_state"]
        self.lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = torch.nn.Linear(256, 256)
        self.lstm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm.")})
        self.linear.load_state_dict({k[7:]: v for k, v in state.items() if k.startswith("linear.")})
        self.mel = librosa.filters.mel(sr=RATE, n_fft=400, n_mels=40)

    def embed(self, wave: np.ndarray) -> np.ndarray:
        """Mean of the embeddings of half-overlapping 1.6 s windows; a shorter clip is repeated."""
        import torch

        wave = np.asarray(wave, np.float64)
        wave = wave * 10 ** (-30 / 20) / max(float(np.sqrt(np.mean(wave**2))), 1e-9)
        wave = np.tile(wave, max(1, -(-(FRAMES * 160) // len(wave))))
        padded = np.pad(wave, 200, mode="constant")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
        mels = (np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 @ self.mel.T).astype(np.float32)
        starts = range(0, max(1, len(mels) - FRAMES + 1), FRAMES // 2)
        batch = torch.from_numpy(np.stack([mels[s : s + FRAMES] for s in starts]))
        with torch.no_grad():
            _, (hidden, _) = self.lstm(batch)
            out = torch.relu(self.linear(hidden[-1]))
            out = (out / out.norm(dim=1, keepdim=True)).mean(0)
        return (out / out.norm()).numpy()
