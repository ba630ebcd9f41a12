"""What a task's splits, and what an upstream was trained on, share: speakers, transcripts, recordings, nearly equal
sound.

    found = leaks(task, data, "icl_speaker", rows_of_its_training, decode=True)
    found.shared      # a row a pair of parts and kind
    found.notes       # what could not be compared

Manifests say speakers, transcripts and recordings (`tasks/splits.py` has the keys). Sound is compared where it may be
decoded: the hash of an utterance's samples, and its fingerprint (`tasks/fingerprint.py`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness import audio
from harness.config import Task
from harness.contracts import Utterance
from harness.errors import UserError
from harness.progress import progress
from harness.wording import counted
from tasks.fingerprint import Marks, landmarks, similar
from tasks.splits import KEYS

FINGERPRINT_HOURS = 4.0
"""Of audio, at most, whose fingerprints are compared: a second gives some 400 landmarks, all in memory at once."""
KINDS = {"speaker": "speakers", "text": "transcripts", "recording": "recordings", "sound": "equal audio",
         "similar": "similar audio"}  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """What two parts share. `reading`: "leak" where one of them trains or selects and the other measures; else why
    not."""

    kind: str
    a: str
    b: str
    count: int
    of: int
    """How many different ones `b` has, the part that measures."""
    reading: str
    example: str


@dataclass
class Leaks:
    shared: list[Shared] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        return any(one.reading == "leak" for one in self.shared)


def leaks(
    task: Task, data: Any, upstream: str = "", learnt: Sequence[Utterance] = (), decode: bool | None = None
) -> Leaks:
    """Of a `tasks.catalogue.Data`. `learnt`: the rows that the upstream was trained on. `decode` None: only rows whose
    manifest has a hash of the file's bytes, as embedded ones do, are decoded.

    Raises UserError for a part without rows and audio that cannot be read."""
    parts = {name: data.named(name).utterances for name in ("train", "dev", "test")}
    own: dict[str, list[str]] = {}
    for split in task.ood:
        if split.kind == "C":  # the very rows of another split
            continue
        parts[split.name] = data.named(split.name).utterances
        if split.train and split.dev:
            own[split.name] = [f"{split.name} train", f"{split.name} dev"]
            for name, part in zip(own[split.name], (split.train, split.dev), strict=True):
                parts[name] = data.split(name, part).utterances
    if learnt:
        parts[f"upstream {upstream}"] = list(learnt)
    pairs = _pairs(list(parts), own)
    found = Leaks()
    for kind in ("speaker", "text", "recording"):
        keys = {name: _first(rows, kind) for name, rows in parts.items()}
        for a, b in pairs:
            if both := sorted(set(keys[a]) & set(keys[b])):
                reading = _reading(task, kind, a, b, [keys[b][key] for key in both])
                example = f"{both[0][:40]} ({keys[a][both[0]].id}, {keys[b][both[0]].id})"
                found.shared.append(Shared(kind, a, b, len(both), len(keys[b]), reading, example))
    _by_ear(task, parts, pairs, decode, found)
    return found


def _pairs(names: Sequence[str], own: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """What is compared: every two parts, the one that trains first; but the data of a kind-R split's own head with that
    split and the upstream alone."""
    of = {name: split for split, both in own.items() for name in both}
    kept = []
    for a, b in itertools.combinations(names, 2):
        apart = {one for one in (of.get(a), of.get(b)) if one}
        within = {of.get(a, a), of.get(b, b)}
        if not apart or len(within) == 1 or b.startswith("upstream "):
            kept.append((b, a) if b.startswith("upstream ") or b in of and a not in of else (a, b))
    return kept


def _trains(name: str) -> bool:
    return name in ("train", "dev") or name.startswith("upstream ") or name.endswith((" train", " dev"))


def _reading(task: Task, kind: str, a: str, b: str, rows: Sequence[Utterance]) -> str:
    if not _trains(a):
        return "two tests"
    if b == "train" or b.endswith(" train"):
        return "training alone"
    if task.kind == "classification":
        if kind == "speaker" and task.label == "speaker" and not a.startswith("upstream "):
            return "a closed set"
        if kind == "text" and all(KEYS["text"](u) == u.label.casefold() for u in rows):
            return "the label"
    return "leak"


def _first(rows: Sequence[Utterance], kind: str) -> dict[str, Utterance]:
    """By key, the first row that has it."""
    found: dict[str, Utterance] = {}
    for u in rows:
        if key := KEYS[kind](u):
            found.setdefault(key, u)
    return found


def _by_ear(
    task: Task,
    parts: Mapping[str, Sequence[Utterance]],
    pairs: Sequence[tuple[str, str]],
    decode: bool | None,
    found: Leaks,
) -> None:
    """Adds what shares samples, or nearly."""
    every = {(u.corpus, u.id): u for rows in parts.values() for u in rows}
    read = {key: u for key, u in every.items() if decode or (decode is None and not u.sha256.startswith(audio.STAMP))}
    if left := len(every) - len(read):
        found.notes.append(f"the sound of {counted(left, 'clip')} was not compared, which takes reading them: --full")
    hours = sum(u.duration for u in read.values()) / 3600
    marked = hours <= FINGERPRINT_HOURS
    if read and not marked:
        found.notes.append(f"{hours:.1f} h are more than the {FINGERPRINT_HOURS:g} h whose fingerprints are compared")
    hashes: dict[tuple[str, str], str] = {}
    marks: dict[tuple[str, str], Marks] = {}
    broken = []
    for key, u in progress(read.items(), f"{task.task}, decoding for leaks", len(read)):
        try:
            wave = audio.read(u)
        except UserError as error:
            broken.append(str(error))
            continue
        hashes[key] = hashlib.sha256(np.round(wave * 32767).astype(np.int32).tobytes()).hexdigest()
        if marked:
            marks[key] = landmarks(wave)
    if broken:
        found.notes.append(f"{counted(len(broken), 'clip')} cannot be read, first: {broken[0]}")
    where: dict[tuple[str, str], set[str]] = {}
    for name, rows in parts.items():
        for u in rows:
            where.setdefault((u.corpus, u.id), set()).add(name)
    alike = [(one, other, 1.0) for one, other in _same(hashes)]
    told = {tuple(sorted(pair[:2])) for pair in alike}
    groups = {names: number for number, names in enumerate(sorted({tuple(sorted(names)) for names in where.values()}))}
    order = list(marks)
    near = similar([marks[key] for key in order], [groups[tuple(sorted(where[key]))] for key in order])
    close = [(order[a], order[b], part) for a, b, part in near if tuple(sorted((order[a], order[b]))) not in told]
    for kind, couples in (("sound", alike), ("similar", close)):
        for a, b in pairs:
            hit: dict[tuple[str, str], str] = {}
            for one, other, part in couples:
                for x, y in ((one, other), (other, one)):
                    if x != y and a in where[x] and b in where[y]:
                        hit.setdefault(y, f"{x[1]}, {y[1]}" + (f" ({part:.0%} alike)" if kind == "similar" else ""))
            if hit:
                reading = _reading(task, kind, a, b, [])
                found.shared.append(Shared(kind, a, b, len(hit), len(parts[b]), reading, next(iter(hit.values()))))


def _same(hashes: Mapping[tuple[str, str], str]) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs of rows with the same samples."""
    by_hash: dict[str, list[tuple[str, str]]] = {}
    for key, digest in hashes.items():
        by_hash.setdefault(digest, []).append(key)
    return [pair for keys in by_hash.values() for pair in itertools.combinations(keys, 2)]
