"""All tasks at a glance: what each upstream scores under each task's default head, what it loses out of domain, and how
far a task's heads agree on the order of upstreams. From published rows only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean
from typing import Any, Literal

import pandas as pd

from harness import superb_score
from harness.metrics import Metric, metric_named
from leaderboard.cells import PUBLISHED, Cell, GroupKey
from leaderboard.tables import Row, Values, our_extension, rows_of, seen_transcripts, trained_here

MIN_IN_COMMON = 4
"""Upstreams that two heads must share: an order of three says next to nothing."""
COUNTED_KINDS = ("Z", "C")
HEADS = ["suite", "task", "head_a", "preset_a", "head_b", "preset_b", "upstreams", "kendall_tau_b", "spearman"]


@dataclass(slots=True)
class Board:
    """A task under its default head."""

    suite: str
    task: str
    head: str
    preset: str
    rows: dict[str, Row]
    """By upstream."""

    @property
    def first(self) -> Cell:
        return next(iter(self.rows.values())).first

    @property
    def metric(self) -> Metric:
        return metric_named(self.first.result.metric)

    def splits(self, kind: str, confounded: bool = False) -> list[str]:
        """Names of the OOD splits of a kind: those a mean drop counts, or those left out as confounded."""
        found: dict[str, bool] = {}
        for row in self.rows.values():
            for name, split in row.first.result.splits.items():
                if split.kind == kind:
                    found[name] = found.get(name, False) or bool(split.confounded)
        return sorted(name for name, flagged in found.items() if flagged == confounded)

    def value(self, upstream: str) -> float | None:
        row = self.rows.get(upstream)
        return None if row is None else row.score(row.first.id_split)

    def trained(self) -> set[str]:
        """Upstreams that were trained on a corpus of the task."""
        return {name for name, row in self.rows.items() if trained_here(row.first)}

    def drop(self, upstream: str, kind: str) -> float | None:
        """Mean drop over the splits that count; None where the upstream lacks one, as the mean would be another."""
        row, splits = self.rows.get(upstream), self.splits(kind)
        if row is None or not splits or not all(row.has(split) for split in splits):
            return None
        return mean(row.drop(split) for split in splits)


def _published(cells: Sequence[Cell]) -> dict[GroupKey, dict[str, Row]]:
    found = rows_of([cell for cell in cells if cell.source == PUBLISHED])
    return {key: {row.name: row for row in rows} for key, rows in found.items()}


def boards(cells: Sequence[Cell]) -> list[Board]:
    """One a suite and task, under its default head: trained heads before training-free ones, then the most upstreams,
    then the name."""
    found: dict[tuple[str, str], Board] = {}

    def order(board: Board) -> tuple[bool, int, str, str]:
        return board.first.result.selection.lr is None, -len(board.rows), board.head, board.preset

    for key, rows in _published(cells).items():
        board = Board(*key, rows)
        kept = found.setdefault(key[:2], board)
        found[key[:2]] = min(kept, board, key=order)
    return [found[key] for key in sorted(found)]


def _upstreams(group: Sequence[Board]) -> list[Row]:
    """One row of each upstream: backbones first, then by family and name."""
    found: dict[str, Row] = {}
    for board in group:
        for name, row in board.rows.items():
            found.setdefault(name, row)

    def order(row: Row) -> tuple[bool, str, str]:
        family = row.first.result.upstream.family
        return family != "backbones", family, row.name

    return sorted(found.values(), key=order)


def overview(cells: Sequence[Cell]) -> list[Values]:
    """A suite each: its `columns` (in-domain; `values` by upstream, `best` the best of them), its `drops` (the same, by
    task and kind, with the `splits` that count), its `lines`, the upstreams, and its `scores` by upstream
    with the evidence of what they stand on (`harness/superb_score.py`)."""
    suites: dict[str, list[Board]] = defaultdict(list)
    for board in boards(cells):
        suites[board.suite].append(board)
    found: list[Values] = []
    for suite, group in suites.items():
        rows = _upstreams(group)
        columns, drops = [], []
        for board in group:
            values = {row.name: board.value(row.name) for row in rows}
            known = [value for value in values.values() if value is not None]
            best = max(known) if board.metric.higher_is_better else min(known)
            inside = board.first.result.splits[board.first.id_split]
            columns.append({
                "task": board.task, "head": board.head, "preset": board.preset, "metric": board.metric,
                "values": values, "best": [name for name, value in values.items() if value == best],
                "trained": board.trained(),
                "upstreams": len(known), "speakers": inside.speakers, "trials": inside.expected,
                "counted": {kind: board.splits(kind) for kind in COUNTED_KINDS},
                "left_out": [name for kind in COUNTED_KINDS for name in board.splits(kind, confounded=True)],
            })  # fmt: skip
            for kind in COUNTED_KINDS:
                if splits := board.splits(kind):
                    drops.append({"task": board.task, "kind": kind, "metric": board.metric, "splits": splits,
                                  "values": {row.name: board.drop(row.name, kind) for row in rows}})  # fmt: skip
        lines = [
            {
                "upstream": row.name,
                "supervised": seen_transcripts(row.first),
                "contaminated": row.first.result.upstream.contaminated,
                "marks": our_extension(row.first),
            }
            for row in rows
        ]
        scores = _superb_scores(group, rows) if suite == superb_score.SUITE else {}
        found.append({"suite": suite, "columns": columns, "drops": drops, "lines": lines, "scores": scores,
                      "anchors": superb_score.EVIDENCE, "tag": superb_score.TAG})  # fmt: skip
    return found


def _superb_scores(group: Sequence[Board], rows: Sequence[Row]) -> dict[str, float]:
    """By upstream that has all six tasks."""
    found = {}
    for row in rows:
        cells = {board.task: (board.head, board.preset, board.value(row.name)) for board in group}
        value = superb_score.of_cells(cells)
        if value is not None:
            found[row.name] = value
    return found


def _correlation(first: list[float], second: list[float], method: Literal["kendall", "spearman"]) -> float | None:
    """None where one side gives every upstream the same score: it has no order to agree with."""
    if min(len(set(first)), len(set(second))) < 2:
        return None
    return float(pd.Series(first).corr(pd.Series(second), method=method))  # scipy's


def agreement(cells: Sequence[Cell]) -> pd.DataFrame:
    """How far two heads (or presets) of a task order the upstreams alike in-domain, a row each pair with 4 upstreams or
    more in common: Kendall's tau-b (Kendall 1945, "The treatment of ties in ranking problems") and Spearman's rank
    correlation, 1 for one order, -1 for the reverse; None where undefined."""
    tasks: dict[tuple[str, str], list[Board]] = defaultdict(list)
    for key, rows in _published(cells).items():
        tasks[key[:2]].append(Board(*key, rows))
    lines: list[list[Any]] = []
    for (suite, task), group in sorted(tasks.items()):
        for a, b in combinations(sorted(group, key=lambda board: (board.head, board.preset)), 2):
            common = sorted(set(a.rows) & set(b.rows))
            if len(common) < MIN_IN_COMMON:
                continue
            first, second = (
                [round(sign * board.rows[name].score(board.first.id_split), 9) for name in common]
                for board, sign in ((one, 1 if one.metric.higher_is_better else -1) for one in (a, b))
            )
            tau, rho = _correlation(first, second, "kendall"), _correlation(first, second, "spearman")
            lines.append([suite, task, a.head, a.preset, b.head, b.preset, len(common), tau, rho])
    return pd.DataFrame(lines, columns=HEADS, dtype=object)
