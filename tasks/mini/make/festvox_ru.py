"""Russian sentences by one speaker, with the times at which phones end.

    python -m tasks.mini.make festvox_ru --scratch DIR

Needs `pip install soundfile soxr`. Clips are not trimmed: the times count from where they begin.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np

from tasks.mini.make import debian
from tasks.mini.make.pack import Clip, pack, resample

PACKAGE = "festvox-ru"
VOICE = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
SPLITS = {"train": 30, "dev": 6, "test": 12}
SHORTEST, LONGEST = 3.0, 8.0
SEED = 2028
LICENCE = "LicenseRef-festvox-ru"
"""The package's own, of the BSD kind, in LICENCE."""
LEVEL = 0.945


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    import soundfile

    root = debian.unpack(PACKAGE, scratch) / VOICE
    names = sorted(path.stem for path in (root / "lab").glob("*.lab"))
    random.Random(SEED).shuffle(names)
    texts = sentences(root / "etc/txt.done.data")
    seconds = {name: soundfile.info(root / f"wav/{name}.wav").duration for name in names}
    fitting = (name for name in names if name in texts and SHORTEST <= seconds[name] <= LONGEST)
    clips = []
    for split, count in SPLITS.items():
        for _ in range(count):
            name = next(fitting)
            wave, rate = soundfile.read(root / f"wav/{name}.wav")
            clips.append(
                Clip(
                    id=f"festvox_ru-{name.removeprefix('ru_')}",
                    split=split,
                    wave=resample(np.asarray(wave, dtype=np.float64), rate),
                    speaker="fest_ru",
                    language="ru",
                    channel="festvox_ru",
                    text=texts[name],
                    phones=phone_ends((root / f"lab/{name}.lab").read_text(encoding="utf-8")),
                )
            )
    version, _ = debian.facts(scratch, PACKAGE)
    pack(folder, "festvox_ru", clips, source=f"Debian {PACKAGE} {version}", licence=LICENCE, level=LEVEL)


def sentences(path: Path) -> dict[str, str]:
    """Name -> text, without the signs that mark stress."""
    lines = re.findall(r'\( *(\S+) +"(.+)" *\)', path.read_text(encoding="utf-8"))
    return {name: " ".join(text.replace("+", "").split()) for name, text in lines}


def phone_ends(label_file: str) -> str:
    """An Entropic label file (header up to "#", then "end colour phone" on each line, in seconds) as
    "phone:end phone:end". Raises ValueError where times do not rise."""
    rows = [line.split() for line in label_file.split("#", 1)[1].splitlines() if line.strip()]
    ends = [float(row[0]) for row in rows]
    if any(later <= earlier for earlier, later in zip(ends, ends[1:], strict=False)):
        raise ValueError("phone ends that do not rise")
    return " ".join(f"{row[2]}:{end:g}" for row, end in zip(rows, ends, strict=True))
