"""A crossed set of made-up voices (pitch) and sentences (melody, formant), and a backbone with three layers of it."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from torch import Tensor

STRIDE = 320
DIM = 40


def tone(speaker: int, sentence: int, seconds: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng([speaker, sentence])
    t = np.arange(int(16000 * seconds)) / 16000
    pitch = (100 + 23 * speaker) * (1 + 0.03 * np.sin(2 * np.pi * (2 + sentence) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    formant = 500 + 350 * sentence
    wave = sum(np.sin(k * phase) * np.exp(-(((k * (100 + 23 * speaker) - formant) / 500) ** 2)) for k in range(1, 25))
    return (0.1 * wave + 0.002 * rng.normal(size=t.size)).astype(np.float32)


def write_crossed(suite: Path, train: tuple[int, int] = (4, 6), val: tuple[int, int] = (3, 4)) -> Path:
    """A suite's folder with data/crossed_tones and crossed.yaml; returns the YAML. Sizes are speakers x sentences."""
    folder = suite / "data" / "crossed_tones"
    folder.mkdir(parents=True)
    rows = []
    with zipfile.ZipFile(folder / "audio.zip", "w") as archive:
        for split, (speakers, sentences), (p0, s0) in (("train", train, (0, 0)), ("val", val, train)):
            for p in range(p0, p0 + speakers):
                for s in range(s0, s0 + sentences):
                    buffer, wave, name = io.BytesIO(), tone(p, s), f"p{p:02d}-s{s:02d}"
                    soundfile.write(buffer, wave, 16000, format="WAV")
                    archive.writestr(f"{name}.wav", buffer.getvalue())
                    rows.append(row(name, split, p, s, len(wave) / 16000, buffer.getvalue()))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    path = suite / "crossed.yaml"
    splits = {name: [{"corpus": "crossed_tones", "split": name}] for name in ("train", "val")}
    disjoint = {"speaker": [["train", "val"]], "text": [["train", "val"]]}
    data = {"name": "crossed", "suite": "tiny", "version": 1, "title": "tones", "splits": splits, "disjoint": disjoint}
    path.write_text(yaml.safe_dump(data))
    return path


def write_said(suite: Path, texts: Sequence[str]) -> Path:
    """The same with a text a sentence: 4 voices, four texts to train, the others to validate, all voices in both."""
    path = write_crossed(suite)
    manifest = suite / "data" / "crossed_tones" / "manifest.csv"
    with manifest.open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    for row in rows:
        sentence = int(row["label"])
        row["text"], row["split"] = texts[sentence], "train" if sentence < 4 else "val"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    data = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(data | {"disjoint": {"text": [["train", "val"]]}}))
    return path


def row(name: str, split: str, speaker: int, sentence: int, seconds: float, audio: bytes) -> dict[str, str]:
    return {
        "id": name, "corpus": "crossed_tones", "split": split, "archive": "audio.zip", "member": f"{name}.wav",
        "start": "0", "duration": f"{seconds:.3f}", "rate": "16000", "speaker": f"p{speaker:02d}",
        "speaker_known": "sure", "language": "xx", "channel": "none", "text": f"sentence {sentence}", "phones": "",
        "label": f"{sentence:02d}", "source": "made up", "licence": "CC0-1.0",
        "sha256": hashlib.sha256(audio).hexdigest(),
    }  # fmt: skip


class Toy(torch.nn.Module):
    """A backbone: log power in 40 bands, and two random layers on it, as `harness.contracts.Upstream`."""

    base, level, dim, num_layers, stride = None, "frame", DIM, 3, STRIDE

    def __init__(self, name: str = "toy", seed: int = 0, fingerprint: str = ""):
        super().__init__()
        self.name = name
        self.fingerprint = fingerprint or hashlib.sha256(f"{name}{seed}".encode()).hexdigest()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("weights", torch.randn(2, DIM, DIM, generator=generator) / DIM**0.5)
        self.eval()

    def layers(self, waves: Sequence[Tensor]) -> list[Tensor]:
        return [self._encode(wave) for wave in waves]

    def _encode(self, wave: Tensor) -> Tensor:
        frames = torch.nn.functional.pad(wave, (0, -len(wave) % STRIDE)).reshape(-1, STRIDE)
        power = torch.fft.rfft(frames * torch.hann_window(STRIDE)).abs().square()
        first = (power[:, :160].reshape(len(power), DIM, 4).mean(-1) + 1e-4).log()
        second = torch.tanh(first @ self.weights[0])
        return torch.stack([first, second, torch.tanh(second @ self.weights[1])], dim=1)

    def transform(self, layers: Sequence[Tensor]) -> list[Tensor]:
        return list(layers)
