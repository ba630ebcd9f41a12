"""The two leaderboards as tables of plain values: numbers at full precision, None for empty, "n/a" for no interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import pandas as pd

from harness.wording import TRIAL
from leaderboard import s3prl_practice
from leaderboard.cells import Cell, GroupKey
from leaderboard.intervals import Range, difference_interval, drop_range, interval_of

OUR_EXTENSION = "our extension"
"""Said in an upstream's note where it goes beyond the published method."""
Values = dict[str, Any]

_WHO = ["upstream", "family", "base", "level"]
_END = ["speakers", "trials", "contaminated", "supervised", "marks", "source"]
FURTHER = (
    *("min_dcf_0.05", "min_dcf_0.01", "eer_same_language", "eer_same_channel", "eer_same_gender"),
    *("uar", "macro_f1", "cer"),
)
"""Metrics beside the main one, where a split has them."""
LEADERBOARD = [
    *(
        "suite",
        "task",
        "head",
        "preset",
        "rank",
        *_WHO,
        "metric",
        "value",
        "low",
        "high",
        "std",
        "seeds",
        "recipe_seeds",
    ),
    *(*FURTHER, "backbone", "difference", "difference_low", "difference_high", *_END),
]
OOD = [
    *("suite", "task", "head", "preset", "split", "kind", "corpus", "condition", *_WHO, "metric"),
    *(
        "id",
        "id_low",
        "id_high",
        "id_shared",
        "ood",
        "ood_low",
        "ood_high",
        "drop",
        "drop_low",
        "drop_high",
        "relative_drop",
        *FURTHER,
    ),
    *("rank_id", "rank_ood", "rank_change", "backbone", "difference", "difference_low", "difference_high"),
    *("confounded", *_END),
]


@dataclass(slots=True)
class Row:
    """All seeds of an upstream under one head."""

    cells: list[Cell]

    def __post_init__(self) -> None:
        self.cells.sort(key=lambda cell: (cell.result.seed, cell.result.recipe_seed))

    @property
    def first(self) -> Cell:
        """The cell whose predictions give the intervals: the lowest seed that kept them, else the lowest seed."""
        return next((cell for cell in self.cells if cell.predictions), self.cells[0])

    @property
    def name(self) -> str:
        return self.first.result.upstream.name

    @property
    def source(self) -> str:
        return self.first.source

    @property
    def higher_is_better(self) -> bool:
        return self.first.result.higher_is_better

    def has(self, split: str) -> bool:
        return all(split in cell.result.splits for cell in self.cells)

    def scores(self, split: str, metric: str | None = None) -> list[float]:
        found = [cell.result.splits[split].metrics.get(metric or cell.result.metric) for cell in self.cells]
        return [value for value in found if value is not None]

    def score(self, split: str) -> float:
        return mean(self.scores(split))

    def as_s3prl(self) -> float | None:
        """The mean EER of the checkpoints that are best on test; None unless all seeds have it, as the score beside it
        is the mean of all."""
        found = [cell.as_s3prl.eer_best_checkpoint for cell in self.cells if cell.as_s3prl]
        return mean(found) if len(found) == len(self.cells) else None

    def id_shared(self, split: str) -> float | None:
        """The in-domain score on the classes of a split that has fewer; None for a split that has all of them."""
        found = [cell.result.splits[split].id_shared.get(cell.result.metric) for cell in self.cells]
        known = [value for value in found if value is not None]
        return mean(known) if known else None

    def drop(self, split: str) -> float:
        """How much worse the split is than in-domain, on the same classes."""
        shared = self.id_shared(split)
        inside = self.score(self.first.id_split) if shared is None else shared
        return drop_of(inside, self.score(split), self.higher_is_better)

    def first_score(self, split: str) -> float:
        """Of the cell whose predictions give the intervals."""
        return self.first.result.splits[split].metrics[self.first.result.metric]

    def offset(self, split: str) -> float:
        """How far the mean over the seeds lies from `first_score`."""
        return self.score(split) - self.first_score(split)

    def interval(self, split: str) -> Range:
        return interval_of(self.first, split, self.offset(split))

    def drop_interval(self, split: str) -> Range:
        """Of `drop`."""
        alone = Row([self.first])
        return drop_range(self.first, split, self.drop(split) - alone.drop(split))


def difference(row: Row, backbone: Row, split: str) -> float:
    """Row minus backbone: the mean over the head seeds that both have, else the difference of their means."""
    metric = row.first.result.metric
    same = {cell.result.seed: cell.result.splits[split].metrics[metric] for cell in reversed(backbone.cells)}
    both = [cell for cell in row.cells if cell.result.seed in same]
    if not both:
        return row.score(split) - backbone.score(split)
    return mean(cell.result.splits[split].metrics[metric] - same[cell.result.seed] for cell in both)


def drop_of(inside: float, outside: float, higher_is_better: bool) -> float:
    return inside - outside if higher_is_better else outside - inside


def backbone_name(cell: Cell) -> str | None:
    """The row a difference is taken against: the learned mix under a trained head, the layer dev picks under a
    training-free one."""
    base = cell.result.upstream.base
    if base is None:
        return None
    name = base if cell.result.selection.lr is not None else f"{base}+dev"
    return None if name == cell.result.upstream.name else name


def rows_of(cells: Sequence[Cell]) -> dict[GroupKey, list[Row]]:
    found: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.key[:-2]].append(cell)
    groups: dict[GroupKey, list[Row]] = defaultdict(list)
    for key in sorted(found):
        row = Row(found[key])
        groups[row.first.group].append(row)
    return dict(sorted(groups.items()))


