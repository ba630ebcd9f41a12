"""Intervals by resampling speakers; needs no torch.

Trials of one speaker rise and fall together, so a bootstrap over trials promises far too much. Here whole speakers are
drawn with replacement. The draws follow from the speakers' names alone: every upstream scored on a split meets the same
draws, so the difference of two upstreams is paired.

    replicates(metric, predictions, references)   the metric in every draw, or None below 8 speakers
    interval(...)  paired_difference(...)  drop_interval(...)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.errors import UserError
from harness.metrics import Floats, Predictions
from harness.results import Interval
from harness.statistics_by_metric import Counts, Statistic, statistic

DRAWS = 1000
MIN_SPEAKERS = 8
"""A resample of fewer people is one person too often: no interval."""
SEED = 20240
MAX_ATTEMPTS = 200
_CHUNK = 2_000_000
"""Weights held at once (16 MB as float64): long trial lists go through in several pieces."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """The metric in each draw, (draws,), and how many draws had to be drawn again because a class was empty."""

    values: Floats
    redrawn: int


def speaker_counts(speakers: Sequence[str], draws: int, attempt: int = 0) -> Counts:
    """How often each speaker is drawn, (draws, speakers): with replacement, as many as there are.

    Seeded by the names: the same speakers always get the same draws, others get independent ones."""
    names = hashlib.sha256("\0".join(speakers).encode()).digest()[:16]
    generator = np.random.Generator(np.random.PCG64([SEED, attempt, int.from_bytes(names, "big")]))
    return generator.multinomial(len(speakers), np.full(len(speakers), 1 / len(speakers)), size=draws).astype(np.int64)


def _evaluate(stat: Statistic, counts: Counts) -> Floats:
    step = max(1, _CHUNK // max(1, stat.items))
    return np.concatenate([stat.value(counts[start : start + step]) for start in range(0, len(counts), step)])


def _resample(statistics: Sequence[Statistic], speakers: Sequence[str], draws: int) -> tuple[list[Floats], int]:
    """Every statistic in the same draws of `speakers`; a draw in which one is undefined is drawn again, all of it."""
    position = {name: index for index, name in enumerate(speakers)}
    columns = [np.array([position[name] for name in stat.speakers]) for stat in statistics]
    values = [np.full(draws, np.nan) for _ in statistics]
    pending = np.ones(draws, dtype=bool)
    redrawn = 0
    for attempt in range(MAX_ATTEMPTS):
        counts = speaker_counts(speakers, draws, attempt)[pending]
        for value, stat, column in zip(values, statistics, columns, strict=True):
            value[pending] = _evaluate(stat, counts[:, column])
        pending = np.isnan(np.sum(values, axis=0))
        if not pending.any():
            return values, redrawn
        redrawn += int(pending.sum())
    raise UserError(
        f"{draws} draws of {len(speakers)} speakers wanted, but {int(pending.sum())} always leave a class empty; "
        "the list needs items of every class (targets and non-targets) from more speakers"
    )


def replicates(metric: str, predictions: Predictions, references: pd.DataFrame, draws: int = DRAWS) -> Resampled | None:
    """The metric in each draw of speakers; None with fewer than 8 of them.

    On one reference table the replicates of two upstreams are paired; on two tables with the same speakers too; on
    tables without a common speaker they are independent. Either way they may be subtracted one by one."""
    stat = statistic(metric, predictions, references)
    if len(stat.speakers) < MIN_SPEAKERS:
        return None
    values, redrawn = _resample([stat], stat.speakers, draws)
    return Resampled(values[0], redrawn)


def percentile_interval(values: Floats) -> Interval:
    """The middle 95 % of the replicates."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(low=float(low), high=float(high), draws=len(values))


def interval(metric: str, predictions: Predictions, references: pd.DataFrame, draws: int = DRAWS) -> Interval | None:
    """95 % interval of the metric, in its unit; None with fewer than 8 speakers."""
    resampled = replicates(metric, predictions, references, draws)
    return None if resampled is None else percentile_interval(resampled.values)


def point(metric: str, predictions: Predictions, references: pd.DataFrame) -> float:
    """The metric with every speaker counted once."""
    stat = statistic(metric, predictions, references)
    return float(stat.value(np.ones((1, len(stat.speakers)), dtype=np.int64))[0])


def paired_difference(
    metric: str, a: Predictions, b: Predictions, references: pd.DataFrame, draws: int = DRAWS
) -> tuple[float, Interval | None]:
    """a minus b on the same ids, and its 95 % interval with both scored in the same draws.

    Raises UserError where either does not match the references."""
    difference = point(metric, a, references) - point(metric, b, references)
    first, second = replicates(metric, a, references, draws), replicates(metric, b, references, draws)
    if first is None or second is None:
        return difference, None
    return difference, percentile_interval(first.values - second.values)


def drop_interval(
    metric: str,
    id_predictions: Predictions,
    id_references: pd.DataFrame,
    ood_predictions: Predictions,
    ood_references: pd.DataFrame,
    draws: int = DRAWS,
) -> Interval | None:
    """95 % interval of out-of-domain minus in-domain of one upstream; None with fewer than 8 speakers on either side.

    Speakers are matched by name: where the two splits share some, both meet the same draws; where they share none,
    independent ones."""
    inside = statistic(metric, id_predictions, id_references)
    outside = statistic(metric, ood_predictions, ood_references)
    if min(len(inside.speakers), len(outside.speakers)) < MIN_SPEAKERS:
        return None
    if set(inside.speakers) & set(outside.speakers):
        everyone = sorted(set(inside.speakers) | set(outside.speakers))
        (a, b), _ = _resample([inside, outside], everyone, draws)
    else:
        (a,), _ = _resample([inside], inside.speakers, draws)
        (b,), _ = _resample([outside], outside.speakers, draws)
    return percentile_interval(b - a)
