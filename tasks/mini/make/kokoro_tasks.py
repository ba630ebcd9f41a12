"""Kokoro's voices for three more tasks: read sentences with phones (`kokoro_read`), single words (`kokoro_ks`).

    python -m tasks.mini.make kokoro_read --scratch DIR     # synthesises what DIR/kokoro_out lacks, then packs
    python -m tasks.mini.make kokoro_ks --scratch DIR

DIR is filled as `kokoro.py` and `cmudict.py` say. Voices keep the pools of `deal.py`.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.contracts import SAMPLE_RATE
from tasks import noises
from tasks.manifest import write_manifest
from tasks.mini.make import cmudict, deal, notes, wordlist
from tasks.mini.make.cmudict import phones
from tasks.mini.make.keywords import KEYWORDS, SILENCE_LABEL, UNKNOWN, UNKNOWN_LABEL
from tasks.mini.make.kokoro import FASTEST, LICENCE, SLOWEST, SOURCE, Job, accent, speed_of, synthesise
from tasks.mini.make.pack import Clip, Wave, normalise, pack, trim
from tasks.mini.make.read_sentences import sentences

SEED = 2028
READ_EACH = {"train": 15, "dev": 8, "test": 10}
"""Sentences for each voice of a split."""
READ_DRAWN = {"train": 15, "dev": 8, "test": 10}
"""Sentences drawn for each voice, at least READ_EACH. Another number changes them all."""
KS_BLENDS = 11
KS_LEVEL = 0.956
READ_LEVELS = {False: 0.952, True: 0.935}
"""Is it the test split -> libsndfile's compression level."""
FLOOR_DB = -60.0
"""Level of the white noise under each word, dB below full scale."""
MARGIN = 0.02
SILENCES = {"train": 30, "dev": 10, "test": 20}
SILENCE_FAMILIES = ("white", "pink", "brown", "hum")
SILENCE_DB = (-60.0, -35.0)
SILENCE_SOURCE, SILENCE_LICENCE = "tasks/noises.py", "Apache-2.0"
KS_UNKNOWN = {"train": 6, "dev": 6, "test": 8}
"""Words that are no keyword, for each voice of a split."""


def read_plan() -> list[Job]:
    """Every clip of kokoro_read; no sentence is read twice."""
    voices = [(split, voice) for split in READ_EACH for voice in deal.pool(f"asv_{split}")]
    texts = iter(sentences(sum(READ_DRAWN[split] for split, _ in voices)))
    jobs = []
    for split, voice in voices:
        own = [next(texts) for _ in range(READ_DRAWN[split])]
        for number, text in enumerate(own[: READ_EACH[split]]):
            name = f"kokoro_read-{voice.voice}-{number:04d}"
            jobs.append(Job(name, "kokoro_read", split, voice, text, "en", accent(voice), speed_of(name)))
    return jobs


def ks_voices(split: str) -> list[deal.Voice]:
    """The voices of a split of kokoro_ks: in train the nine of the pool and eleven of its blends."""
    pool = deal.pool(f"asv_{split}")
    if split != "train":
        return pool
    blends = [voice for voice in pool if len(voice.parents) > 1]
    drawn = set(random.Random(SEED).sample([voice.voice for voice in blends], KS_BLENDS))
    return [voice for voice in pool if len(voice.parents) == 1 or voice.voice in drawn]


def ks_plan() -> list[Job]:
    """Every spoken clip of kokoro_ks. A word is read with a full stop, as a sentence: Kokoro is surer of it so."""
    return [job for split in UNKNOWN for voice in ks_voices(split) for job in _words(split, voice)]


def _words(split: str, voice: deal.Voice) -> Iterator[Job]:
    draw = random.Random(SEED + zlib.crc32(f"{split} {voice.voice}".encode()))
    for word in (*KEYWORDS, *draw.sample(UNKNOWN[split].split(), KS_UNKNOWN[split])):
        known = word in KEYWORDS
        for number in range(2 if known and split == "test" else 1):
            name = f"kokoro_ks-{voice.voice}-{word}-{number}"
            speed = _half(name, number) if known and split == "test" else speed_of(name)
            label = word if known else UNKNOWN_LABEL
            yield Job(name, "kokoro_ks", split, voice, f"{word.capitalize()}.", "en", accent(voice), speed, label)