def find(rows: Sequence[Row], name: str | None, source: str) -> Row | None:
    """The row of that name; where there are two, the one of the same source."""
    named = [row for row in rows if row.name == name]
    return next((row for row in named if row.source == source), named[0] if named else None)


def rank(row: Row, rows: Sequence[Row], split: str) -> int:
    """1 is best; equal scores share a rank. An upstream counts once, though it may be published and yours."""
    others = [find(rows, name, row.source) for name in {other.name for other in rows} - {row.name}]
    mine = row.score(split)
    sign = 1 if row.higher_is_better else -1
    better = [other for other in others if other and other.has(split) and sign * (other.score(split) - mine) > 1e-9]
    return 1 + len(better)


def seen_transcripts(cell: Cell) -> str:
    return {True: "yes", False: "no", None: "unknown"}[cell.result.upstream.supervised]


def our_extension(cell: Cell) -> str:
    return OUR_EXTENSION if OUR_EXTENSION in cell.result.upstream.note.lower() else ""


def trained_here(cell: Cell) -> list[str]:
    """The corpora of the in-domain test that the upstream was trained on too, other rows of them or these."""
    seen = {line.rpartition(" (")[0] for line in cell.result.upstream.trained_on}
    return sorted(seen & set(cell.result.splits[cell.id_split].corpus.split("+")))


def marks(cell: Cell) -> str:
    shared = trained_here(cell)
    tried = "a trial: a few updates, no result" if cell.result.preset == TRIAL else ""
    return "; ".join(
        filter(None, [tried, our_extension(cell), f"trained on {', '.join(shared)}, as this task is" if shared else ""])
    )


def _common(row: Row, rows: Sequence[Row], split: str) -> Values:
    result = row.first.result
    upstream, scored = result.upstream, result.splits[split]
    values: Values = dict(zip(("suite", "task", "head", "preset"), row.first.group, strict=True))
    values |= {
        "upstream": upstream.name,
        "family": upstream.family,
        "base": upstream.base,
        "level": upstream.level,
        "metric": result.metric,
        "speakers": scored.speakers,
        "trials": scored.expected,
        "contaminated": upstream.contaminated,
        "supervised": seen_transcripts(row.first),
        "marks": marks(row.first),
        "source": row.source,
    }
    for name in FURTHER:
        further = row.scores(split, name)
        values[name] = mean(further) if further else None
    backbone = find(rows, backbone_name(row.first), row.source)
    if backbone is not None and backbone.has(split):
        found = difference(row, backbone, split)
        alone = row.first_score(split) - backbone.first_score(split)
        low, high = difference_interval(row.first, backbone.first, split, found - alone)
        values |= {
            "backbone": backbone.name,
            "difference": found,
            "difference_low": low,
            "difference_high": high,
        }
    return values


def _id_values(row: Row, rows: Sequence[Row]) -> Values:
    split = row.first.id_split
    values = _common(row, rows, split)
    scores = row.scores(split)
    values["rank"] = rank(row, rows, split)
    values["value"] = mean(scores)
    values["low"], values["high"] = row.interval(split)
    values["std"] = stdev(scores) if len(scores) > 1 else None
    values["seeds"] = len({cell.result.seed for cell in row.cells})
    values["recipe_seeds"] = len({cell.result.recipe_seed for cell in row.cells})
    values[s3prl_practice.COLUMN] = row.as_s3prl()
    return values


def _ood_values(row: Row, rows: Sequence[Row], split: str) -> Values:
    cell = row.first
    inside, scored = cell.id_split, cell.result.splits[split]
    values = _common(row, rows, split)
    values |= {"split": split, "kind": scored.kind, "corpus": scored.corpus, "condition": scored.condition}
    values |= {"id": row.score(inside), "ood": row.score(split), "confounded": scored.confounded}
    values["id_low"], values["id_high"] = row.interval(inside)
    values["ood_low"], values["ood_high"] = row.interval(split)
    if scored.kind != "R":
        values["drop"] = row.drop(split)
        values["drop_low"], values["drop_high"] = row.drop_interval(split)
        values["id_shared"] = row.id_shared(split)
        base = values["id"] if values["id_shared"] is None else values["id_shared"]
        values["relative_drop"] = values["drop"] / base if base else None
    values["rank_id"], values["rank_ood"] = rank(row, rows, inside), rank(row, rows, split)
    values["rank_change"] = values["rank_id"] - values["rank_ood"]
    return values


def _frame(rows: list[Values], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame([[row.get(name) for name in columns] for row in rows], columns=columns, dtype=object)


def leaderboard(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row an upstream, in-domain, best first within suite, task, head and preset. The column of s3prl's practice
    is there where a row has it."""
    lines: list[Values] = []
    for rows in rows_of(cells).values():
        found = [_id_values(row, rows) for row in rows]
        lines += sorted(found, key=lambda line: (line["rank"], line["upstream"], line["source"]))
    shown = any(line[s3prl_practice.COLUMN] is not None for line in lines)
    return _frame(lines, [*LEADERBOARD, *[s3prl_practice.COLUMN] * shown])


def ood(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row an upstream and out-of-domain split, best first within the split."""
    lines: list[Values] = []
    for rows in rows_of(cells).values():
        for split in sorted(
            {name for row in rows for name, one in row.first.result.splits.items() if one.kind != "ID"}
        ):
            found = [_ood_values(row, rows, split) for row in rows if row.has(split)]
            lines += sorted(found, key=lambda line: (line["rank_ood"], line["upstream"], line["source"]))
    return _frame(lines, OOD)
