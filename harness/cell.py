"""One cell of the leaderboard: upstream x task x head x seed, from features to result.json.

    train on train -> dev selects -> the test rows are unsealed -> predictions -> metrics -> result, written last

Cells that differ in the head's seed alone train together (`run_group`).

Killed at any point and run again it goes on where it was: features are stored one by one, training resumes from its
last evaluation, finished splits are kept. A finished cell is only read.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from harness import cell_training, cell_upstream, s3prl_practice
from harness.cell_command import command
from harness.cell_head import build_head, reads_test
from harness.config import OODSplit, Preset, Runtime
from harness.contracts import Form, Head, SplitData
from harness.errors import UserError
from harness.evaluate import evaluate, predictions_path, references_path, shared_labels
from harness.provenance import Stopwatch, provenance
from harness.registry import resolve
from harness.results import (
    RESULT,
    RunResult,
    Selection,
    SplitResult,
    atomic_write,
    identity_hash,
    load_result,
    save_result,
)
from harness.selection import Sealed
from harness.text import NORM_VERSION

ENGINE = 1
"""Raised when the harness itself changes what a cell's figures are."""


@dataclass(frozen=True)
class CellName:
    """What the command line asks for."""

    suite: str
    task: str
    upstream: str
    head: str | None = None
    preset: str | None = None
    seed: int = 0
    recipe_seed: int = 0


def run_cell(name: CellName, runtime: Runtime) -> tuple[Path, RunResult]:
    """Run, resume or merely read a cell. Returns its folder and result. Raises UserError with one line to read."""
    return run_group([name], runtime)[0]


def run_group(names: Sequence[CellName], runtime: Runtime) -> list[tuple[Path, RunResult]]:
    """Run cells that differ in the head's seed alone: all their learning rates and seeds train on the same batches.

    Returns folder and result of each, in order. Raises UserError as `run_cell`."""
    first = Cell(names[0], runtime)
    cells = [first, *(first.with_seed(name.seed) for name in names[1:] if first.head.trainable)]
    with ExitStack() as locks:
        for cell in cells:
            locks.enter_context(cell.locked())
        try:
            cell_training.train([cell for cell in cells if not cell.up_to_date()], None)
            return [(cell.folder, cell.run()) for cell in cells]
        except UserError as error:
            for cell in cells:
                with suppress(UserError):  # a full disk, say: the first error is the one to read
                    if not (cell.folder / RESULT).exists():
                        atomic_write(cell.folder / "failed.txt", f"{error}\n".encode())
            raise


