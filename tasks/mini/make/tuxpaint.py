"""Names of drawings, read aloud in several languages: one language, one reader.

    python -m tasks.mini.make tuxpaint --scratch DIR

Needs `pip install soundfile soxr`. Only languages that a speaker encoder finds to be one reader and that have long
enough clips are kept. Clips are drawn by seed among those of fitting length; no two have the same text.
"""

from __future__ import annotations

import random
from pathlib import Path

from tasks.mini.make import debian
from tasks.mini.make.pack import KBIT_32_SHORT, Clip, pack

PACKAGE = "tuxpaint-stamps-default"
SHORTEST = {"be": 1.2, "bg": 1.2, "en": 0.8, "es": 1.2, "ru": 1.2}
"""Language -> the shortest clip taken, in seconds; the English reader has nearly none above 1.2 s."""
LONGEST = 2.0
LEFT_OUT = {
    "ca": "may mix readers",
    "da": "may mix readers",
    "el": "may mix readers",
    "fr": "may mix readers",
    "lt": "22 different clips, single letters, none of 1 s",
    "nl": "no clip of 1 s",
    "ro": "may mix readers",
}
CLIPS = 15
SEED = 2026
LICENCE = "GPL-2.0-only"


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    root = debian.unpack(PACKAGE, scratch) / "usr/share/tuxpaint/stamps"
    version, _ = debian.facts(scratch, PACKAGE)
    clips = [clip for language in SHORTEST for clip in _reader(root, language)]
    pack(folder, "tuxpaint", clips, source=f"Debian {PACKAGE} {version}", licence=LICENCE, level=KBIT_32_SHORT)


def _reader(root: Path, language: str) -> list[Clip]:
    tail = ending(language)
    paths = sorted(root.glob(f"**/*{tail}"), key=lambda path: path.relative_to(root).as_posix())
    random.Random(f"{SEED} {language}").shuffle(paths)
    clips: dict[str, Clip] = {}
    for path in paths:
        text = text_of(path.with_name(path.name.removesuffix(tail) + ".txt"), language)
        if len(clips) == CLIPS:
            break
        if not text or text in clips:
            continue
        wave = debian.read(path)
        if SHORTEST[language] <= len(wave) / 16_000 <= LONGEST:
            clips[text] = Clip(
                id=f"tuxpaint-{language}-{len(clips):02d}",
                split="test",
                wave=wave,
                speaker=f"tux_{language}",
                language=language,
                channel=f"tuxpaint_{language}",
                text=text,
                label=path.relative_to(root).as_posix().removesuffix(tail),
            )
    return list(clips.values())


def ending(language: str) -> str:
    """What the names of a language's recordings end in."""
    return "_desc.ogg" if language == "en" else f"_desc_{language}.ogg"


def text_of(path: Path, language: str) -> str:
    """The name of the drawing: line `LL.utf8=...`, or the first line for English."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    if language == "en":
        return lines[0].strip() if lines else ""
    return next((line.split("=", 1)[1].strip() for line in lines if line.startswith(f"{language}.utf8=")), "")
