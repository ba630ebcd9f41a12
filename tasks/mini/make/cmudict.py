"""Canonical English phones from the CMU pronouncing dictionary: 39 phones, no stress, the first entry of a word.

    phones("Hello, world.", scratch)      # "HH AH L OW | W ER L D"

Fetch into `scratch`: pip download --no-deps -d DIR pocketsphinx (5.1.1 was used; its wheel holds the dictionary).
"""

from __future__ import annotations

import csv
import hashlib
import re
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

from harness.errors import UserError
from harness.metrics_sequences import BETWEEN_WORDS
from harness.text import normalise
from tasks.manifest import read_manifest

MEMBER = "pocketsphinx/model/en-us/cmudict-en-us.dict"
LICENCE_MEMBER = "/licenses/LICENSE"
SPELLED = {"colourful": "colorful", "organise": "organize"}
"""British spellings that the dictionary has in the American one only."""

_VARIANT = re.compile(r"\(\d+\)$")


def words(text: str) -> list[str]:
    """The words of an English text in lower case, parted as for scoring. Raises ValueError for digits."""
    try:
        return normalise(text).lower().split()
    except UserError as error:
        raise ValueError(str(error)) from None


def phones(text: str, scratch: Path = Path("scratch")) -> str:
    """The phones of a text, words parted by " | ". Raises ValueError for digits, a text without words, and words that
    the dictionary lacks, naming those; FileNotFoundError as `table` does."""
    known, found = table(scratch), words(text)
    missing = sorted({word for word in found if word not in known})
    if missing or not found:
        raise ValueError(f"not in the CMU dictionary: {', '.join(missing)}" if missing else f"no word in {text!r}")
    return f" {BETWEEN_WORDS} ".join(known[word] for word in found)


def write_lexicon(mini: Path, scratch: Path) -> str:
    """Write lexicon.csv (word in upper case, phones) and lexicon.LICENCE into the suite's folder: the words of all
    English rows of its manifests. Returns what was found, the words that the dictionary lacks among it."""
    known, found = table(scratch), set[str]()
    for manifest in sorted(mini.glob("data/*/manifest.csv")):
        for row in read_manifest(manifest):
            if row.language.split("-")[0] == "en" and row.text:
                found |= set(words(row.text))
    with (mini / "lexicon.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["word", "phones"])
        out.writerows([word.upper(), known[word]] for word in sorted(found & set(known)))
    head = "The phones in lexicon.csv are the CMU pronouncing dictionary's, without stress, under this licence.\n\n"
    (mini / "lexicon.LICENCE").write_text(head + licence(scratch), encoding="utf-8")
    missing = sorted(found - set(known))
    return f"{len(found) - len(missing)} words; not in the dictionary: {', '.join(missing) or 'none'}"


@cache
def table(scratch: Path) -> dict[str, str]:
    """Word in lower case -> phones parted by spaces, out of the wheel in `scratch` or its folder `wheels`. Raises
    FileNotFoundError where there is none."""
    out: dict[str, str] = {}
    for line in _lines(scratch):
        word, *sounds = line.split()
        if not _VARIANT.search(word):
            out.setdefault(word.lower(), " ".join(sound.rstrip("012") for sound in sounds))
    return out | {british: out[american] for british, american in SPELLED.items()}


@cache
def single(scratch: Path) -> frozenset[str]:
    """The words that have one entry only. Raises as `table` does."""
    entries = Counter(_VARIANT.sub("", line.split(" ", 1)[0]).lower() for line in _lines(scratch))
    return frozenset(word for word, count in entries.items() if count == 1)


def licence(scratch: Path) -> str:
    """The licence text of the dictionary: the first of the wheel's, up to the part about other code in it."""
    with zipfile.ZipFile(wheel(scratch)) as archive:
        member = next(name for name in archive.namelist() if name.endswith(LICENCE_MEMBER))
        text = archive.read(member).decode("utf-8")
    return text.split("\nWebRTC", 1)[0].rstrip() + "\n"


def artefact(scratch: Path) -> str:
    """The dictionary's line for a table of SOURCE.md: what, version, sha256 of the wheel."""
    path = wheel(scratch)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"| PyPI pocketsphinx, its cmudict-en-us.dict | {path.name.split('-')[1]} | {digest} |"


def wheel(scratch: Path) -> Path:
    """The pocketsphinx wheel in `scratch`. Raises FileNotFoundError where there is none."""
    found = sorted(scratch.glob("pocketsphinx-*.whl")) + sorted(scratch.glob("wheels/pocketsphinx-*.whl"))
    if not found:
        raise FileNotFoundError(f"no pocketsphinx wheel in {scratch}; pip download --no-deps -d {scratch} pocketsphinx")
    return found[0]


@cache
def _lines(scratch: Path) -> list[str]:
    with zipfile.ZipFile(wheel(scratch)) as archive:
        return archive.read(MEMBER).decode("utf-8").splitlines()
