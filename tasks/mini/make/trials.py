"""Trial lists of the synthetic voices, and the checksums of every list in the folder.

    kokoro(data, trials)      # asv_dev, asv_test, language, cross_language, from kokoro_asv's manifest
    checksums(trials)         # SHA256SUMS again, whoever wrote the lists (from make/pack.py)

A target pairs two utterances of one voice. Non-targets are dealt evenly over pairs of voices; pairs of one gender
get `KIN` times the share of others, and so do pairs of one native language, since they are the harder ones. No trial
compares a sentence with itself.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.contracts import Utterance
from tasks.manifest import TRIAL_COLUMNS, read_manifest, read_trials
from tasks.mini.make import deal
from tasks.mini.make.pack import checksums

SEED = 2026
TARGETS, NON_TARGETS = 900, 2500
KIN = 2
"""How many times as often a pair of voices is drawn if they share gender, and again if they share language."""

Pair = tuple[Utterance, Utterance]


def _key(pair: Pair) -> tuple[str, str]:
    return pair[0].id, pair[1].id


def kokoro(data: Path, trials: Path) -> dict[str, int]:
    """Write the four lists and the folder's checksums; return name -> number of trials."""
    rows = read_manifest(data / "kokoro_asv")
    split = {name: [row for row in rows if row.split == name] for name in ("dev", "test", "test_lang")}
    sides = {
        "asv_dev": (split["dev"], split["dev"]),
        "asv_test": (split["test"], split["test"]),
        "language": (split["test_lang"], split["test_lang"]),
        "cross_language": (split["test"], split["test_lang"]),
    }
    trials.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, (enrol, test) in sides.items():
        path = trials / f"{name}.csv.gz"
        counts[name] = write(path, build(name, enrol, test), {voice.voice: voice for voice in deal.voices()})
        read_trials(path, {row.id for row in rows})
    checksums(trials)
    return counts


def build(name: str, enrol: Sequence[Utterance], test: Sequence[Utterance]) -> list[Pair]:
    """All target pairs, at most `TARGETS` of them and as many for every speaker, then the non-targets."""
    draw = random.Random(SEED + zlib.crc32(name.encode()))
    pairs = list(_pairs(enrol, test))
    draw.shuffle(pairs)
    target = _even([pair for pair in pairs if pair[0].speaker == pair[1].speaker], TARGETS)
    others = [pair for pair in pairs if pair[0].speaker != pair[1].speaker]
    return sorted(target, key=_key) + sorted(_weighted(others, NON_TARGETS), key=_key)


def write(path: Path, pairs: Sequence[Pair], voices: Mapping[str, deal.Voice]) -> int:
    """Write a list, the same pairs giving the same bytes; return its length. `same_gender` is empty where a
    voice of mixed gender takes part."""
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(TRIAL_COLUMNS)
    for number, (a, b) in enumerate(pairs):
        genders = {voices[a.speaker].gender, voices[b.speaker].gender}
        same = "" if "mixed" in genders else int(len(genders) == 1)
        flags = int(a.speaker == b.speaker), int(a.language == b.language), int(a.channel == b.channel)
        table.writerow([f"t{number:04d}", a.id, b.id, *flags, same])
    path.write_bytes(gzip.compress(out.getvalue().encode("utf-8"), mtime=0))
    return len(pairs)


def _pairs(enrol: Sequence[Utterance], test: Sequence[Utterance]) -> Iterator[Pair]:
    one_side = [row.id for row in enrol] == [row.id for row in test]
    found = itertools.combinations(enrol, 2) if one_side else itertools.product(enrol, test)
    return ((a, b) for a, b in found if a.text != b.text)


def _even(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most `count`, as many for every speaker."""
    speakers = sorted({pair[0].speaker for pair in pairs})
    share = count // len(speakers)
    return [pair for who in speakers for pair in [p for p in pairs if p[0].speaker == who][:share]]


def _weighted(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """`count` of the (shuffled) pairs, one for every pair of voices in each round and `KIN` or more for kin."""
    waiting: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        first, second = sorted((pair[0].speaker, pair[1].speaker))
        waiting.setdefault((first, second), []).append(pair)
    weight = {who: _weight(*who) for who in waiting}
    chosen: list[Pair] = []
    while len(chosen) < count and any(waiting.values()):
        for who in sorted(waiting):
            chosen += waiting[who][: weight[who]]
            del waiting[who][: weight[who]]
    return chosen[:count]


def _weight(a: str, b: str) -> int:
    """Kokoro's names begin with language and gender."""
    return (KIN if a[1] == b[1] else 1) * (KIN if a[0] == b[0] else 1)
