"""Finished cells, read from disk and checked: the schema, the checksums, and every metric computed again.

A published result keeps its predictions for the first seed only, and its reference tables once for all, under
`references/<sha256>.csv.gz` beside `results/`. A run of yours has both beside its `result.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness import metrics, metrics_classes, metrics_sequences, statistics_by_metric, uncertainty
from harness.errors import UserError
from harness.paths import cache_dir
from harness.results import (
    RESULT,
    BestCheckpoint,
    RunResult,
    SplitResult,
    atomic_write,
    content_sha256,
    load_result,
    read_predictions,
    read_references,
)
from harness.wording import counted
from leaderboard import s3prl_practice

PUBLISHED, YOURS = "published", "yours"
FIRST = 0, 0
"""Head seed and recipe seed of the cells that are published with their predictions."""
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+@:-]*$")
GroupKey = tuple[str, str, str, str]
"""suite, task, head, preset: what is ranked together."""


@dataclass(slots=True, eq=False)
class Cell:
    """A result and where its tables are. `predictions` is empty for a seed published without them."""

    folder: Path
    result: RunResult
    source: str
    references: dict[str, Path]
    predictions: dict[str, Path]
    replicates: dict[str, npt.NDArray[np.float64] | None] = field(default_factory=dict)
    """The metric in each draw of speakers, by split; None with fewer than 8 of them."""
    speakers: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def group(self) -> GroupKey:
        return self.result.suite, self.result.task, self.result.head, self.result.preset

    @property
    def key(self) -> tuple[str, ...]:
        return (
            self.source,
            *self.group,
            self.result.upstream.name,
            str(self.result.seed),
            str(self.result.recipe_seed),
        )

    @property
    def kind(self) -> str:
        return metrics.metric_named(self.result.metric).kind

    @property
    def id_split(self) -> str:
        return next(name for name, split in self.result.splits.items() if split.kind == "ID")

    @property
    def as_s3prl(self) -> BestCheckpoint | None:
        return self.result.splits[self.id_split].as_s3prl

    def figures(self) -> dict[str, Any]:
        """What makes two results of one cell the same: scores and what they were computed from; `as_s3prl` may come to
        a cell later."""
        return {name: (split.metrics, split.id_shared, split.predictions_sha256, split.references_sha256)
                for name, split in self.result.splits.items()}  # fmt: skip

    def tables(self, split: str) -> tuple[dict[str, dict[str, Any]], Any]:
        return read_predictions(self.predictions[split]), read_references(self.references[split])

    def inside_of(self, split: str) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
        """The in-domain tables that a split's drop is from: those of its own classes alone where it has fewer."""
        rows, references = self.tables(self.id_split)
        if not self.result.splits[split].id_shared:
            return rows, references
        kept = metrics.restricted(references, read_references(self.references[split])["reference"])
        return {name: rows[name] for name in kept["id"]}, kept


def check_names(result: RunResult, where: Path) -> None:
    """Names become paths. Raises UserError for one that could leave its folder."""
    named = {"suite": result.suite, "task": result.task, "head": result.head, "preset": result.preset,
             "upstream": result.upstream.name} | {f"split {name}": name for name in result.splits}  # fmt: skip
    for what, name in named.items():
        if not NAME.match(name):
            raise UserError(f"{where}: a {what} name of letters, digits and _.+@:- wanted, found {name!r}")
    if result.task.lower() in ("readme", "selectivity", "columns"):
        raise UserError(f"{where}: a task name wanted, found {result.task!r}, the name of another page; rename it")


