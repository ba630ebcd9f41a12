"""From a user's folder to manifest rows: list the files, let the corpus's module say what they are, read their headers,
keep the manifest.

    got = prepare(source)        # seconds when nothing changed
    got.rows                     # Utterances
    got.gaps                     # what is missing or odd, a line each
    got.trials("voxceleb1_o")

Everything about one folder is kept under <cache>/manifests/<name>-<key>/: files.tsv (what was listed), manifest.csv,
trials-<name>.csv.gz, and summary.json, written last. They are made again when a file changed, came or went, or the
module did; the same folder gives the same bytes. No file is hashed (`tasks/corpora/whole.py` does that on demand).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import audio, headers
from harness.contracts import Trial, Utterance
from harness.errors import UserError
from harness.paths import cache_dir
from harness.progress import note, progress
from harness.results import atomic_write
from harness.wording import counted
from tasks.corpora.contract import Corpus, Row
from tasks.corpora.tree import Tree, oddities, scan
from tasks.folders import Source, sources, wanted
from tasks.manifest import read_trials
from tasks.own_manifest import read_own
from tasks.packed import of_corpus, packed
from tasks.prepared_files import read_rows, write_rows, write_trials

VERSION = 2
"""Raised when manifests made before are not to be used any more."""
READERS = 8
"""Threads reading headers: what takes time is waiting for the disk."""
_ID = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass
class Prepared:
    """A corpus as a user has it."""

    source: Source
    folder: Path
    gaps: list[str]
    counts: dict[str, dict[str, float]]
    """By split name: rows, speakers, hours."""
    harmless: list[str] = field(default_factory=list)
    """Those of `gaps` that take nothing away."""
    packed: list[str] = field(default_factory=list)
    """Archives of which something is not unpacked, a line each."""
    changes: list[str] = field(default_factory=list)
    """What had changed since the manifest before, a line each; empty where nothing had or there was none."""

    @property
    def manifest(self) -> Path:
        return self.source.root if self.source.corpus is None else self.folder / "manifest.csv"

    @cached_property
    def rows(self) -> list[Utterance]:
        assert self.source.corpus is not None
        rows = list(read_rows(self.manifest, self.source.root))
        if not self.source.leave_out:
            return rows
        left_out = set(self.source.leave_out)
        if idle := sorted(left_out - {u.id for u in rows}):
            raise UserError(f"corpus {self.source.name}: leave_out names {idle[0]}, which is no row of it")
        return [u for u in rows if u.id not in left_out]

    def trials(self, name: str, known: Iterable[str]) -> list[Trial]:
        """Raises UserError where they could not be made, as the gaps say, or name a row that is not there."""
        path = self.folder / f"trials-{name}.csv.gz"
        if not path.is_file():
            why = "; ".join([*self.packed, *self.gaps]) or "no such list"
            raise UserError(f"corpus {self.source.name} has no trials {name!r}: {why}")
        return read_trials(path, set(known))


class NothingFound(UserError):
    """A folder holds nothing of its corpus. `lines`: that, then what lies there instead, archives first."""

    def __init__(self, message: str, left: Sequence[str], gaps: Sequence[str]):
        why = [*left[:1], *gaps][:3]
        super().__init__(message + (f" ({'; '.join(why)})" if why else ""))
        self.lines = [message, *left, *gaps]


_ready: dict[str, Prepared] = {}
"""What this process has prepared: its folders are listed once."""


def prepared(name: str) -> Prepared:
    """The user's corpus of this name, its gaps said once. Raises UserError where no folder is given for it."""
    source = wanted(name, sources())
    key = f"{cache_dir()}|{source}"
    if key not in _ready:
        _ready[key] = prepare(source)
        for line in [*_ready[key].packed, *_ready[key].gaps]:
            note(f"{name}: {line}")
    return _ready[key]


