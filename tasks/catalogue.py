"""Suites, tasks, rows and trials by name. A suite is a folder `tasks/<suite>/` with a YAML a task.

tasks/mini/asv.yaml            the task
tasks/mini/data/<corpus>/      manifest.csv and its audio
tasks/mini/trials/<name>.csv.gz
tasks/mini/lists/<name>.csv    ids of a corpus's rows that make a split, where the manifest's own splits do not
tasks/mini/lexicon.csv         words and their canonical phones, for rows whose manifest has none
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import metrics_frames
from harness.config import Rows, Split, Task, parse, read_yaml
from harness.contracts import SplitData, Utterance
from harness.errors import UserError
from harness.progress import note
from harness.registry import NAME, unknown
from harness.text import normalise
from harness.wording import counted
from tasks.condition_ops import OPS
from tasks.conditions import Condition, build
from tasks.lexicon import Lexicon, read_ids, read_lexicon
from tasks.manifest import read_manifest, read_trials
from tasks.splits import disjoint

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


def unreadable(suite: str) -> list[UserError]:
    """What is wrong with each YAML of a suite that cannot be read."""
    return _read(suite)[1]


def _read(suite: str) -> tuple[list[str], list[UserError]]:
    found, broken = [], []
    for path in sorted((HERE / suite).glob("*.yaml")):
        try:
            found += [path.stem] if _task(path) else []
        except UserError as error:
            broken.append(error)
    return found, broken


def load(name: str, suite: str) -> tuple[Task, bool]:
    """The task, and whether its OOD splits were asked for. Raises UserError for an unknown name or a bad YAML."""
    if suite not in suites():
        raise unknown("suite", suite, suites())
    path = HERE / suite / f"{name.removesuffix(OOD)}.yaml"
    task = _task(path) if NAME.match(name) and path.is_file() else None
    if task is None:
        raise unknown("task", name, names(suite))
    return task, name.endswith(OOD)


def _task(path: Path) -> Task | None:
    """The task in a YAML, None where that is something else. Raises UserError for a bad one."""
    data = read_yaml(path)
    if "task" not in data:
        return None
    task: Task = parse(Task, data, path.name)
    if task.kind == "frames":
        _keeps_time(task, path.name)
    return task


def _keeps_time(task: Task, where: str) -> None:
    """Raises UserError for a condition after which a phone is no longer where the manifest says it is."""
    for name, spec in (("front_end", task.front_end), *((split.name, split.condition) for split in task.ood)):
        for op in (str(entry.get("op")) for entry in spec):
            if op in OPS and not OPS[op].KEEPS_LENGTH:
                raise UserError(
                    f"{where}: {name}: ops that keep the length wanted, as kind frames is scored by time, found {op}; "
                    "leave it out"
                )


class Corpora:
    """The corpora and lists beside a suite's YAMLs, each read once."""

    def __init__(self, root: Path):
        self.root = root
        self._corpora: dict[str, list[Utterance]] = {}

    def corpus(self, name: str) -> list[Utterance]:
        if name not in self._corpora:
            if not NAME.match(name):
                raise UserError(f"corpus name {name!r}: letters, digits and _.+- wanted")
            self._corpora[name] = read_manifest(self.root / "data" / name)
        return self._corpora[name]

    def rows(self, wanted: list[Rows]) -> list[Utterance]:
        """Raises UserError for a corpus split without rows: an empty set is never scored."""
        found: list[Utterance] = []
        for item in wanted:
            if item.ids is not None:
                found += self._listed(item.corpus, item.ids)
                continue
            part = [u for u in self.corpus(item.corpus) if u.split == item.split]
            if not part:
                splits = ", ".join(sorted({u.split for u in self.corpus(item.corpus)}))
                raise UserError(f"corpus {item.corpus} has no split {item.split!r}; it has {splits}")
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

    def split(self, name: str, split: Split) -> SplitData:
        rows = self.rows(split.rows)
        if split.trials is None:
            return SplitData(name, rows, references=self._references(rows))
        path = self.root / "trials" / f"{split.trials}.csv.gz"
        trials = read_trials(path, {u.id for u in rows})
        used = {i for trial in trials for i in (trial.enrol, trial.test)}
        return SplitData(name, [u for u in rows if u.id in used], trials)

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
                found[u.id] = self._reference(u)
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

    def _reference(self, u: Utterance) -> str:
        kind = self.task.kind
        if kind == "classification":
            return str(getattr(u, self.task.label))
        if kind == "words":
            return normalise(u.text)
        if kind == "frames":
            if u.phones:
                metrics_frames.parse(u.phones)
            return u.phones
        return u.phones or self.lexicon.phones(normalise(u.text))

    def _manifest(self, u: Utterance) -> Path:
        corpus = next(name for name, rows in self._corpora.items() if u in rows)
        return self.root / "data" / corpus / "manifest.csv"

    @property
    def lexicon(self) -> Lexicon:
        return read_lexicon(self.root / "lexicon.csv")

    def check_disjoint(self) -> None:
        """Raises UserError where splits that must not share speakers, recordings or texts do."""
        names = {name for groups in self.task.disjoint.values() for group in groups for name in group}
        disjoint({name: self.named(name).utterances for name in sorted(names)}, self.task.disjoint)


def data_sha256(split: SplitData) -> str:
    """What a split is made of: its rows' content and its trials or references, in order."""
    digest = hashlib.sha256()
    for u in split.utterances:
        digest.update(f"{u.id}|{u.sha256}|{u.start}|{u.duration}|{u.speaker}|{u.text}|{u.label}\n".encode())
    for trial in split.trials:
        digest.update(f"{trial.id}|{trial.enrol}|{trial.test}|{trial.target}\n".encode())
    for name, reference in split.references.items():
        digest.update(f"{name}|{reference}\n".encode())
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
    parts = tuple(build(spec, data=HERE / task.suite / "data") for spec in (own, task.front_end) if spec)
    return Chain(parts) if parts else None
