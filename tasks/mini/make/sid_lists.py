"""The lists of the closed-set speaker task: whose clips train, select and test, divided by what is said.

    python -m tasks.mini.make sid_lists

34 speakers: the 25 Kokoro voices that are no blends and heard by no post-training, five readers of picture names, three
players of a game, and one telephone announcer. Every division follows from a hash of the text (or, where a corpus has
none, of its label), so the same words are on one side for all speakers of a corpus, and remaking gives the same lists.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.contracts import Utterance
from tasks.manifest import read_manifest
from tasks.mini.make import deal

VOICES = frozenset(
    voice.voice
    for name in ("asv_train", "asv_dev", "asv_test")
    for voice in deal.pool(name)
    if not voice.voice.startswith("blend_")
)
PEOPLE = frozenset({"kj_female1", "kj_female2", "kj_male1"})


@dataclass(frozen=True, slots=True)
class Take:
    """Up to `each` clips a speaker of the corpus's rows that `of` keeps, for each named list in turn."""

    corpus: str
    of: Callable[[Utterance], bool]
    each: dict[str, int]


TAKES = (
    Take("kokoro_read", lambda u: u.speaker in VOICES, {"train": 5, "dev": 1, "test": 2}),
    Take("kokoro_asv", lambda u: u.speaker in VOICES and u.language == "en", {"train": 5, "dev": 1, "test": 3}),
    Take("kokoro_asv", lambda u: u.language != "en", {"language": 6}),
    Take("kokoro_ks", lambda u: u.speaker in VOICES, {"category": 6}),
    Take("tuxpaint_words", lambda u: u.split == "sid", {"train": 14, "dev": 4, "test": 8}),
    Take("tuxpaint_words", lambda u: u.split == "sid_symbols", {"category": 8}),
    Take("kajongg", lambda u: u.speaker in PEOPLE and u.language == "en", {"train": 9, "dev": 2, "test": 4}),
    Take("kajongg", lambda u: u.speaker in PEOPLE and u.language == "de", {"language": 10}),
    Take("asterisk", lambda u: u.split == "en", {"train": 12, "dev": 3, "test": 8}),
    Take("asterisk", lambda u: u.split == "es", {"language": 8}),
    Take("asterisk", lambda u: u.split == "digits_en", {"category": 8}),
)


def write(data: Path, lists: Path) -> str:
    """Write `lists/sid_<list>_<corpus>.csv`; returns a line on each."""
    lists.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for take in TAKES:
        for name, ids in _dealt(filter(take.of, read_manifest(data / take.corpus)), take.each).items():
            found[name, take.corpus] += ids
    lines = []
    for (name, corpus), ids in sorted(found.items()):
        path = lists / f"sid_{name}_{corpus}.csv"
        path.write_text("id\n" + "".join(f"{i}\n" for i in sorted(ids)), encoding="utf-8")
        lines.append(f"{path.name}: {len(ids)}")
    return "\n".join(lines)


def _dealt(rows: Iterable[Utterance], each: dict[str, int]) -> dict[str, list[str]]:
    """Ids by list; within a speaker the texts come in the order of their hash, the same for all speakers."""
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        by_speaker[row.speaker].append(row)
    dealt: dict[str, list[str]] = {name: [] for name in each}
    for own in by_speaker.values():
        ordered = sorted(own, key=lambda u: (zlib.crc32(said(u).encode()), u.id))
        at = 0
        for name, count in each.items():
            dealt[name] += [u.id for u in ordered[at : at + count]]
            at += count
    return dealt


def said(row: Utterance) -> str:
    """What tells two clips' words apart: the text, else the label."""
    return row.text.casefold() or row.label