class Cell:
    """A cell with all its names resolved."""

    def __init__(self, name: CellName, runtime: Runtime):
        self.name, self.runtime, self.watch = name, runtime, Stopwatch()
        self.task, self.with_ood = resolve("tasks.catalogue:load")(name.task, name.suite)
        self.upstream = cell_upstream.Resolved(name.upstream, name.recipe_seed, runtime)
        self.head_name = name.head or self.task.default_head(self.upstream.level)
        self.preset_name = name.preset or name.suite
        self.preset = self._preset()
        self.head = build_head(self.head_name, self.preset.options, runtime.device)
        if self.upstream.level not in self.head.accepts:
            wanted, found = " or ".join(self.head.accepts), self.upstream.level
            raise UserError(
                f"head {self.head_name} wants an upstream of level {wanted}, {name.upstream} is of level {found}; "
                f"use --head {self.task.default_head(found)}"
            )
        self.upstream.check(self.task)
        s3prl_practice.check(runtime, self.task, self.head)
        self.data = resolve("tasks.catalogue:Data")(self.task)
        self.data.check_disjoint(self.head.trainable)
        resolve("tasks.classes:check")(self.task, self.data, self.with_ood)
        self.own_data: dict[str, str] = {}
        self._settle()

    def _settle(self) -> None:
        """The identity, and the folder that follows from it."""
        self.identity = self._identity()
        label = (
            f"{self.head_name}-{self.preset_name}-s{self.seed}-r{self.recipe_seed}-{identity_hash(self.identity)[:8]}"
        )
        safe = self.name.upstream.replace(":", "_")
        self.folder = self.runtime.out / self.name.suite / self.task.task / safe / label

    def with_seed(self, seed: int) -> Cell:
        """The same cell with another seed of the head, sharing what was built and read."""
        other = copy.copy(self)
        other.name = replace(self.name, seed=seed)
        other.watch = Stopwatch()
        other._settle()
        return other

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The cell's folder, held against other processes. Raises UserError where another one runs it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            where = f"results cannot go to {self.runtime.out} ({error.strerror})"
            raise UserError(f"{where}; choose another folder with --out") from error
        try:
            with FileLock(self.folder / "lock", timeout=0):
                yield
        except Timeout as error:
            raise UserError(
                f"{self.folder.name} is being run by another process; wait for it or look at `run.py status`"
            ) from error

    @property
    def recipe_seed(self) -> int:
        """A backbone was not post-trained by us: it is always 0."""
        return self.name.recipe_seed if self.upstream.base is not None or self.upstream.derived_from else 0

    @property
    def seed(self) -> int:
        """A training-free head has no seed: it is always 0."""
        return self.name.seed if self.head.trainable else 0

    def _preset(self) -> Preset:
        heads = self.task.heads
        if self.head_name not in heads:
            raise UserError(f"task {self.task.task} has no head {self.head_name!r}; it has {', '.join(sorted(heads))}")
        presets: dict[str, Preset] = heads[self.head_name].presets
        if self.preset_name not in presets:
            raise UserError(
                f"head {self.head_name} has no preset {self.preset_name!r}; it has {', '.join(sorted(presets))}"
            )
        return presets[self.preset_name]

    def _identity(self) -> dict[str, Any]:
        sha, embedded = resolve("tasks.catalogue:data_sha256"), resolve("tasks.catalogue:embedded")
        chain = resolve("tasks.catalogue:condition")(self.task, "train")
        own: dict[str, Any] = {"norm": NORM_VERSION} if self.task.kind == "words" else {}
        for split in self.task.ood:
            if split.kind == "R" and embedded(split, self.task.suite):  # of others: `cell_training.own_data`
                own[f"head of {split.name}"] = cell_training.head_data(self, split)
        return own | {
            "engine": ENGINE,
            "suite": self.task.suite,
            "task": self.task.task,
            "task_version": self.task.version,
            "metric": self.task.metric,
            "front_end": chain.version if chain else "",
            "train": sha(self.data.named("train")),
            "dev": sha(self.data.named("dev")),
            "upstream": self.name.upstream,
            "features": self.upstream.fingerprint,
            "recipe_seed": self.recipe_seed,
            "head": self.head_name,
            "preset": self.preset_name,
            "preset_values": self.preset.model_dump(mode="json"),
            "seed": self.seed,
        }

    def wanted(self) -> list[str]:
        return ["test", *(split.name for split in self.task.ood if self.with_ood)]

    def stale(self, done: Mapping[str, SplitResult]) -> list[str]:
        return [split for split in self.wanted() if split not in done or not self._current(split, done[split])]

    def up_to_date(self) -> bool:
        """A damaged result is not one: it is made again from what is left."""
        try:
            load_result(self.folder)
        except UserError:
            return False
        return not self.stale(self._finished()) and not self.lacks_practice()

    def lacks_practice(self) -> bool:
        """Is s3prl's figure wanted, and not there for the test as it is now?"""
        if not self.runtime.s3prl_practice:
            return False
        done = self._finished()
        return "test" in self.stale(done) or done["test"].as_s3prl is None

    def run(self) -> RunResult:
        """The result, with what is not done yet done. Call it while `locked`."""
        if self.up_to_date():
            return load_result(self.folder)
        done = self._finished()
        sealed = Sealed(self.data.named)
        state, chosen = cell_training.trained(self, None)
        sealed.freeze(chosen)
        for split in self.stale(done):
            done[split] = self._evaluate(split, state, chosen, sealed)
            self._keep_splits(done)
        if self.lacks_practice():
            done["test"] = s3prl_practice.add(self, done["test"], chosen, sealed)
            self._keep_splits(done)
        splits = {s: done[s] for s in ["test", *(o.name for o in self.task.ood)] if s in done}
        result = self._result(shared_labels(self.folder, splits, self.task.kind), state, chosen)
        save_result(self.folder, result)
        (self.folder / "failed.txt").unlink(missing_ok=True)
        s3prl_practice.forget(self.folder)
        return result

    # -- splits -----------------------------------------------------------------------------------------------------

    def _finished(self) -> dict[str, SplitResult]:
        """Splits that are scored and whose predictions and references are there; a damaged list counts for nothing."""
        try:
            saved = json.loads((self.folder / "splits.json").read_text())
            found = {name: SplitResult.model_validate(value) for name, value in saved.items()}
        except (OSError, ValueError, AttributeError):
            return {}
        files = (predictions_path, references_path)
        return {name: split for name, split in found.items() if all(of(self.folder, name).exists() for of in files)}

    def _keep_splits(self, done: Mapping[str, SplitResult]) -> None:
        text = json.dumps({name: split.model_dump(mode="json") for name, split in done.items()}, indent=1)
        atomic_write(self.folder / "splits.json", text.encode())

    def head_of(self, ood: OODSplit | None) -> Head:
        """The cell's head, or that of a kind-R split with options of its own."""
        if ood is None or not ood.options:
            return self.head
        return build_head(self.head_name, {**self.preset.options, **ood.options}, self.runtime.device)

    def _ood(self, split: str) -> OODSplit | None:
        return next((s for s in self.task.ood if s.name == split), None)

    def _current(self, split: str, result: SplitResult) -> bool:
        """Is a finished split still what its data and condition are now?"""
        chain = resolve("tasks.catalogue:condition")(self.task, split)
        found = (result.condition, result.head_data_sha256, result.data_sha256)
        sha = resolve("tasks.catalogue:data_sha256")
        own = cell_training.own_data(self, self._ood(split))
        return found == (chain.version if chain else "", own, sha(self.data.named(split)))

    def source(self, data: SplitData, condition_of: str, layers: list[int] | None, form: Form) -> Any:
        """Features of a split, made ready in the form that they will be read in."""
        chain = resolve("tasks.catalogue:condition")(self.task, condition_of)
        conditions = {u.id: chain for u in data.utterances} if chain else {}
        source = self.upstream.features(data.utterances, conditions, layers)
        source.prepare([u.id for u in data.utterances], form, f"{self.task.task}, features of {data.name}")
        return source

    def _evaluate(self, split: str, state: Mapping[str, Tensor], chosen: Selection, sealed: Sealed) -> SplitResult:
        ood = self._ood(split)
        layers = None if chosen.layer is None else [chosen.layer]
        if ood is not None and ood.kind == "R":
            state, own = cell_training.trained(self, ood)
            layers = None if own.layer is None else [own.layer]
        data = sealed.open(split)
        head = self.head_of(ood)
        with self.watch.phase("features"):
            source = self.source(data, split, layers, reads_test(head))
        chain = resolve("tasks.catalogue:condition")(self.task, split)
        with self.watch.phase("scoring"):
            return evaluate(
                head,
                state,
                source,
                data,
                self.folder,
                kind=ood.kind if ood else "ID",
                task_kind=self.task.kind,
                metric=self.task.metric,
                corpus="+".join(sorted({u.corpus for u in data.utterances})),
                condition=chain.version if chain else "",
                confounded=ood.confounded if ood else "",
                note=ood.shift if ood else self.task.test_shift,
                data_sha256=resolve("tasks.catalogue:data_sha256")(data),
                head_data_sha256=cell_training.own_data(self, ood),
            )

    # -- the result -------------------------------------------------------------------------------------------------

    def _result(self, splits: dict[str, SplitResult], state: Mapping[str, Tensor], chosen: Selection) -> RunResult:
        mix = state.get("featurizer.weights")
        return RunResult(
            suite=self.task.suite,
            task=self.task.task,
            upstream=self.upstream.info(),
            head=self.head_name,
            preset=self.preset_name,
            seed=self.seed,
            recipe_seed=self.recipe_seed,
            metric=self.task.metric,
            higher_is_better=self.task.higher_is_better,
            identity=self.identity,
            identity_hash=identity_hash(self.identity),
            selection=chosen,
            layer_weights=[] if mix is None else [round(float(w), 6) for w in torch.softmax(mix, 0)],
            splits=splits,
            provenance=provenance(self.watch, self.runtime.device, command(self, splits["test"])),
        )
