"""Suites, tasks, rows and trials by name. A suite is a folder `tasks/<suite>/` with a YAML a task.

tasks/mini/asv.yaml            the task
tasks/mini/data/<corpus>/      manifest.csv and its audio
tasks/mini/trials/<name>.csv.gz
tasks/mini/lists/<name>.csv    ids of a corpus's rows that make a split, where the manifest's own splits do not
tasks/mini/lexicon.csv         words and their canonical phones, for rows whose manifest has none

A corpus that is not beside the YAMLs is one of the user's folders (`tasks/folders.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import OODSplit, Rows, Split, Task
from harness.contracts import SplitData, Trial, Utterance
from harness.errors import UserError
from harness.paths import corpora_file
from harness.progress import note
from harness.registry import NAME, unknown
from harness.wording import counted
from tasks import absent_split, trial_making
from tasks.conditions import DATA, Condition, build
from tasks.corpora import registry
from tasks.folders import sources
from tasks.lexicon import Lexicon, read_ids, read_lexicon
from tasks.manifest import read_manifest, read_trials
from tasks.prepared import prepared
from tasks.references import reference
from tasks.splits import disjoint
from tasks.task_yaml import folds, read_task

HERE = Path(__file__).resolve().parent
OOD = "_ood"


def suites() -> list[str]:
    return sorted({path.parent.name for path in HERE.glob("*/*.yaml")})


def names(suite: str) -> list[str]:
    """Task names of a suite: each task, and with `_ood` for all its out-of-domain splits too. A YAML that cannot be
    read is named in a line and left out."""
    if suite not in suites():
        raise unknown("suite", suite, suites())
    found, broken = _read(suite)
    for error in broken:
        note(f"left out: {error}")
    return [name for stem in found for name in (stem, stem + OOD)]


def expand(name: str, suite: str) -> list[str]:
    """The tasks that a name stands for: those of its folds for a task that has some, else itself."""
    stem, ood = name.removesuffix(OOD), OOD if name.endswith(OOD) else ""
    path = HERE / suite / f"{stem}.yaml"
    if suite not in suites() or not NAME.match(name) or not path.is_file():
        return [name]
    return [f"{stem}_{fold}{ood}" for fold in folds(path)] or [name]


def left_out(names: list[str], suite: str) -> list[str]:
    """A line for each corpus without which OOD splits of the tasks asked for cannot be scored."""
    gone: dict[tuple[str, str], list[str]] = {}
    for name in (name for name in names if name.endswith(OOD)):
        splits: dict[str, list[str]] = {}
        for split, corpora in absent(whole(name, suite)).items():
            splits.setdefault(", ".join(corpora), []).append(split)
        for of, several in splits.items():
            what = f"split{'s' * (len(several) > 1)} {', '.join(several)}"
            gone.setdefault((what, of), []).append(name)
    where = f"no folder for it in {corpora_file()}"
    return [f"{', '.join(asked)}: {what} of corpus {of}; {where}" for (what, of), asked in gone.items()]


def absent(task: Task) -> dict[str, list[str]]:
    """By OOD split, its corpora for which the user has given no folder."""
    known = sources()
    found = {}
    for split in task.ood:
        if missing := [name for name in _corpora(split) if name not in known and not _embedded(name, task.suite)]:
            found[split.name] = missing
    return found


def embedded(split: OODSplit, suite: str) -> bool:
    """Does a split need no folder of the user's, so that it is never absent?"""
    return all((HERE / suite / "data" / name).is_dir() for name in _corpora(split))


def _corpora(split: OODSplit) -> list[str]:
    parts = [split.rows, *(part.rows for part in (split.train, split.dev) if part)]
    return sorted({rows.corpus for part in parts for rows in part})


def _embedded(corpus: str, suite: str) -> bool:
    """Is it a corpus beside the suite's YAMLs, or would it have to be, being nobody else's?"""
    beside = HERE / suite / "data"
    return (beside / corpus).is_dir() or (beside.is_dir() and corpus not in registry.names())


def unreadable(suite: str) -> list[UserError]:
    """What is wrong with each YAML of a suite that cannot be read."""
    return _read(suite)[1]


def _read(suite: str) -> tuple[list[str], list[UserError]]:
    found, broken = [], []
    for path in sorted((HERE / suite).glob("*.yaml")):
        try:
            parts = folds(path)
            found += [f"{path.stem}_{fold}" for fold in parts if read_task(path, fold)]
            found += [path.stem] if not parts and read_task(path) else []
        except UserError as error:
            broken.append(error)
    return found, broken