def read_cell(folder: Path, source: str, shared_references: Path | None = None) -> Cell:
    """As `_read_cell`; in one process a folder that has not changed is read once."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stamp = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _read_cell(folder, source, shared_references, stamp)


@lru_cache(maxsize=4096)
def _read_cell(folder: Path, source: str, shared_references: Path | None, stamp: object) -> Cell:
    """The cell in a folder, with its checksums verified and its metrics computed again from the predictions.

    Raises UserError for anything missing, altered, partial or that does not agree with the stored figures."""
    result = load_result(folder)
    check_names(result, folder)
    kinds = [split.kind for split in result.splits.values()]
    if kinds.count("ID") != 1:
        raise UserError(f"{folder}: one in-domain split wanted, found {kinds.count('ID')}; run the cell again")
    metric = metrics.metric_named(result.metric)
    if metric.higher_is_better != result.higher_is_better:
        raise UserError(f"{folder}: higher_is_better is {result.higher_is_better}, which is wrong for {metric.name}")
    trials = result.selection.trials
    if trials and all(trial.status == "diverged" for trial in trials):
        raise UserError(f"{folder}: every learning rate diverged, so the cell failed; a failure has no score")
    cell = Cell(folder, result, source, {}, {})
    for name, split in result.splits.items():
        _check_split(cell, name, split, shared_references)
    if cell.predictions and len(cell.predictions) != len(result.splits):
        lacking = sorted(set(result.splits) - set(cell.predictions))
        raise UserError(f"{folder}: predictions of every split wanted, none for {', '.join(lacking)}; run it again")
    for name, split in result.splits.items():
        _check_shared(cell, name, split)
        s3prl_practice.check(result, name, f"{folder}, split {name}")
    return cell


def _check_split(cell: Cell, name: str, split: SplitResult, shared: Path | None) -> None:
    where = f"{cell.folder}, split {name}"
    if cell.result.metric not in split.metrics:
        raise UserError(f"{where}: {cell.result.metric} wanted, found only {', '.join(split.metrics) or 'nothing'}")
    references = cell.folder / "references" / f"{name}.csv.gz"
    if not references.exists() and shared is not None:
        references = shared / f"{split.references_sha256}.csv.gz"
    predictions = cell.folder / "predictions" / f"{name}.jsonl.gz"
    for what, path, wanted in (
        ("references", references, split.references_sha256),
        ("predictions", predictions, split.predictions_sha256),
    ):
        if not path.exists():
            if what == "predictions":
                continue
            raise UserError(f"{where}: its references ({path.name}) are missing; run the cell again")
        if content_sha256(path) != wanted:
            raise UserError(f"{where}: the {what} are not those that were scored (checksum); run the cell again")
    cell.references[name] = references
    if predictions.exists():
        cell.predictions[name] = predictions
        _recompute(cell, name, split, where)


def _recompute(cell: Cell, name: str, split: SplitResult, where: str) -> None:
    rows, references = cell.tables(name)
    if len(rows) != split.expected or len(references) != split.expected:
        raise UserError(f"{where}: {split.expected} predictions expected, found {len(rows)} for {len(references)} "
                        "references; a partial cell is not a result, run it again")  # fmt: skip
    _agree(split.metrics, metrics.score(cell.kind, rows, references), where, "")
    values = [row["score"] for row in rows.values() if "score" in row]
    if len(values) > 1 and min(values) == max(values):
        raise UserError(
            f"{where}: all {len(values)} scores are {values[0]}, so the head failed; a failure has no score"
        )
    stat = statistics_by_metric.statistic(cell.result.metric, rows, references)
    if len(stat.speakers) != split.speakers:
        raise UserError(
            f"{where}: {counted(split.speakers, 'speaker')} stored, the references name {len(stat.speakers)}; "
            "run it again"
        )
    cell.speakers[name] = frozenset(stat.speakers)
    cell.replicates[name] = (
        _replicates(cell.result.metric, split, rows, references)
        if len(stat.speakers) >= uncertainty.MIN_SPEAKERS
        else None
    )


def _agree(stored: Mapping[str, float], computed: Mapping[str, float], where: str, what: str) -> None:
    for metric in sorted(set(computed) | set(stored)):
        one, other = stored.get(metric, math.nan), computed.get(metric, math.nan)
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9):
            raise UserError(
                f"{where}: {what}{metric} is stored as {one} but its predictions give {other}; score it again"
            )


def _check_shared(cell: Cell, name: str, split: SplitResult) -> None:
    """`id_shared` stands where the split has fewer classes than the in-domain one and nowhere else, with the figures
    that the in-domain predictions give on those classes."""
    where = f"{cell.folder}, split {name}"
    fewer = False
    if cell.kind == "classification" and split.kind not in ("ID", "R"):
        mine, inside = (set(read_references(cell.references[one])["reference"]) for one in (name, cell.id_split))
        if mine - inside:
            raise UserError(
                f"{where}: classes of the in-domain test wanted, found {min(mine - inside)!r} too; repair the split"
            )
        fewer = mine != inside
    if fewer != bool(split.id_shared):
        wanted = "the in-domain score on this split's classes" if fewer else "no in-domain score on fewer classes"
        raise UserError(f"{where}: {wanted} (id_shared) wanted, found {split.id_shared or 'none'}; run the cell again")
    if fewer and cell.result.metric not in split.id_shared:
        raise UserError(f"{where}: id_shared with {cell.result.metric} wanted, found {', '.join(split.id_shared)}; "
                        "run the cell again")  # fmt: skip
    if fewer and cell.predictions:
        _agree(split.id_shared, metrics.score(cell.kind, *cell.inside_of(name)), where, "in-domain, same classes, ")


@cache
def _code() -> str:
    parts = (metrics, metrics_classes, metrics_sequences, statistics_by_metric, uncertainty)
    return hashlib.sha256(b"".join(Path(str(part.__file__)).read_bytes() for part in parts)).hexdigest()


def _replicates(metric: str, split: SplitResult, rows: Any, references: Any) -> npt.NDArray[np.float64] | None:
    """Kept in the user's cache, since they follow from the two tables and this code alone."""
    name = f"{metric} {split.predictions_sha256} {split.references_sha256} {uncertainty.DRAWS} {_code()}"
    path = cache_dir() / "replicates" / f"{hashlib.sha256(name.encode()).hexdigest()}.npy"
    try:
        kept: npt.NDArray[np.float64] = np.load(path, allow_pickle=False)
        if kept.shape == (uncertainty.DRAWS,) and np.isfinite(kept).all():
            return kept
    except (OSError, ValueError, EOFError):
        pass  # not kept yet, or damaged: computed below
    resampled = uncertainty.replicates(metric, rows, references)
    if resampled is None:
        return None
    buffer = io.BytesIO()
    np.save(buffer, resampled.values, allow_pickle=False)
    # a home that cannot be written to costs the next build its time, not this one its result
    with contextlib.suppress(UserError):
        atomic_write(path, buffer.getvalue())
    return resampled.values


