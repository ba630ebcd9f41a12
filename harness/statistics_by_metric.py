"""Each metric as a function of how often each speaker was drawn; needs no torch. Resampled in harness/uncertainty.py.

All but the verification metrics are ratios of sums over items, so each speaker's sums are taken once and a draw is a
weighted sum of them: an item of speaker i weighs m_i, how often i was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import UserError
from harness.metrics import (
    SHARED,
    Bools,
    Floats,
    Predictions,
    Weights,
    eer_weighted,
    joined_text,
    metric_named,
    min_dcf_weighted,
    targets_or_alike,
    verification_trials,
)
from harness.metrics_classes import coded
from harness.metrics_frames import steps
from harness.metrics_sequences import UNITS, errors

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A metric as a function of how often each speaker was drawn.

    `value` maps counts (draws, speakers), columns in the order of `speakers`, to the metric (draws,), NaN where the
    draw leaves it undefined. Whether it is NaN depends on the references and never on the predictions. `items`: how
    many numbers a draw holds at once."""

    speakers: tuple[str, ...]
    items: int
    value: Callable[[Counts], Floats]


def verification(predictions: Predictions, references: pd.DataFrame, metric: str = "eer") -> Statistic:
    """A metric of trials. A target trial of speaker i weighs m_i, a non-target of i and j weighs m_i m_j, m being the
    speakers' counts: a target's two sides are one person, drawn once."""
    scores, targets = verification_trials(predictions, references)
    first, second = references["speaker"].astype(str), references["speaker2"].astype(str)
    if (first == "").any() or (second[~targets] == "").any():
        raise UserError("speaker and speaker2 of every trial wanted, found an empty one; repair the trial list")
    # speaker2 of a target trial may be left empty
    other = second.where(~targets, first)
    if (first[~targets] == other[~targets]).any():
        raise UserError("two speakers in a non-target trial wanted, found one and the same; repair the trial list")
    speakers = tuple(sorted(set(first) | set(other)))
    column = {name: index for index, name in enumerate(speakers)}
    left = first.map(column).to_numpy(dtype=np.int64)
    right = other.map(column).to_numpy(dtype=np.int64)
    measure, shared = _TRIALS[metric]
    if shared and shared not in references:
        raise UserError(f"references with {shared} wanted for {metric}, found none; choose another metric")
    kept: Bools = targets_or_alike(targets, references, shared) if shared else np.ones(len(scores), dtype=bool)
    scores, targets, left, right = scores[kept], targets[kept], left[kept], right[kept]

    def value(counts: Counts) -> Floats:
        # an extra column of ones stands in for the second side of a target trial
        padded = np.concatenate([counts, np.ones((len(counts), 1), dtype=np.int64)], axis=1).astype(np.int32)
        return measure(scores, targets, padded[:, left] * padded[:, np.where(targets, len(speakers), right)])

    return Statistic(speakers, len(scores), value)


def _detection_cost(p_target: float) -> Callable[[Floats, Bools, Weights], Floats]:
    return lambda scores, targets, weights: min_dcf_weighted(scores, targets, weights, p_target)


_TRIALS: dict[str, tuple[Callable[[Floats, Bools, Weights], Floats], str]] = {
    "eer": (eer_weighted, ""),
    "min_dcf_0.05": (_detection_cost(0.05), ""),
    "min_dcf_0.01": (_detection_cost(0.01), ""),
    **{f"eer_{column}": (eer_weighted, column) for column in SHARED},
}
"""How trials are measured, and the column that restricts the non-targets."""


def _by_speaker(references: pd.DataFrame) -> tuple[tuple[str, ...], Counts]:
    """The speakers, and the index of each item's, (n,)."""
    names = references["speaker"].astype(str)
    if (names == "").any():
        raise UserError("the speaker of every item wanted, found an empty one; repair the manifest")
    speakers = tuple(sorted(set(names)))
    column = {name: at for at, name in enumerate(speakers)}
    return speakers, np.array([column[name] for name in names], dtype=np.int64)


def _sums(speaker: Counts, values: Floats, speakers: int) -> Floats:
    return np.bincount(speaker, weights=values, minlength=speakers).astype(np.float64)


def _drawn(counts: Counts, sums: Floats) -> Floats:
    """(draws, speakers) times each speaker's sums: whole numbers, so exact in float64 whatever the order of adding."""
    total: Floats = counts.astype(np.float64) @ sums
    return total


def _ratio(speakers: tuple[str, ...], above: Floats, below: Floats) -> Statistic:
    """100 times the drawn sum of `above` over that of `below`, (speakers,) each; NaN where the latter is 0."""

    def value(counts: Counts) -> Floats:
        total = _drawn(counts, below)
        return 100.0 * _drawn(counts, above) / np.where(total > 0, total, np.nan)

    return Statistic(speakers, len(speakers), value)


