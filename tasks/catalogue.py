"""Suites, tasks, rows and trials by name. A suite is a folder `tasks/<suite>/` with a YAML a task.

tasks/mini/asv.yaml            the task
tasks/mini/data/<corpus>/      manifest.csv and its audio
tasks/mini/trials/<name>.csv.gz
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import Rows, Split, Task, parse, read_yaml
from harness.contracts import SplitData, Utterance
from harness.errors import UserError
from harness.registry import NAME, unknown
from tasks.conditions import Condition, build
from tasks.manifest import read_manifest, read_trials
from tasks.splits import disjoint

HERE = Path(__file__).resolve().parent
OOD = "_ood"


def suites() -> list[str]:
    return sorted({path.parent.name for path in HERE.glob("*/*.yaml")})


def names(suite: str) -> list[str]:
    """Task names of a suite: each task, and with `_ood` for all its out-of-domain splits too."""
    if suite not in suites():
        raise unknown("suite", suite, suites())
    found = [path.stem for path in sorted((HERE / suite).glob("*.yaml")) if "task" in read_yaml(path)]
    return [name for stem in found for name in (stem, stem + OOD)]


def load(name: str, suite: str) -> tuple[Task, bool]:
    """The task, and whether its OOD splits were asked for. Raises UserError for an unknown name or a bad YAML."""
    if name not in names(suite):
        raise unknown("task", name, names(suite))
    stem = name.removesuffix(OOD)
    path = HERE / suite / f"{stem}.yaml"
    return parse(Task, read_yaml(path), path.name), name.endswith(OOD)


class Data:
    """A task's rows and trials, read once, every list checked against the ids it names."""

    def __init__(self, task: Task, root: Path | None = None):
        self.task = task
        self.root = root or HERE / task.suite
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
            part = [u for u in self.corpus(item.corpus) if u.split == item.split]
            if not part:
                splits = ", ".join(sorted({u.split for u in self.corpus(item.corpus)}))
                raise UserError(f"corpus {item.corpus} has no split {item.split!r}; it has {splits}")
            found += part
        return found

    def split(self, name: str, split: Split) -> SplitData:
        rows = self.rows(split.rows)
        if split.trials is None:
            return SplitData(name, rows)
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
            return SplitData(name, source.utterances, source.trials)
        return self.split(name, Split(rows=ood.rows, trials=ood.trials))

    def check_disjoint(self) -> None:
        """Raises UserError where splits that must not share speakers, recordings or texts do."""
        names = {name for groups in self.task.disjoint.values() for group in groups for name in group}
        disjoint({name: self.named(name).utterances for name in sorted(names)}, self.task.disjoint)


def data_sha256(split: SplitData) -> str:
    """What a split is made of: its rows' content and its trials, in order."""
    digest = hashlib.sha256()
    for u in split.utterances:
        digest.update(f"{u.id}|{u.sha256}|{u.start}|{u.duration}|{u.speaker}|{u.text}|{u.label}\n".encode())
    for trial in split.trials:
        digest.update(f"{trial.id}|{trial.enrol}|{trial.test}|{trial.target}\n".encode())
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