def _half(name: str, number: int) -> float:
    """A speed drawn from the slower half of the range for reading 0, from the faster one for reading 1."""
    middle = (SLOWEST + FASTEST) / 2
    ends = (middle, FASTEST) if number else (SLOWEST, middle)
    return round(random.Random(zlib.crc32(name.encode())).uniform(*ends), 3)


def make_read(folder: Path, scratch: Path) -> None:
    """Write kokoro_read into `folder`: train and dev at about 19 kbit/s, test at about 23."""
    jobs = read_plan()
    synthesise(jobs, scratch)
    clips = [
        Clip(
            id=job.id,
            split=job.split,
            wave=trim(_synthesised(job, scratch)),
            speaker=job.voice.voice,
            language=job.language,
            channel="kokoro",
            text=job.text,
            phones=phones(job.text, scratch),
        )
        for job in jobs
    ]
    levels = {job.id: READ_LEVELS[job.split == "test"] for job in jobs}
    rows = pack(folder, "kokoro_read", clips, source=SOURCE, licence=LICENCE, levels=levels, slim=True)
    notes.write(
        folder,
        "kokoro_read",
        rows,
        scratch,
        artefacts=(cmudict.artefact(scratch), wordlist.artefact(scratch)),
        licences=(cmudict.licence(scratch), wordlist.licence()),
    )


def make_ks(folder: Path, scratch: Path) -> None:
    """Write kokoro_ks into `folder`: clips of exactly one second at about 18 kbit/s."""
    jobs = ks_plan()
    synthesise(jobs, scratch)
    clips = [
        Clip(
            id=job.id,
            split=job.split,
            wave=in_a_second(trim(_synthesised(job, scratch), keep=MARGIN), job.id),
            speaker=job.voice.voice,
            language=job.language,
            channel="kokoro",
            text=spoken(job),
            phones=phones(spoken(job), scratch),
            label=job.label,
        )
        for job in jobs
    ]
    found = pack(folder, "kokoro_ks", [*clips, *silences()], source=SOURCE, licence=LICENCE, level=KS_LEVEL, slim=True)
    rows = [
        replace(row, source=SILENCE_SOURCE, licence=SILENCE_LICENCE) if row.label == SILENCE_LABEL else row
        for row in found
    ]
    write_manifest(rows, folder / "manifest.csv")
    artefacts, licences = (cmudict.artefact(scratch),), (cmudict.licence(scratch),)
    notes.write(folder, "kokoro_ks", rows, scratch, artefacts=artefacts, licences=licences)


def spoken(job: Job) -> str:
    """The word of a job of kokoro_ks, without the full stop it was read with."""
    return job.text.removesuffix(".").lower()


def in_a_second(speech: Wave, name: str) -> Wave:
    """(n,) -> (16000,): the speech, its peak at 0.7, at an offset drawn by `name` in white noise of FLOOR_DB; speech
    of over a second is cut."""
    draw = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    out: Wave = 10 ** (FLOOR_DB / 20) * draw.standard_normal(SAMPLE_RATE)
    kept = normalise(speech)[:SAMPLE_RATE]
    start = int(draw.integers(0, SAMPLE_RATE - len(kept) + 1))
    out[start : start + len(kept)] += kept
    return out


def silences() -> Iterator[Clip]:
    """The noise-only clips of kokoro_ks: the families in turn, each at a root mean square drawn from SILENCE_DB."""
    for split, count in SILENCES.items():
        for number in range(count):
            family = SILENCE_FAMILIES[number % len(SILENCE_FAMILIES)]
            name = f"kokoro_ks-silence-{split}-{number:02d}"
            draw = np.random.default_rng([SEED, zlib.crc32(name.encode())])
            noise = noises.FAMILIES[family](SAMPLE_RATE, draw)
            level = 10 ** (draw.uniform(*SILENCE_DB) / 20)
            wave = noise * (level / math.sqrt(float(np.mean(noise**2))))
            yield Clip(name, split, wave, "-", "-", "noise", label=SILENCE_LABEL, keep_level=True)


def _synthesised(job: Job, scratch: Path) -> Wave:
    import soundfile

    wave, _ = soundfile.read(scratch / "kokoro_out" / f"{job.id}.flac")
    return np.asarray(wave, dtype=np.float64)
