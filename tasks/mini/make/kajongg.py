"""Four people speak the commands of a tile game, each in a default set and in a German one.

    python -m tasks.mini.make kajongg --scratch DIR

Needs `pip install soundfile soxr`. The 15 commands that last longest, by the median over the eight sets, are kept.
Whether the two sets of `male2` are one person is not known, so they have two speaker names, both doubtful.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.mini.make import debian
from tasks.mini.make.pack import KBIT_32_SHORT, Clip, Wave, pack

PACKAGE = "kajongg"
PEOPLE = ("female1", "female2", "male1", "male2")
DOUBTFUL = ("male2",)
SETS = {"default": ("", "en"), "german": ("de", "de")}
COMMANDS = 15
LICENCE = "GPL-2.0-or-later"


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    root = debian.unpack(PACKAGE, scratch) / "usr/share/kajongg/voices"
    waves = {
        (who, name): _waves(root / below / who) for who in PEOPLE for name, (below, _) in SETS.items()
    }
    shared = set.intersection(*(set(clips) for clips in waves.values()))
    length = {word: float(np.median([len(clips[word]) for clips in waves.values()])) for word in shared}
    chosen = sorted(shared, key=lambda word: (-length[word], word))[:COMMANDS]
    clips = [
        Clip(
            id=f"kajongg-{who}-{name}-{word}",
            split="test",
            wave=waves[who, name][word],
            speaker=speaker(who, name),
            speaker_known="doubtful" if who in DOUBTFUL else "sure",
            language=SETS[name][1],
            channel=name,
            label=word,
        )
        for who, name in waves
        for word in chosen
    ]
    version, _ = debian.facts(scratch, PACKAGE)
    pack(folder, "kajongg", clips, source=f"Debian {PACKAGE} {version}", licence=LICENCE, level=KBIT_32_SHORT)


def speaker(who: str, name: str) -> str:
    """The speaker of a person's set: one name over both sets unless that is doubtful."""
    return f"kj_{who}_{name}" if who in DOUBTFUL else f"kj_{who}"


def _waves(folder: Path) -> dict[str, Wave]:
    return {path.stem: debian.read(path) for path in sorted(folder.glob("*.ogg"))}
