"""One cell of the leaderboard: upstream x task x head x seed, from features to result.json.

    train on train -> dev selects -> the test rows are unsealed -> predictions -> metrics -> result, written last

Killed at any point and run again it goes on where it was: features are stored one by one, training resumes from its
last evaluation, finished splits are kept. A finished cell is only read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from harness import cell_upstream, selection
from harness.config import OODSplit, Preset, Runtime
from harness.contracts import Head, SplitData, TrialSpec
from harness.errors import UserError
from harness.evaluate import evaluate
from harness.features import LayerView
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
from harness.train import Outcome, fit

ENGINE = 1
"""Raised when the harness itself changes what a cell's figures are."""
PROBE = "cosine"
"""The training-free head that picks the layer of a `+dev` upstream."""


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
    cell = Cell(name, runtime)
    try:
        cell.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = f"results cannot go to {runtime.out} ({error.strerror})"
        raise UserError(f"{where}; choose another folder with --out") from error
    try:
        with FileLock(cell.folder / "lock", timeout=0):
            try:
                return cell.folder, cell.run()
            except UserError as error:
                atomic_write(cell.folder / "failed.txt", f"{error}\n".encode())
                raise
    except Timeout as error:
        raise UserError(
            f"{cell.folder.name} is being run by another process; wait for it or look at `run.py status`"
        ) from error


