"""A row against its own backbone in errors: selectivity, and the change on every task and split. Plain values.

An error is the metric where less is better, 100 minus the metric where more is. Selectivity is the share of the
backbone's errors that a stream takes away under the same head, (err_backbone - err) / err_backbone: 1 for no error
left, 0 for no change, negative for more errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.cost_record import Record
from harness.metrics import metric_named
from harness.metrics_frames import steps
from harness.results import read_references
from harness.uncertainty import percentile_interval
from leaderboard.aspects import own_training, trained_for
from leaderboard.cells import PUBLISHED, Cell, GroupKey
from leaderboard.exposure import exposure
from leaderboard.intervals import NO_INTERVAL, Range
from leaderboard.tables import Row, Values, backbone_name, find, rows_of

HEADROOM = 1 / 3
"""Below this share of the way from chance to no error the backbone counts as near chance."""
STREAM, CONTROL, BASELINE, BACKBONE = "stream", "random projection", "baseline", "backbone"
_CELL = ["suite", "task", "head", "preset"]
_WHO = ["upstream", "role", "family", "base", "level"]
SELECTIVITY = [
    *_CELL, *_WHO, "metric", "error", "backbone", "backbone_error", "chance_error", "near_chance",
    "selectivity", "low", "high", "trained_for", "contaminated", "shares", "speakers", "trials",
]  # fmt: skip
SUMMARY = ["gain_trained", "gain_elsewhere", "loss_elsewhere"]
DELTA = [
    *_CELL, "split", "kind", "confounded", *_WHO, "metric", "error", "backbone", "backbone_error",
    "fewer_errors", "low", "high", "verdict", "relative", "trained_for", *SUMMARY, "contaminated", "shares", "speakers",
    "trials",
]  # fmt: skip


def error(cell: Cell, value: Any) -> Any:
    """Of a metric's value or values, in per cent."""
    return 100.0 - value if cell.result.higher_is_better else value


def comparable(cell: Cell) -> bool:
    """Whether the metric is a percentage, so that it has an error and chance."""
    return metric_named(cell.result.metric).unit == "%"


def replicates(row: Row, split: str, mean_error: float | None = None) -> npt.NDArray[np.float64] | None:
    """The error in each draw, moved as `leaderboard/intervals.py` says to the mean over the seeds or to `mean_error`;
    None without predictions or with too few speakers."""
    found = row.first.replicates.get(split)
    if found is None:
        return None
    alone = error(row.first, row.first_score(split))
    wanted = error(row.first, row.score(split)) if mean_error is None else mean_error
    moved: npt.NDArray[np.float64] = np.maximum(error(row.first, found) + (wanted - alone), 0.0)
    return moved


def chance_error(cell: Cell, split: str) -> float:
    """The error, in per cent, of an answer that ignores the audio: 50 for an EER; for classes and for phones in time,
    that of always saying the most frequent one of the test; 100 for words and phones in order (nothing said, so
    everything is deleted)."""
    return _chance(cell.references[split], cell.kind)


@lru_cache(maxsize=512)
def _chance(references: Path, kind: str) -> float:
    if kind == "verification":
        return 50.0
    if kind not in ("classification", "frames"):
        return 100.0
    said = list(read_references(references)["reference"])
    if kind == "frames":
        _, said, _ = steps(said, said)
    return 100.0 * (1 - max(Counter(said).values()) / len(said))


def near_chance(row: Row, split: str) -> bool:
    """Whether errors are fewer than chance's by less than a third, or their interval reaches chance."""
    cell, chance = row.first, chance_error(row.first, split)
    drawn = replicates(row, split)
    reaches = drawn is not None and percentile_interval(drawn).high >= chance
    return reaches or error(cell, row.score(split)) > (1 - HEADROOM) * chance


@dataclass(frozen=True, slots=True)
class Contrast:
    """Errors of a row and its backbone, in per cent, over the head seeds that both have (else over all of each)."""

    error: float
    backbone_error: float
    range: Range
    """Of the difference, backbone minus row."""
    relative_range: Range

    @property
    def fewer(self) -> float:
        return self.backbone_error - self.error

    @property
    def relative(self) -> float | None:
        """Selectivity; None where the backbone makes no error."""
        return self.fewer / self.backbone_error if self.backbone_error else None

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval excludes 0."""
        low, high = self.range
        if not isinstance(low, float) or not isinstance(high, float) or low <= 0 <= high:
            return ""
        return "better" if low > 0 else "worse"


def contrast(row: Row, backbone: Row, split: str) -> Contrast:
    """Paired on the same trials; intervals with both in the same draws of speakers."""
    metric = row.first.result.metric
    same = {cell.result.seed: cell.result.splits[split].metrics[metric] for cell in reversed(backbone.cells)}
    both = [cell for cell in row.cells if cell.result.seed in same]
    if both:
        mine = mean(cell.result.splits[split].metrics[metric] for cell in both)
        theirs = mean(same[cell.result.seed] for cell in both)
    else:
        mine, theirs = row.score(split), backbone.score(split)
    mine, theirs = error(row.first, mine), error(backbone.first, theirs)
    return Contrast(mine, theirs, *_ranges(row, backbone, split, mine, theirs))


def _ranges(row: Row, backbone: Row, split: str, mine: float, theirs: float) -> tuple[Range, Range]:
    if split not in row.first.replicates or split not in backbone.first.replicates:
        return (None, None), (None, None)
    drawn, below = replicates(row, split, mine), replicates(backbone, split, theirs)
    if drawn is None or below is None:
        return (NO_INTERVAL, NO_INTERVAL), (NO_INTERVAL, NO_INTERVAL)
    found = percentile_interval(below - drawn)
    if not below.all():
        return (found.low, found.high), (NO_INTERVAL, NO_INTERVAL)
    share = percentile_interval((below - drawn) / below)
    return (found.low, found.high), (share.low, share.high)


def role(row: Row, backbone: Row) -> str:
    """What a row with a backbone is: another reading of it, a random map on it, or a post-trained stream."""
    if row.first.result.upstream.family == backbone.first.result.upstream.family:
        return BASELINE
    return STREAM if own_training(row.first, backbone.first) else CONTROL


def published(cells: Sequence[Cell]) -> dict[GroupKey, list[Row]]:
    """Rows by group, of metrics that have an error."""
    found = rows_of([cell for cell in cells if cell.source == PUBLISHED])
    return {key: rows for key, rows in found.items() if comparable(rows[0].first)}


def pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Each row of a group that has a backbone there, and that backbone."""
    found = [(row, find(rows, backbone_name(row.first), row.source)) for row in rows]
    return [(row, backbone) for row, backbone in found if backbone is not None]