def prepare(source: Source, cache: Path | None = None) -> Prepared:
    """The manifest of a source, from the cache where its files are as they were. Raises UserError for a folder that
    cannot be read, and NothingFound for one in which the module finds no rows."""
    corpus = source.corpus
    if corpus is None:
        return _own(source)
    folder = (cache or cache_dir() / "manifests") / f"{source.name}-{_key(source, corpus)}"
    try:
        tree = scan(source.root, source.options)
    except UserError as error:
        if not source.root.exists() and (left := packed(corpus, Tree(source.root, [], source.options), {})[0]):
            raise NothingFound(str(error), left, []) from None
        raise
    listing = _listing(tree)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    old = _summary(folder)
    if old and old["files"] == digest and all(_stat(tree.root / name) == was for name, was in old["beside"].items()):
        return _whole(Prepared(source, folder, old["gaps"], old["counts"], old["harmless"]), corpus, tree)
    changes = _changes(folder / "files.tsv", listing) if old else []
    for line in changes:
        note(f"{source.name}: {line}; its manifest is made again")
    (folder / "summary.json").unlink(missing_ok=True)
    rows = list(_utterances(source, corpus, tree))
    write_rows(folder / "manifest.csv", rows)
    for name, make in corpus.trials.items():
        (folder / f"trials-{name}.csv.gz").unlink(missing_ok=True)
        if trials := list(make(tree, rows)):
            write_trials(folder / f"trials-{name}.csv.gz", trials)
    summary: dict[str, Any] = {
        "corpus": corpus.name,
        "root": str(source.root),
        "files": digest,
        "beside": {name: _stat(tree.root / name) for name in sorted(tree.beside)},
        "gaps": tree.gaps,
        "harmless": tree.harmless,
        "counts": _counts(rows),
    }
    atomic_write(folder / "files.tsv", listing.encode())
    atomic_write(folder / "summary.json", json.dumps(summary, indent=1).encode())
    return _whole(Prepared(source, folder, tree.gaps, summary["counts"], tree.harmless, changes=changes), corpus, tree)


def _whole(found: Prepared, corpus: Corpus, tree: Tree) -> Prepared:
    """With what is said of archives, which is looked up every time: one may come to lie beside the folder."""
    left, done = packed(corpus, tree, found.counts)
    return replace(found, packed=left, gaps=[*found.gaps, *done], harmless=[*found.harmless, *done])


def _own(source: Source) -> Prepared:
    """A user's own manifest."""
    rows = read_own(source.root, source.name)
    prepared = Prepared(source, source.root.parent, [], _counts(rows))
    prepared.__dict__["rows"] = [u for u in rows if u.id not in source.leave_out]
    return prepared