def load(name: str, suite: str) -> tuple[Task, bool]:
    """The task, and whether its OOD splits were asked for; those of corpora that the user does not have are left out.
    Raises UserError for an unknown name or a bad YAML."""
    task = whole(name, suite)
    gone = absent(task)
    return task.model_copy(update={"ood": [split for split in task.ood if split.name not in gone]}), name.endswith(OOD)


def whole(name: str, suite: str) -> Task:
    """The task with all its OOD splits. Raises UserError as `load`."""
    if suite not in suites():
        raise unknown("suite", suite, suites())
    stem = name.removesuffix(OOD)
    base, _, fold = stem.rpartition("_")
    task = None
    if NAME.match(name):
        for path, of in ((HERE / suite / f"{stem}.yaml", None), (HERE / suite / f"{base}.yaml", fold)):
            if task is None and path.is_file() and (of in folds(path) if of else True):
                if not of and folds(path):
                    raise UserError(f"task {stem} has a cell a fold: name one of {', '.join(expand(stem, suite))}")
                task = read_task(path, of)
    if task is None:
        raise unknown("task", name, names(suite))
    return task


class Corpora:
    """The corpora and lists beside a suite's YAMLs, each read once."""

    def __init__(self, root: Path):
        self.root = root
        self._corpora: dict[str, list[Utterance]] = {}

    def corpus(self, name: str) -> list[Utterance]:
        if name not in self._corpora:
            if not NAME.match(name):
                raise UserError(f"corpus name {name!r}: letters, digits and _.+- wanted")
            own = self.root / "data" / name
            users = not own.exists() and (name in registry.names() or name in sources())
            self._corpora[name] = prepared(name).rows if users else read_manifest(own)
        return self._corpora[name]

    def rows(self, wanted: list[Rows]) -> list[Utterance]:
        """Raises UserError for a corpus split without rows: an empty set is never scored."""
        found: list[Utterance] = []
        for item in wanted:
            if item.ids is not None:
                found += self._listed(item.corpus, item.ids)
                continue
            part = [u for u in self.corpus(item.corpus) if item.split in u.split.split()]
            if not part:
                splits = ", ".join(sorted({one for u in self.corpus(item.corpus) for one in u.split.split()}))
                remedy = "" if (self.root / "data" / item.corpus).exists() else absent_split.remedy(item)
                raise UserError(f"corpus {item.corpus} has no split {item.split!r}; it has {splits}{remedy}")
            found += part
        return found

    def _listed(self, corpus: str, name: str) -> list[Utterance]:
        """The rows that a list names, in its order. Raises UserError for an id twice or not in the corpus."""
        if not NAME.match(name):
            raise UserError(f"list name {name!r}: letters, digits and _.+- wanted")
        path = self.root / "lists" / f"{name}.csv"
        by_id = {u.id: u for u in self.corpus(corpus)}
        ids = read_ids(path)
        unlisted = sorted(set(ids) - set(by_id))
        if unlisted:
            raise UserError(
                f"{path}: ids of corpus {corpus} wanted, found {counted(len(unlisted), 'other')}, first {unlisted[0]}; "
                "correct the list"
            )
        return [by_id[i] for i in ids]


