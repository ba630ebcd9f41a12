"""Metrics of classification: each prediction is a label, each reference one. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import UserError
from harness.metrics import Floats, Predictions, accuracy, joined_text

Codes = npt.NDArray[np.int64]


def coded(predicted: Sequence[str], expected: Sequence[str]) -> tuple[Codes, Codes, int, list[str]]:
    """Both as indices, (n,) each, of classes: first those of the references, sorted; then those only predicted. Also
    how many the former are, and the names of all.

    Raises UserError where lengths differ or are 0."""
    if len(predicted) != len(expected) or not len(expected):
        raise UserError(f"one prediction an item wanted, found {len(predicted)} for {len(expected)} items")
    present = sorted(set(expected))
    names = [*present, *sorted(set(predicted) - set(expected))]
    index = {name: at for at, name in enumerate(names)}
    found, wanted = (np.array([index[name] for name in side], dtype=np.int64) for side in (predicted, expected))
    return found, wanted, len(present), names


def _counts(predicted: Sequence[str], expected: Sequence[str]) -> tuple[Floats, Floats, Floats, int]:
    """Per class: items right, items predicted, items expected; and how many classes the references have."""
    found, wanted, present, names = coded(predicted, expected)
    right, said, true = (np.bincount(codes, minlength=len(names)).astype(np.float64)
                         for codes in (wanted[found == wanted], found, wanted))  # fmt: skip
    return right, said, true, present


def uar(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Unweighted average recall, in per cent: the mean over the classes of the references of the share of their items
    that is right (Schuller et al. 2009, "The INTERSPEECH 2009 emotion challenge"). Raises UserError as `coded` does."""
    right, _, true, present = _counts(predicted, expected)
    return float(100.0 * np.mean(right[:present] / true[:present]))


def macro_f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Mean of the classes' F1 = 2 right / (predicted + expected), in per cent, over the classes that occur in the
    references or among the predictions: one that is only predicted counts with 0. Raises UserError as `coded` does."""
    right, said, true, _ = _counts(predicted, expected)
    return float(100.0 * np.mean(2.0 * right / (said + true)))


def score_classification(predictions: Predictions, references: pd.DataFrame) -> dict[str, float]:
    """accuracy, uar and macro_f1, in per cent, of predictions with a `label`."""
    predicted, expected = joined_text(predictions, references, "label")
    return {
        "accuracy": accuracy(predicted, expected),
        "uar": uar(predicted, expected),
        "macro_f1": macro_f1(predicted, expected),
    }


def confusion(predictions: Predictions, references: pd.DataFrame) -> pd.DataFrame:
    """How many items of each class (rows: those of the references) were called what (columns: every class that
    occurs). A row's diagonal over its sum is the recall of its class."""
    found, wanted, present, names = coded(*joined_text(predictions, references, "label"))
    table = np.zeros((present, len(names)), dtype=np.int64)
    np.add.at(table, (wanted, found), 1)
    return pd.DataFrame(
        table, index=pd.Index(names[:present], name="reference"), columns=pd.Index(names, name="prediction")
    )