def _key(source: Source, corpus: Corpus) -> str:
    code = Path(str(sys.modules[corpus.rows.__module__].__file__)).read_bytes()
    parts = [VERSION, source.name, corpus.name, corpus.version, hashlib.sha256(code).hexdigest(), str(source.root),
             source.options]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _stat(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _listing(tree: Tree) -> str:
    return "".join(f"{file.path}\t{file.size}\t{file.mtime}\n" for file in tree.files)


def _changes(path: Path, now: str) -> list[str]:
    """What differs between a listing kept and one of now: up to five files by name, then how many more."""
    try:
        was = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    a, b = ({line.partition("\t")[0]: line for line in text.splitlines()} for text in (was, now))
    found = [f"{name} vanished" for name in sorted(set(a) - set(b))]
    found += [f"{name} is new" for name in sorted(set(b) - set(a))]
    found += [f"{name} changed" for name in sorted(set(a) & set(b)) if a[name] != b[name]]
    return found[:5] + ([f"{counted(len(found) - 5, 'more file')} changed, came or went"] if len(found) > 5 else [])


def _summary(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return None
    return found if (folder / "manifest.csv").is_file() else None


def _utterances(source: Source, corpus: Corpus, tree: Tree) -> Iterator[Utterance]:
    """The module's rows, each file's header read. What cannot be used is left out and counted among the gaps."""
    rows = _first_of_each(corpus.rows(tree), tree)
    paths = list(dict.fromkeys(row.file.path for row in rows))
    lengths: dict[str, tuple[int, int]] = {}
    broken: list[str] = []
    with ThreadPoolExecutor(READERS) as pool:
        # a future takes more memory and time than a header, so each reads many
        parts = [paths[at : at + 256] for at in range(0, len(paths), 256)]
        found = itertools.chain.from_iterable(pool.map(lambda part: _lengths(tree.root, part), parts))
        for path, one in zip(paths, progress(found, f"{source.name}, file headers", len(paths)), strict=True):
            if isinstance(one, str):
                broken.append(f"{path} ({one})")
            else:
                lengths[path] = one
    if broken:
        tree.gap(f"{counted(len(broken), 'file')} cannot be read and left out, first {broken[0]}; copy again")
    for line in reversed(oddities(tree, {*paths, *of_corpus(corpus, tree)})):
        tree.gap(line, first=True)
    empty = True
    for row in rows:
        if row.file.path in lengths:
            for u in _cut(row, *lengths[row.file.path], source, corpus):
                empty = False
                yield u
    if empty:
        message = f"corpus {source.name}: nothing of it found in {source.root}; wanted {corpus.layout}"
        raise NothingFound(message, packed(corpus, tree, {})[0], tree.gaps)


def _lengths(root: Path, names: Sequence[str]) -> list[tuple[int, int] | str]:
    """Frames and rate of each file, or what is wrong with it."""
    found: list[tuple[int, int] | str] = []
    for name in names:
        path = os.path.join(root, name)
        try:
            found.append(headers.length(path))
        except UserError as error:
            found.append(str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ").partition(";")[0])
    return found


def _first_of_each(rows: Iterable[Row], tree: Tree) -> list[Row]:
    kept: dict[str, Row] = {}
    twice: list[Row] = []
    for row in rows:
        if not _ID.fullmatch(row.id):
            raise ValueError(f"{row.file.path}: id {row.id!r}")
        if row.id in kept:
            twice.append(row)
        else:
            kept[row.id] = row
    if twice:
        first = kept[twice[0].id].file.path
        here = f"{counted(len(twice), 'file')} there twice, first {twice[0].file.path}"
        tree.gap(f"{here}, of which {first} is used", harmless=True)
    return sorted(kept.values(), key=lambda row: row.id)


def _cut(row: Row, frames: int, rate: int, source: Source, corpus: Corpus) -> Iterator[Utterance]:
    whole = frames / rate - row.start
    if row.every is None:
        pieces = [(row.id, row.start, whole if row.seconds is None else row.seconds)]
    else:
        count = int(whole / row.every + 1e-9)
        pieces = [(f"{row.id}-{n:04d}", row.start + n * row.every, row.every) for n in range(count)]
    name = row.recording or row.id
    for id, start, seconds in pieces:
        if seconds > 0:
            yield Utterance(
                id=id,
                corpus=source.name,
                split=row.split,
                archive=None,
                member=row.file.path,
                start=round(start, 6),
                duration=round(seconds, 6),
                rate=rate,
                speaker=row.speaker,
                speaker_known=row.speaker_known,
                language=row.language or corpus.language,
                channel=row.channel,
                text=row.text,
                phones=row.phones,
                label=row.label,
                source=corpus.title,
                licence=corpus.licence,
                sha256=audio.stamp(corpus.name, name, frames, rate),
            )


def _counts(rows: Sequence[Utterance]) -> dict[str, dict[str, float]]:
    speakers: dict[str, set[str]] = {}
    counts: dict[str, dict[str, float]] = {}
    for u in rows:
        for split in u.split.split():
            one = counts.setdefault(split, {"rows": 0, "speakers": 0, "hours": 0.0})
            one["rows"] += 1
            one["hours"] += u.duration / 3600
            speakers.setdefault(split, set()).add(u.speaker)
    return {
        split: {**one, "speakers": len(speakers[split] - {"-", ""}), "hours": round(one["hours"], 4)}
        for split, one in sorted(counts.items())
    }