class Data(Corpora):
    """A task's rows and trials, every list checked against the ids it names."""

    def __init__(self, task: Task, root: Path | None = None):
        super().__init__(root or HERE / task.suite)
        self.task = task
        self._sessions: dict[str, Callable[[Utterance], str] | None] = {}

    def split(self, name: str, split: Split) -> SplitData:
        rows = self.rows(split.rows)
        if split.trials is None:
            return SplitData(name, rows, references=self._references(rows))
        trials = self._trials(split, rows)
        used = {i for trial in trials for i in (trial.enrol, trial.test)}
        return SplitData(name, [u for u in rows if u.id in used], trials)

    def _trials(self, split: Split, rows: list[Utterance]) -> list[Trial]:
        """Those of the suite's own list, else of the corpus that makes them; for `balanced`, made of the rows."""
        if split.trials == trial_making.BALANCED:
            return trial_making.made(rows, self._session)
        ids = [u.id for u in rows]
        path = self.root / "trials" / f"{split.trials}.csv.gz"
        corpora = {item.corpus for item in split.rows}
        if len(corpora) == 1 and not path.exists() and not (self.root / "data" / (name := corpora.pop())).exists():
            return prepared(name).trials(str(split.trials), ids)
        return read_trials(path, set(ids))

    def _session(self, u: Utterance) -> str:
        """What the module of a user's corpus calls a session; else the channel."""
        if u.corpus not in self._sessions:
            source = None if (self.root / "data" / u.corpus).exists() else sources().get(u.corpus)
            self._sessions[u.corpus] = source.corpus.session if source and source.corpus else None
        own = self._sessions[u.corpus]
        return f"{u.channel}|{own(u)}" if own else u.channel

    def named(self, name: str) -> SplitData:
        """train, dev, test or an OOD split's own test rows."""
        if name in ("train", "dev", "test"):
            return self.split(name, getattr(self.task, name))
        ood = next(split for split in self.task.ood if split.name == name)
        if ood.kind == "C":
            source = self.named(str(ood.of))
            return SplitData(name, source.utterances, source.trials, source.references)
        return self.split(name, Split(rows=ood.rows, trials=ood.trials))

    def _references(self, rows: list[Utterance]) -> dict[str, str]:
        """What each row's prediction is scored against; none for verification, whose trials say it."""
        if self.task.kind == "verification":
            return {}
        found = {}
        for u in rows:
            try:
                lexicon = self.lexicon if self.task.kind == "phones" and not u.phones else None
                found[u.id] = reference(u, self.task.kind, self.task.label, lexicon)
            except UserError as error:
                raise UserError(f"{self._manifest(u)}, row {u.id}: {error}") from None
        empty = [u for u in rows if not found[u.id]]
        if empty:
            what = {"classification": self.task.label, "words": "text"}.get(self.task.kind, "phones")
            raise UserError(
                f"{self._manifest(empty[0])}, row {empty[0].id}: {what} wanted, found none "
                f"({counted(len(empty), 'such row')}); fill it in or leave them out"
            )
        return found

    def _manifest(self, u: Utterance) -> Path:
        corpus = next(name for name, rows in self._corpora.items() if u in rows)
        beside = self.root / "data" / corpus / "manifest.csv"
        return beside if beside.exists() else prepared(corpus).manifest

    @property
    def lexicon(self) -> Lexicon:
        return read_lexicon(self.root / "lexicon.csv")

    def check_disjoint(self, trained: bool = True) -> None:
        """Raises UserError where splits that must not share speakers, recordings or texts do. `trained`: the head
        learns from train. To one that does not, its trials are no leak; to an upstream they may be, which is marked."""
        there = {"train", "dev", "test", *(split.name for split in self.task.ood)}
        policy = {
            kind: [kept for group in groups if len(kept := [name for name in group if name in there]) > 1]
            for kind, groups in self.task.disjoint.items()
        }
        names = {name for groups in policy.values() for group in groups for name in group}
        if not (self.root / "data").is_dir():  # users' folders: what they lack is said now, not after the training
            names |= there
        if self.task.kind == "verification" and trained:
            names |= {"train", "test", *(split.name for split in self.task.ood if split.kind != "C")}
        rows = {name: self.named(name).utterances for name in sorted(names)}
        disjoint(rows, policy)
        if self.task.kind == "verification" and trained:
            own = {split.name: split.train for split in self.task.ood if split.kind == "R"}
            for name in sorted(names - {"train", "dev"}):
                train = self.rows(part.rows) if (part := own.get(name)) else rows["train"]
                trial_making.unheard(name, rows[name], train)


def data_sha256(split: SplitData) -> str:
    """What a split is made of: its rows' content and its trials or references, in order."""
    digest = hashlib.sha256()
    for u in split.utterances:
        digest.update(f"{u.id}|{u.sha256}|{u.start}|{u.duration}|{u.speaker}|{u.text}|{u.label}\n".encode())
    for trial in split.trials:
        digest.update(f"{trial.id}|{trial.enrol}|{trial.test}|{trial.target}\n".encode())
    for name, wanted in split.references.items():
        digest.update(f"{name}|{wanted}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Chain:
    """A condition followed by the task's front end, as one condition."""

    parts: tuple[Condition, ...]

    @property
    def version(self) -> str:
        return "+".join(part.version for part in self.parts)

    def apply(self, wave: Any, utterance_id: str) -> Any:
        for part in self.parts:
            wave = part.apply(wave, utterance_id)
        return wave


def condition(task: Task, split: str) -> Chain | None:
    """What happens to a split's waves before the upstream; None where nothing does."""
    own = next((s.condition for s in task.ood if s.name == split), [])
    beside = HERE / task.suite / "data"
    data = beside if beside.is_dir() else DATA  # a suite of users' corpora takes rooms and voices from the embedded one
    parts = [build(own, data=data)] if own else []
    # the front end is the training rows' too, so nothing that is kept for test alone may be in it
    parts += [build(task.front_end, data=data, training=True)] if task.front_end else []
    return Chain(tuple(parts)) if parts else None
