"""Intervals of a cell's scores and of differences between cells, from the draws of speakers of the first seed.

Only the first seed is published with its predictions, and a score is the mean over the seeds; so an interval is that
of the first seed, moved by as much as the mean lies off it. What the seeds differ by among themselves is not in it:
that is the column `std`.
"""

from __future__ import annotations

from harness.uncertainty import drop_interval, percentile_interval
from leaderboard.cells import Cell

NO_INTERVAL = "n/a"
Range = tuple[float | str | None, float | str | None]
"""Low and high; `NO_INTERVAL` below 8 speakers; None where the predictions are not kept."""


def interval_of(cell: Cell, split: str, by: float = 0.0) -> Range:
    """Of the metric, moved by so much: not below 0, nor above 100 where more is better."""
    if split not in cell.replicates:
        return None, None
    values = cell.replicates[split]
    if values is None:
        return NO_INTERVAL, NO_INTERVAL
    found = percentile_interval(values)
    top = 100.0 if cell.result.higher_is_better else float("inf")
    return max(found.low + by, min(0.0, found.low)), min(found.high + by, max(top, found.high))


def difference_interval(a: Cell, b: Cell, split: str, by: float = 0.0) -> Range:
    """Of a minus b on the same trials, in the same draws, moved by so much."""
    if split not in a.replicates or split not in b.replicates:
        return None, None
    first, second = a.replicates[split], b.replicates[split]
    if first is None or second is None:
        return NO_INTERVAL, NO_INTERVAL
    found = percentile_interval(first - second)
    return found.low + by, found.high + by


def drop_range(cell: Cell, split: str, by: float = 0.0) -> Range:
    """Of the drop (positive = worse), moved by so much; paired where the splits share speakers; from the in-domain
    score on the split's own classes where it has fewer."""
    if not {cell.id_split, split} <= set(cell.replicates):
        return None, None
    inside, outside = cell.replicates[cell.id_split], cell.replicates[split]
    if inside is None or outside is None:
        return NO_INTERVAL, NO_INTERVAL
    names, others = cell.speakers[cell.id_split], cell.speakers[split]
    if not cell.result.splits[split].id_shared and (names == others or not names & others):
        found = percentile_interval(outside - inside)
    else:
        some = drop_interval(cell.result.metric, *cell.inside_of(split), *cell.tables(split))
        if some is None:
            return NO_INTERVAL, NO_INTERVAL
        found = some
    low, high = (-found.high, -found.low) if cell.result.higher_is_better else (found.low, found.high)
    return low + by, high + by