def _line(row: Row, backbone: Row | None, split: str, record: Record | None) -> Values:
    cell = row.first
    result, scored = cell.result, cell.result.splits[split]
    found = exposure(cell, split, record)
    values: Values = dict(zip(_CELL, cell.group, strict=True)) | {
        "upstream": row.name,
        "role": BACKBONE if backbone is None else role(row, backbone),
        "family": result.upstream.family,
        "base": result.upstream.base,
        "level": result.upstream.level,
        "metric": result.metric,
        "speakers": scored.speakers,
        "trials": scored.expected,
        "contaminated": found.answer,
        "shares": found.text,
    }
    if backbone is None:
        return values | {"error": error(cell, row.score(split))}
    training = own_training(cell, backbone.first)
    corpora = result.splits[cell.id_split].corpus.split("+")
    return values | {
        "backbone": backbone.name,
        "trained_for": "yes" if trained_for(row.name, training, result.task, corpora) else "no",
    }


def selectivity(cells: Sequence[Cell], records: Mapping[str, Record]) -> pd.DataFrame:
    """One row an upstream that has a backbone, and one each backbone, in-domain, by suite, task, head and preset."""
    lines: list[Values] = []
    for rows in published(cells).values():
        against = pairs(rows)
        for backbone in {other.name: other for _, other in against}.values():
            split = backbone.first.id_split
            line = _line(backbone, None, split, records.get(backbone.name))
            line |= {"backbone": backbone.name, "backbone_error": line["error"], "selectivity": 0.0}
            lines.append(line | _chance_of(backbone, split))
        for row, backbone in against:
            split = row.first.id_split
            found = contrast(row, backbone, split)
            line = _line(row, backbone, split, records.get(row.name)) | _chance_of(backbone, split)
            line |= {"error": found.error, "backbone_error": found.backbone_error, "selectivity": found.relative}
            line["low"], line["high"] = found.relative_range
            lines.append(line)
    return _frame(lines, SELECTIVITY)


def _chance_of(backbone: Row, split: str) -> Values:
    near = near_chance(backbone, split)
    return {"chance_error": chance_error(backbone.first, split), "near_chance": "yes" if near else "no"}


def delta(cells: Sequence[Cell], records: Mapping[str, Record], heads: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """One row a post-trained stream or random projection, task, head and split. `heads`: by suite and task the head and
    preset, joined by a space, that the three columns of the summary are taken under."""
    lines: list[Values] = []
    for rows in published(cells).values():
        for row, backbone in pairs(rows):
            if role(row, backbone) == BASELINE:
                continue
            for split, scored in row.first.result.splits.items():
                if row.has(split) and backbone.has(split):
                    lines.append(
                        _line(row, backbone, split, records.get(row.name))
                        | {"split": split, "kind": scored.kind, "confounded": scored.confounded}
                        | _change(contrast(row, backbone, split))
                    )
    for scope in (("ID",), ("Z", "C"), ("R",)):
        _summarise([line for line in lines if line["kind"] in scope], heads)
    return _frame(lines, DELTA)


def _change(found: Contrast) -> Values:
    low, high = found.range
    return {"error": found.error, "backbone_error": found.backbone_error, "fewer_errors": found.fewer, "low": low,
            "high": high, "verdict": found.verdict, "relative": found.relative}  # fmt: skip


def _summarise(lines: Sequence[Values], heads: Mapping[tuple[str, str], str]) -> None:
    """Puts the three columns in: means over tasks of `relative` (of its mean over the task's splits that are not
    confounded) where the upstream was trained for the task, and of its positive and negative part elsewhere."""
    counted: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = {}
    for line in lines:
        default = heads.get((line["suite"], line["task"])) == f"{line['head']} {line['preset']}"
        if default and not line["confounded"] and line["relative"] is not None:
            tasks = counted.setdefault((line["suite"], line["upstream"]), {})
            tasks.setdefault((line["task"], line["trained_for"]), []).append(line["relative"])
    for line in lines:
        tasks = counted.get((line["suite"], line["upstream"]), {})
        trained = [mean(values) for (_, answer), values in tasks.items() if answer == "yes"]
        elsewhere = [mean(values) for (_, answer), values in tasks.items() if answer == "no"]
        line["gain_trained"] = mean(trained) if trained else None
        line["gain_elsewhere"] = mean(max(value, 0.0) for value in elsewhere) if elsewhere else None
        line["loss_elsewhere"] = mean(min(value, 0.0) for value in elsewhere) if elsewhere else None


def _frame(lines: list[Values], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame([[line.get(name) for name in columns] for line in lines], columns=columns, dtype=object)