def accuracy(predictions: Predictions, references: pd.DataFrame) -> Statistic:
    """In per cent, as harness.metrics.accuracy of the items drawn."""
    return _accuracy(*joined_text(predictions, references, "label"), *_by_speaker(references))


def _accuracy(predicted: list[str], expected: list[str], speakers: tuple[str, ...], speaker: Counts) -> Statistic:
    right = np.array([a == b for a, b in zip(predicted, expected, strict=True)], dtype=np.float64)
    return _ratio(speakers, _sums(speaker, right, len(speakers)), _sums(speaker, np.ones(len(right)), len(speakers)))


def _class_sums(
    predicted: list[str], expected: list[str], speakers: tuple[str, ...], speaker: Counts
) -> tuple[Floats, Floats, Floats, int]:
    """Items right, predicted and expected of each speaker and class, (speakers, classes) each, in the order of
    `coded`; and how many classes the references have. `speaker`: the index of each item's, (n,)."""
    found, wanted, present, names = coded(predicted, expected)

    def table(codes: Counts, chosen: Bools) -> Floats:
        flat = np.bincount(speaker[chosen] * len(names) + codes[chosen], minlength=len(speakers) * len(names))
        return flat.reshape(len(speakers), len(names)).astype(np.float64)

    every = np.ones(len(found), dtype=bool)
    return table(wanted, found == wanted), table(found, every), table(wanted, every), present


def uar(predictions: Predictions, references: pd.DataFrame) -> Statistic:
    """In per cent, as harness.metrics_classes.uar of the items drawn; NaN where a class of the references has none."""
    return _uar(*joined_text(predictions, references, "label"), *_by_speaker(references))


def _uar(predicted: list[str], expected: list[str], speakers: tuple[str, ...], speaker: Counts) -> Statistic:
    right, _, true, present = _class_sums(predicted, expected, speakers, speaker)

    def value(counts: Counts) -> Floats:
        total = _drawn(counts, true[:, :present])
        recall = _drawn(counts, right[:, :present]) / np.where(total > 0, total, np.nan)
        mean: Floats = recall.mean(axis=1)
        return 100.0 * mean

    return Statistic(speakers, max(right.shape), value)


def macro_f1(predictions: Predictions, references: pd.DataFrame) -> Statistic:
    """In per cent, as harness.metrics_classes.macro_f1 of the items drawn; NaN where a class of the references has
    none. A class that is only predicted counts in the draws where it is."""
    speakers, speaker = _by_speaker(references)
    right, said, true, present = _class_sums(*joined_text(predictions, references, "label"), speakers, speaker)

    def value(counts: Counts) -> Floats:
        expected = _drawn(counts, true)
        total = _drawn(counts, said) + expected
        occurs = total > 0
        each = 2.0 * _drawn(counts, right) / np.where(occurs, total, 1.0)
        mean: Floats = each.sum(axis=1) / occurs.sum(axis=1)
        return np.where((expected[:, :present] > 0).all(axis=1), 100.0 * mean, np.nan)

    return Statistic(speakers, max(right.shape), value)


def sequences(predictions: Predictions, references: pd.DataFrame, metric: str) -> Statistic:
    """wer, cer or per, in per cent: the errors of the utterances drawn over the length of their references."""
    edits, lengths = errors(*joined_text(predictions, references, "text"), UNITS[metric])
    speakers, speaker = _by_speaker(references)
    return _ratio(speakers, _sums(speaker, edits, len(speakers)), _sums(speaker, lengths, len(speakers)))


def frames(predictions: Predictions, references: pd.DataFrame, metric: str) -> Statistic:
    """frame_accuracy or frame_uar, in per cent: as `accuracy` and `uar`, each step of 10 ms an item."""
    said, true, utterance = steps(*joined_text(predictions, references, "text"))
    speakers, speaker = _by_speaker(references)
    return _FRAMES[metric](said, true, speakers, speaker[utterance])


_FRAMES = {"frame_accuracy": _accuracy, "frame_uar": _uar}


STATISTICS: dict[str, Callable[[Predictions, pd.DataFrame], Statistic]] = {
    **{name: partial(verification, metric=name) for name in _TRIALS},
    "accuracy": accuracy,
    "uar": uar,
    "macro_f1": macro_f1,
    **{name: partial(sequences, metric=name) for name in UNITS},
    **{name: partial(frames, metric=name) for name in _FRAMES},
}
"""By metric: one for each of harness.metrics.METRICS."""


def statistic(metric: str, predictions: Predictions, references: pd.DataFrame) -> Statistic:
    """Raises UserError for an unknown metric and for predictions that do not match the references."""
    return STATISTICS[metric_named(metric).name](predictions, references)
