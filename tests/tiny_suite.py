"""A suite small enough to run whole in a second: fifteen made-up speakers, tones in noise, fbank features."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

TINY: dict[str, Any] = {
    "task": "asv",
    "suite": "tiny",
    "version": 1,
    "kind": "verification",
    "title": "Speaker verification of tones",
    "metric": "eer",
    "higher_is_better": False,
    "train": {"rows": [{"corpus": "tones", "split": "train"}]},
    "dev": {"rows": [{"corpus": "tones", "split": "dev"}], "trials": "dev"},
    "test": {"rows": [{"corpus": "tones", "split": "test"}], "trials": "test"},
    "disjoint": {"speaker": [["train", "dev", "test"]]},
    "ood": [
        {
            "name": "band",
            "kind": "C",
            "of": "test",
            "shift": "telephone band",
            "condition": [{"op": "band", "low": 300, "high": 3400}],
        },
        {
            "name": "others",
            "kind": "R",
            "shift": "a head of its own",
            "rows": [{"corpus": "tones", "split": "test"}],
            "trials": "test",
            "train": {"rows": [{"corpus": "tones", "split": "train"}]},
            "dev": {"rows": [{"corpus": "tones", "split": "dev"}], "trials": "dev"},
        },
    ],
    "heads": {
        "xvector": {
            "default_for": ["frame"],
            "presets": {
                "tiny": {
                    "plan": {"steps": 6, "accumulate": 2, "optimiser": "adamw", "clip": 1000, "eval_every": 2},
                    "lrs": [1e-3, 1e-4],
                    "options": {"crop_seconds": 0.4, "batch": 3, "dim": 16, "pooled_dim": 24},
                }
            },
        },
        "cosine": {"default_for": ["utterance"], "presets": {"tiny": {}}},
    },
}

NUMBERS = ("none", "one", "two", "three", "four")
SPLITS = {"train": 3, "dev": 3, "test": 9}
_PLAN = {"steps": 6, "clip": 1, "eval_every": 2}
_ROWS = {name: {"rows": [{"corpus": "tones", "split": name}]} for name in ("train", "dev", "test")}

TAKE: dict[str, Any] = {
    "task": "take",
    "suite": "tiny",
    "version": 1,
    "kind": "classification",
    "title": "Which take of the three",
    "metric": "accuracy",
    "higher_is_better": True,
    **_ROWS,
    "ood": [
        {
            "name": "few",
            "kind": "Z",
            "shift": "two of the three classes",
            "rows": [{"corpus": "tones", "ids": "few"}],
        },
    ],
    "heads": {
        name: {
            "default_for": ["frame", "utterance"] if name == "pooled_linear" else [],
            "presets": {"tiny": {"plan": _PLAN, "lrs": [1e-2, 1e-3], "options": {"batch": 4, "projector": 8}}},
        }
        for name in ("pooled_linear", "pooled_mlp")
    },
}

SAY: dict[str, Any] = {
    "task": "say",
    "suite": "tiny",
    "version": 1,
    "kind": "words",
    "title": "The words that were never said",
    "metric": "wer",
    "higher_is_better": False,
    **_ROWS,
    "ood": [
        {
            "name": "own",
            "kind": "R",
            "shift": "a head of its own, with the symbols of its own texts",
            "rows": _ROWS["test"]["rows"],
            "train": _ROWS["train"],
            "dev": _ROWS["dev"],
            "options": {"symbols": "train"},
        }
    ],
    "heads": {
        "conv_ctc": {
            "default_for": ["frame"],
            "presets": {
                "tiny": {
                    "plan": _PLAN,
                    "lrs": [1e-3],
                    "options": {"symbols": "letters", "batch": 4, "projector": 8},
                }
            },
        }
    },
}


def tone(speaker: int, take: int, seconds: float = 0.6) -> np.ndarray:
    """A made-up voice: harmonics of the speaker's own pitch, loudness and noise of the take."""
    rng = np.random.default_rng([speaker, take])
    t = np.arange(int(16000 * seconds)) / 16000
    pitch = 90 + 17 * speaker + rng.normal(0, 3)
    wave = sum(np.sin(2 * np.pi * pitch * k * t + rng.uniform(0, 6)) / k for k in range(1, 8))
    return (0.1 * wave + 0.02 * rng.normal(size=t.size)).astype(np.float32)


def write_corpus(folder: Path, splits: dict[str, int] = SPLITS, takes: int = 3) -> list[dict[str, str]]:
    """manifest.csv and audio.zip; returns the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, first = [], 0
    with zipfile.ZipFile(folder / "audio.zip", "w") as archive:
        for split, count in splits.items():
            for speaker in range(first, first + count):
                for take in range(takes):
                    buffer = io.BytesIO()
                    wave = tone(speaker, take)
                    soundfile.write(buffer, wave, 16000, format="WAV")
                    name = f"p{speaker:02d}-{take}"
                    archive.writestr(f"{name}.wav", buffer.getvalue())
                    rows.append(
                        {
                            "id": name,
                            "corpus": "tones",
                            "split": split,
                            "archive": "audio.zip",
                            "member": f"{name}.wav",
                            "start": "0",
                            "duration": f"{len(wave) / 16000:.3f}",
                            "rate": "16000",
                            "speaker": f"p{speaker:02d}",
                            "speaker_known": "sure",
                            "language": "xx",
                            "channel": "none",
                            "text": f"{split} {NUMBERS[take]}",
                            "phones": "",
                            "label": f"take{take}",
                            "source": "made up",
                            "licence": "CC0-1.0",
                            "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
                        }
                    )
            first += count
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def write_trials(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["trial,enrol,test,target,same_language,same_channel,same_gender"]
    for number, (a, b) in enumerate(combinations(rows, 2)):
        lines.append(f"t{number:04d},{a['id']},{b['id']},{int(a['speaker'] == b['speaker'])},1,1,")
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))
