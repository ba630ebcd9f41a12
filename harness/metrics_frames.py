"""Metrics of labels over time: each prediction and each reference is "symbol:end symbol:end …", `end` in seconds, in
order. Needs no torch.

Both are read in the middle of every step of 10 ms of the reference, so that no figure depends on an upstream's stride.
A pause is a symbol like any other: much of read speech is pause, and a head that finds only that scores above 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import UserError
from harness.metrics import Predictions, accuracy, joined_text
from harness.metrics_classes import uar

Ticks = npt.NDArray[np.int64]

TICKS = 10_000
"""A second. Ends are rounded to ticks of 0.1 ms, so that a boundary in the middle of a step is no matter of
rounding."""
STEP = 100
"""10 ms, in ticks."""


def parse(text: str) -> tuple[list[str], Ticks]:
    """The symbols, and where each ends, (n,) in ticks from the start; the first begins at 0, each other where the one
    before it ends.

    Raises UserError for anything but symbols with ends that rise from above 0."""
    symbols: list[str] = []
    ends: list[int] = []
    for item in text.split():
        symbol, _, end = item.rpartition(":")
        try:
            seconds = float(end)
        except ValueError:
            seconds = math.nan
        if not symbol or not math.isfinite(seconds) or round(seconds * TICKS) <= (ends[-1] if ends else 0):
            raise UserError(f"symbol:end with ends in seconds that rise wanted, found {item!r}; repair the labels")
        symbols.append(symbol)
        ends.append(round(seconds * TICKS))
    if not symbols:
        raise UserError("labels as symbol:end wanted, found none; write one for every phone and pause")
    return symbols, np.array(ends, dtype=np.int64)


def steps(predicted: Sequence[str], expected: Sequence[str]) -> tuple[list[str], list[str], Ticks]:
    """The symbol predicted and expected in the middle of every step of 10 ms, (n,) each, and the place in the lists
    of the utterance it belongs to, (n,).

    A symbol holds from where it begins to just before where it ends. What a prediction says past the end of the
    reference counts for nothing; where it ends early, the rest is "", which is never right. Raises UserError as
    `parse` does, and where the lists differ in length."""
    if len(predicted) != len(expected):
        raise UserError(f"one prediction an utterance wanted, found {len(predicted)} for {len(expected)}")
    said: list[str] = []
    true: list[str] = []
    counts = []
    for prediction, reference in zip(predicted, expected, strict=True):
        symbols, ends = parse(reference)
        middles = np.arange(STEP // 2, ends[-1], STEP)
        true += [symbols[at] for at in np.searchsorted(ends, middles, side="right")]
        symbols, ends = parse(prediction)
        said += [[*symbols, ""][at] for at in np.searchsorted(ends, middles, side="right")]
        counts.append(len(middles))
    return said, true, np.repeat(np.arange(len(counts)), counts)


def frame_accuracy(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """The share of the time of all utterances whose symbol is right, in per cent. Raises UserError as `steps` does."""
    said, true, _ = steps(predicted, expected)
    return accuracy(said, true)


def score_frames(predictions: Predictions, references: pd.DataFrame) -> dict[str, float]:
    """frame_accuracy, and frame_uar: the mean over the symbols of the references of the share of each one's time that
    is right (a symbol too short for the middle of any step is left out); in per cent, of predictions with a `text`."""
    said, true, _ = steps(*joined_text(predictions, references, "text"))
    return {"frame_accuracy": accuracy(said, true), "frame_uar": uar(said, true)}