class Cell:
    """A cell with all its names resolved."""

    def __init__(self, name: CellName, runtime: Runtime):
        self.name, self.runtime, self.watch = name, runtime, Stopwatch()
        self.task, self.with_ood = resolve("tasks.catalogue:load")(name.task, name.suite)
        self.upstream = cell_upstream.Resolved(name.upstream, name.recipe_seed, runtime)
        self.head_name = name.head or self.task.default_head(self.upstream.level)
        self.preset_name = name.preset or name.suite
        self.preset = self._preset()
        self.head: Head = resolve("downstreams.catalogue:HEADS").load(self.head_name)(
            self.preset.options, runtime.device
        )
        if self.upstream.level not in self.head.accepts:
            wanted, found = " or ".join(self.head.accepts), self.upstream.level
            raise UserError(
                f"head {self.head_name} wants an upstream of level {wanted}, {name.upstream} is of level {found}; "
                f"use --head {self.task.default_head(found)}"
            )
        self.data = resolve("tasks.catalogue:Data")(self.task)
        self.data.check_disjoint()
        self.identity = self._identity()
        label = (
            f"{self.head_name}-{self.preset_name}-s{self.seed}-r{self.recipe_seed}-{identity_hash(self.identity)[:8]}"
        )
        safe = name.upstream.replace(":", "_")
        self.folder = runtime.out / name.suite / self.task.task / safe / label

    @property
    def recipe_seed(self) -> int:
        """A backbone was not post-trained by us: it is always 0."""
        return self.name.recipe_seed if self.upstream.base is not None else 0

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
        sha, condition = resolve("tasks.catalogue:data_sha256"), resolve("tasks.catalogue:condition")
        chain = condition(self.task, "train")
        return {
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

    def run(self) -> RunResult:
        done = self._finished()
        stale = [split for split in self.wanted() if split not in done or not self._current(split, done[split])]
        if not stale and (self.folder / RESULT).exists():
            return load_result(self.folder)
        sealed = Sealed(self.data.named)
        state, chosen = self._trained()
        sealed.freeze(chosen)
        for split in stale:
            done[split] = self._evaluate(split, state, chosen, sealed)
            self._keep_splits(done)
        result = self._result(
            {s: done[s] for s in ["test", *(o.name for o in self.task.ood)] if s in done}, state, chosen
        )
        save_result(self.folder, result)
        (self.folder / "failed.txt").unlink(missing_ok=True)
        (self.folder / "training.pt").unlink(missing_ok=True)
        return result

    # -- splits -----------------------------------------------------------------------------------------------------

    def _finished(self) -> dict[str, SplitResult]:
        path = self.folder / "splits.json"
        if not path.exists():
            return {}
        saved = json.loads(path.read_text())
        return {name: SplitResult.model_validate(value) for name, value in saved.items()}

    def _keep_splits(self, done: Mapping[str, SplitResult]) -> None:
        text = json.dumps({name: split.model_dump(mode="json") for name, split in done.items()}, indent=1)
        atomic_write(self.folder / "splits.json", text.encode())

    def _ood(self, split: str) -> OODSplit | None:
        return next((s for s in self.task.ood if s.name == split), None)

    def _current(self, split: str, result: SplitResult) -> bool:
        """Is a finished split still what its data and condition are now?"""
        chain = resolve("tasks.catalogue:condition")(self.task, split)
        version = chain.version if chain else ""
        return result.condition == version and result.data_sha256 == resolve("tasks.catalogue:data_sha256")(
            self.data.named(split)
        )

    def _source(self, data: SplitData, condition_of: str, layers: list[int] | None) -> Any:
        chain = resolve("tasks.catalogue:condition")(self.task, condition_of)
        conditions = {u.id: chain for u in data.utterances} if chain else {}
        source = self.upstream.features(data.utterances, conditions, layers)
        source.prepare([u.id for u in data.utterances], self.head.reads, f"features of {data.name}")
        return source

    def _evaluate(self, split: str, state: Mapping[str, Tensor], chosen: Selection, sealed: Sealed) -> SplitResult:
        ood = self._ood(split)
        layers = None if chosen.layer is None else [chosen.layer]
        if ood is not None and ood.kind == "R":
            state, own = self._trained(ood)
            layers = None if own.layer is None else [own.layer]
        data = sealed.open(split)
        with self.watch.phase("features"):
            source = self._source(data, split, layers)
        chain = resolve("tasks.catalogue:condition")(self.task, split)
        with self.watch.phase("scoring"):
            return evaluate(
                self.head,
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
            )

    # -- training ---------------------------------------------------------------------------------------------------

    def _trained(self, ood: OODSplit | None = None) -> tuple[dict[str, Tensor], Selection]:
        """The selected head, trained now or earlier. `ood`: the head of a kind-R split, on its own train and dev."""
        suffix = f"-{ood.name}" if ood else ""
        earlier = selection.load(self.folder, suffix)
        if earlier is not None:
            return earlier
        dev = self.data.named("dev") if ood is None else self.data.split("dev", ood.dev)
        with self.watch.phase("features"):
            source = self._source(dev, "dev", None)
        layer = None
        if self.upstream.view == "dev":
            probe: Head = resolve("downstreams.catalogue:HEADS").load(PROBE)({}, self.runtime.device)
            layer = selection.best_layer(probe, source, dev)
            source = LayerView(source, [layer])
        state: dict[str, Tensor] = {}
        if self.head.trainable:
            outcomes = self._fit(source, dev, layer, ood, suffix)
            state, chosen = selection.of_trials(outcomes, self.task.metric, layer)
        else:
            chosen = selection.of_untrained(self.head.dev({}, source, dev), self.task.metric, layer)
        selection.save(self.folder, suffix, state, chosen)
        return state, chosen

    def _fit(
        self, dev_source: Any, dev: SplitData, layer: int | None, ood: OODSplit | None, suffix: str
    ) -> list[Outcome]:
        plan = self.preset.plan
        if plan is None or not self.preset.lrs:
            raise UserError(f"preset {self.preset_name} of head {self.head_name} wants `plan` and `lrs`")
        train = self.data.named("train") if ood is None else self.data.split("train", ood.train)
        with self.watch.phase("features"):
            source = self._source(train, "train", None if layer is None else [layer])
        specs = [TrialSpec(lr, self.seed) for lr in self.preset.lrs]
        learner = self.head.learner(source, train, specs)
        with self.watch.phase("training"):
            return fit(
                learner,
                specs,
                lambda step, micro: self.head.batch(source, train, step * plan.accumulate + micro),
                lambda k: self.head.dev(learner.state(k), dev_source, dev),
                plan,
                checkpoint=self.folder / f"training{suffix}.pt",
                identity=identity_hash(self.identity) + suffix,
                what=f"{self.head_name}, {len(specs)} learning rates",
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
            provenance=provenance(self.watch, self.runtime.device, self._command()),
        )

    def _command(self) -> str:
        name = self.name
        parts = ["python harness/run.py -u", name.upstream, "-d", f"{self.task.task}_ood", "--suite", name.suite]
        parts += ["--head", self.head_name, "--preset", self.preset_name, "--seed", str(self.seed)]
        return " ".join([*parts, "--recipe-seed", str(self.recipe_seed)])
