"""Error rates of recognised words, characters and phones, over a whole split at once. Needs no torch.

An utterance with an empty reference adds its insertions and no length; none is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jiwer
import numpy as np
import pandas as pd

from harness.errors import UserError
from harness.metrics import Floats, Predictions, joined_text

Unit = Literal["word", "char", "phone"]
BETWEEN_WORDS = "|"
"""Parts words in a string of phones; it is none itself and is dropped before scoring."""
UNITS: dict[str, Unit] = {"wer": "word", "cer": "char", "per": "phone"}
"""By metric."""


def _plain(text: str, unit: Unit) -> str:
    """Single spaces, none at the ends; of phones, without what parts the words."""
    return " ".join(word for word in text.split() if unit != "phone" or word != BETWEEN_WORDS)


def errors(hypotheses: Sequence[str], references: Sequence[str], unit: Unit) -> tuple[Floats, Floats]:
    """Substitutions, deletions and insertions of each utterance together (Levenshtein), and the length of its
    reference, (n,) each, in words, characters (spaces between words count) or phones.

    Raises UserError where the two lists differ in length."""
    if len(hypotheses) != len(references):
        raise UserError(f"one hypothesis an utterance wanted, found {len(hypotheses)} for {len(references)}")
    said, true = ([_plain(text, unit) for text in side] for side in (hypotheses, references))
    size = len if unit == "char" else lambda text: len(text.split())
    edits = np.array([size(text) for text in said], dtype=np.float64)  # right where the reference is empty
    lengths = np.array([size(text) for text in true], dtype=np.float64)
    spoken = np.flatnonzero(lengths)  # jiwer takes no empty reference
    if len(spoken):
        align = jiwer.process_characters if unit == "char" else jiwer.process_words
        chunks = align([true[at] for at in spoken], [said[at] for at in spoken]).alignments
        edits[spoken] = [
            sum(
                max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
                for chunk in alignment
                if chunk.type != "equal"
            )
            for alignment in chunks
        ]
    return edits, lengths


def error_rate(hypotheses: Sequence[str], references: Sequence[str], unit: Unit) -> float:
    """All errors over the length of all references, in per cent; above 100 where insertions abound.

    Raises UserError where the lists differ in length or every reference is empty."""
    edits, lengths = errors(hypotheses, references, unit)
    if not lengths.sum():
        raise UserError(f"references with at least one {unit} wanted, found {len(references)} empty; check the split")
    return float(100.0 * edits.sum() / lengths.sum())


def _score(metrics: Sequence[str], predictions: Predictions, references: pd.DataFrame) -> dict[str, float]:
    said, true = joined_text(predictions, references, "text")
    return {name: error_rate(said, true, UNITS[name]) for name in metrics}


def score_words(predictions: Predictions, references: pd.DataFrame) -> dict[str, float]:
    """wer and cer, in per cent, of predictions with a `text`; both sides as `harness.text.normalise` leaves them."""
    return _score(["wer", "cer"], predictions, references)


def score_phones(predictions: Predictions, references: pd.DataFrame) -> dict[str, float]:
    """per, in per cent, of predictions with a `text`: phones with spaces between them."""
    return _score(["per"], predictions, references)
