"""Trial lists of real people and of other engines: engine, kajongg, kajongg_cross, tuxpaint, klettres.

    write(data, trials)      # the five lists and the folder's SHA256SUMS; returns name -> (targets, non-targets)

Targets and non-targets are dealt evenly, over speakers and over pairs of speakers. No trial compares a command or
a text with itself. `same_gender` is empty where gender is not documented.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import random
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.contracts import Utterance
from tasks.manifest import TRIAL_COLUMNS, read_manifest, read_trials
from tasks.mini.make import engines
from tasks.mini.make.pack import checksums

SEED = 2027
TARGETS, NON_TARGETS = 900, 2500

Pair = tuple[Utterance, Utterance]
Key = tuple[str, ...]


def write(data: Path, trials: Path) -> dict[str, tuple[int, int]]:
    """Write the lists from the manifests in `data`."""
    corpora = {name: read_manifest(data / name) for name in ("engines_asv", "kajongg", "tuxpaint", "klettres")}
    sets = {name: [row for row in corpora["kajongg"] if row.channel == name] for name in ("default", "german")}
    sure = {name: [row for row in rows if row.speaker_known == "sure"] for name, rows in sets.items()}
    pairs = {
        "engine": itertools.combinations(corpora["engines_asv"], 2),
        "kajongg": itertools.chain(*(itertools.combinations(rows, 2) for rows in sets.values())),
        "kajongg_cross": itertools.product(sure["default"], sure["german"]),
        "tuxpaint": itertools.combinations(corpora["tuxpaint"], 2),
        "klettres": itertools.combinations(corpora["klettres"], 2),
    }
    known = {row.id for rows in corpora.values() for row in rows}
    counts = {}
    trials.mkdir(parents=True, exist_ok=True)
    for name, candidates in pairs.items():
        counts[name] = _write(trials / f"{name}.csv.gz", *_deal(name, candidates))
        read_trials(trials / f"{name}.csv.gz", known)
    checksums(trials)
    return counts


def gender(row: Utterance) -> str:
    """female, male, or empty where it is not documented."""
    if row.corpus == "kajongg":
        return "female" if "female" in row.speaker else "male"
    if row.corpus == "engines_asv":
        voices = {engines.speaker(e, v): sex for e, found in engines.VOICES.items() for v, sex in found.items()}
        return voices[row.speaker]
    return ""


def _deal(name: str, candidates: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
    usable = [(a, b) for a, b in candidates if a.label != b.label or (not a.label and a.text != b.text)]
    random.Random(SEED + zlib.crc32(name.encode())).shuffle(usable)
    target = [pair for pair in usable if pair[0].speaker == pair[1].speaker]
    other = [pair for pair in usable if pair[0].speaker != pair[1].speaker]
    return _evenly(target, TARGETS, _who), _evenly(other, NON_TARGETS, _who)


def _who(pair: Pair) -> Key:
    a, b = pair
    return (*sorted((f"{a.speaker} {a.channel}", f"{b.speaker} {b.channel}")),)


def _evenly(pairs: list[Pair], count: int, key: Callable[[Pair], Key]) -> list[Pair]:
    """At most `count` of the shuffled pairs, one from every group in each round; sorted by id."""
    groups: dict[Key, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    rounds = itertools.zip_longest(*(groups[name] for name in sorted(groups)))
    chosen = itertools.islice((pair for turn in rounds for pair in turn if pair is not None), count)
    return sorted(chosen, key=lambda pair: (pair[0].id, pair[1].id))


def _write(path: Path, targets: list[Pair], others: list[Pair]) -> tuple[int, int]:
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(TRIAL_COLUMNS)
    for number, (a, b) in enumerate([*targets, *others]):
        sexes = gender(a), gender(b)
        same = int(sexes[0] == sexes[1]) if all(sexes) else 1 if a.speaker == b.speaker else ""
        flags = int(number < len(targets)), int(a.language == b.language), int(a.channel == b.channel)
        table.writerow([f"t{number:04d}", a.id, b.id, *flags, same])
    path.write_bytes(gzip.compress(out.getvalue().encode("utf-8"), mtime=0))
    return len(targets), len(others)
