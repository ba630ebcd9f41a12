"""Letters and syllables of a children's spelling game, read in many languages: one locale, one reader.

    python -m tasks.mini.make klettres --scratch DIR

Needs `pip install soundfile soxr`. Only locales that a speaker encoder finds to be one person are kept (`LEFT_OUT`
says why the others are not); of each, the longest clips, letters and syllables alike.
"""

from __future__ import annotations

from pathlib import Path

from tasks.mini.make import debian
from tasks.mini.make.pack import KBIT_32_SHORT, Clip, pack

PACKAGE = "klettres-data"
LOCALES = ("cs", "es", "fr", "he", "it", "lt", "ml", "nb", "nds", "nl", "ru", "uk")
LEFT_OUT = {
    "ar": "28 letters that fall into two groups, just past the line (halves .858 alike)",
    "da": "falls into two groups",
    "de": "letters and syllables are read by two people",
    "en": "falls into two groups",
    "en_GB": "falls into two groups, one small",
    "hu": "one person, but under noise (26 dB below the peaks) in which silence cannot be trimmed",
    "pt_BR": "falls into two groups, one small; close to tn",
    "tn": "clips hang together worst of all; close to pt_BR",
}
CLIPS = 10
SHORTEST, LONGEST = 0.35, 1.8
"""Seconds. Where silence cannot be told from noise a clip comes out long, hence the upper limit."""
LICENCE = "GPL-2.0-or-later"


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    root = debian.unpack(PACKAGE, scratch) / "usr/share"
    found = {path.parent.name: path.parent for path in root.glob("**/klettres/*/alpha")}
    version, _ = debian.facts(scratch, PACKAGE)
    clips = [clip for locale in LOCALES for clip in _locale(found[locale], locale)]
    pack(folder, "klettres", clips, source=f"Debian {PACKAGE} {version}", licence=LICENCE, level=KBIT_32_SHORT)


def _locale(folder: Path, locale: str) -> list[Clip]:
    clips = []
    for part in ("alpha", "syllab"):
        for number, path in enumerate(sorted((folder / part).glob("*.ogg"))):
            wave = debian.read(path)
            if not SHORTEST <= len(wave) / 16_000 <= LONGEST:
                continue
            clips.append(
                Clip(
                    id=f"klettres-{locale}-{part}-{number:03d}",
                    split="test",
                    wave=wave,
                    speaker=f"kl_{locale}",
                    language=locale,
                    channel=f"klettres_{locale}",
                    label=f"{part}/{path.stem}",
                )
            )
    return sorted(clips, key=lambda clip: (-len(clip.wave), clip.id))[:CLIPS]