def read_root(root: Path, source: str, under: str = "") -> list[Cell]:
    """All finished cells under a folder, or under one in it; a cell without `result.json` is not finished and is
    passed over."""
    shared = root.parent / "references" if source == PUBLISHED else None
    folders = sorted(path.parent for path in (root / under).rglob(RESULT)) if (root / under).is_dir() else []
    cells = [read_cell(folder, source, shared) for folder in folders]
    for cell in cells if source == PUBLISHED else []:
        if (cell.result.seed, cell.result.recipe_seed) == FIRST and not cell.predictions:
            raise UserError(f"{cell.folder}: the first seed's predictions wanted, found none; put them back")
    return cells


def without_duplicates(cells: list[Cell]) -> list[Cell]:
    """One cell a key. Raises UserError where a published one is there twice with different figures; of your own runs
    the latest counts."""
    kept: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        other = kept.get(cell.key)
        if other is None:
            kept[cell.key] = cell
        elif cell.source == YOURS:
            kept[cell.key] = max(other, cell, key=lambda one: one.result.provenance.started)
        elif cell.figures() != other.figures() or cell.as_s3prl != other.as_s3prl:
            raise UserError(f"one result a cell wanted, {cell.folder} and {other.folder} differ; remove the wrong one")
    return list(kept.values())


def check_groups(cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    """The cells that can be ranked together, and a line on each of yours that cannot.

    Raises UserError where published cells of a group differ in their splits or lists, or seeds of a row in weights."""
    first: dict[GroupKey, Cell] = {}
    prints: dict[tuple[str, ...], Cell] = {}
    kept: list[Cell] = []
    notices: list[str] = []
    for cell in sorted(cells, key=lambda one: one.source != PUBLISHED):
        reason = _mismatch(cell, first.setdefault(cell.group, cell), prints)
        if reason is None:
            kept.append(cell)
        elif cell.source == PUBLISHED:
            raise UserError(reason)
        else:
            notices.append(f"left out: {reason}")
    return kept, notices


def _mismatch(cell: Cell, other: Cell, prints: dict[tuple[str, ...], Cell]) -> str | None:
    mine, theirs = cell.result.splits, other.result.splits
    if cell.source == PUBLISHED and set(mine) != set(theirs):
        differ = ", ".join(sorted(set(mine) ^ set(theirs)))
        less, more = sorted((cell, other), key=lambda one: len(one.result.splits))
        lacking = f"{less.folder} is a partial cell, {differ} of {more.folder} not in it"
        return f"{lacking}; run it again with `-d {cell.result.task}_ood`"
    for name in sorted(set(mine) & set(theirs)):
        if mine[name].references_sha256 != theirs[name].references_sha256 or mine[name].kind != theirs[name].kind:
            return f"{cell.folder} and {other.folder} were scored on different lists of {name}; run the older one again"
    if cell.result.metric != other.result.metric:
        one, two = cell.result.metric, other.result.metric
        return f"{cell.folder} reports {one}, {other.folder} {two}; run the older one again"
    twin = prints.setdefault((*cell.key[:-2], str(cell.result.recipe_seed)), cell)
    if twin.result.upstream.fingerprint != cell.result.upstream.fingerprint:
        return f"{cell.folder} and {twin.folder} are seeds of one row but of different weights; run the older one again"
    return None


def collect(roots: list[Path], beside: bool = False) -> tuple[list[Cell], list[str]]:
    """The cells under `roots` (the first holds the published ones, any others yours), and what was left out. `beside`:
    of the published ones only those of tasks that are among yours, since reading them all takes a minute."""
    yours = [cell for root in roots[1:] for cell in read_root(root, YOURS)]
    parts = sorted({f"{cell.result.suite}/{cell.result.task}" for cell in yours}) if beside else [""]
    published = [cell for part in parts for cell in read_root(roots[0], PUBLISHED, part)]
    return check_groups(without_duplicates(published + yours))
