"""Made-up sounds and corpora that conditions are tried on, and one spec of every op."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harness.contracts import Utterance
from harness.errors import UserError
from tasks.manifest import write_manifest

RATE = 16_000
T60 = (0.25, 0.5, 1.0)
VOICES = (300.0, 700.0, 1_900.0, 3_100.0)
"""Each "speaker" of the miniature corpus is a tone, so that babble can be taken apart again."""

EVERY_OP: list[dict[str, Any]] = [
    {"op": "gain", "db": -3},
    {"op": "level", "dbov": -26},
    {"op": "clip", "share": 0.1},
    {"op": "band", "low": 300, "high": 3_400},
    {"op": "resample"},
    *({"op": "codec", "codec": codec} for codec in ("gsm", "ulaw", "alaw", "opus", "mp3", "vorbis")),
    *({"op": "codec", "codec": codec, "rate": 16_000} for codec in ("opus", "mp3", "vorbis")),
    *({"op": "noise", "family": family, "snr": 5} for family in ("white", "pink", "brown", "hum", "machine")),
    {"op": "noise", "family": "babble", "snr": 10, "speakers": 3},
    {"op": "room", "t60": [0.2, 2.0]},
]
NAMES = ["-".join(str(v) for k, v in spec.items() if k in ("op", "codec", "rate", "family")) for spec in EVERY_OP]


def decay(seconds: float) -> np.ndarray:
    """A room: 5 ms before the direct path, then noise that falls by 60 dB in `seconds`."""
    n = np.arange(round(1.2 * seconds * RATE))
    tail = 0.05 * np.random.default_rng(7).standard_normal(len(n)) * 10 ** (-3 * n / RATE / seconds)
    tail[0] = 0.9
    return np.concatenate([np.zeros(80), tail])


def corpus(folder: Path, sounds: dict[str, tuple[str, str, np.ndarray]]) -> None:
    folder.mkdir(parents=True)
    rows = []
    with zipfile.ZipFile(folder / "audio.zip", "w") as archive:
        for name, (speaker, label, samples) in sounds.items():
            path = folder / "x.flac"
            soundfile.write(path, samples, RATE)
            data = path.read_bytes()
            path.unlink()
            archive.writestr(f"{name}.flac", data)
            place = (folder.resolve() / "audio.zip", f"{name}.flac", 0.0, len(samples) / RATE, RATE)
            rest = ("sure", "en", "", "", "", label, "made", "CC0-1.0", hashlib.sha256(data).hexdigest())
            rows.append(Utterance(name, folder.name, "train", *place, speaker, *rest))
    write_manifest(rows, folder / "manifest.csv")


def speech(n: int = 2 * RATE) -> np.ndarray:
    """Noise in bursts of 0.2 s with pauses, about as loud as speech."""
    rng = np.random.default_rng(3)
    bursts = np.repeat(rng.choice([0.0, 0.5, 1.0], n // 3_200 + 1), 3_200)[:n]
    bursts[: n // 2] = np.maximum(bursts[: n // 2], 0.5)
    return (0.05 * bursts * rng.standard_normal(n)).astype(np.float32)


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.asarray(wave, dtype=np.float64) ** 2))


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
