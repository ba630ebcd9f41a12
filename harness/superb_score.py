"""The SUPERB score: where an upstream stands between filterbanks (0) and WavLM Large (1000), the mean of six tasks.

    norm_t = (s_t - s_t(FBANK)) / (s_t(WavLM Large) - s_t(FBANK));  score = 1000 * mean over t of norm_t

The formula is that of "A Large-Scale Evaluation of Speech Foundation Models" (arXiv 2404.09385), where the upper anchor
is the best entry of the day; here the anchors are frozen, so that a score stays what it is. A metric that is better
when lower needs no sign of its own: numerator and denominator turn together. Scores above 1000 and below 0 are
possible. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

from harness.errors import UserError


@dataclass(frozen=True)
class Anchor:
    """Published figures of one upstream, in per cent, by task."""

    name: str
    evidence: str
    values: Mapping[str, float]


SUITE = "superb"
"""Whose rows alone have a score: the suite of the real corpora."""
TASKS = ("pr", "asr", "ks", "sid", "asv", "er")
"""By PER, WER without a language model, accuracy, accuracy, EER and accuracy."""
FBANK = Anchor(
    "FBANK",
    "as widely reprinted from the SUPERB paper, not checked against it",
    {"pr": 82.01, "asr": 23.18, "ks": 8.63, "sid": 8.5e-4, "asv": 9.56, "er": 35.39},
)
WAVLM_LARGE = Anchor(
    "WavLM Large",
    "table I of the WavLM paper (arXiv 2110.13900), by way of a public reprint",
    {"pr": 3.06, "asr": 3.44, "ks": 97.86, "sid": 95.49, "asv": 3.77, "er": 70.62},
)
EVIDENCE = f"0 is {FBANK.name} ({FBANK.evidence}), 1000 is {WAVLM_LARGE.name} ({WAVLM_LARGE.evidence})"
TAG = "anchors from reprints"
"""`EVIDENCE` in a column's head: neither anchor was read in the paper that it is from."""
HEADS = {"pr": "linear_ctc", "asr": "blstm_ctc", "ks": "pooled_linear", "sid": "pooled_linear", "asv": "xvector",
         "er": "pooled_linear"}  # fmt: skip
"""SUPERB's own head of each task: under another one the anchors do not hold."""


def score(values: Mapping[str, float], low: Anchor = FBANK, high: Anchor = WAVLM_LARGE) -> float:
    """The score of in-domain figures in per cent, by task. Raises UserError unless there is one of each task."""
    if set(values) != set(TASKS):
        raise UserError(f"a SUPERB score wants the tasks {', '.join(TASKS)}, found {', '.join(sorted(values))}")
    return 1000 * mean((values[t] - low.values[t]) / (high.values[t] - low.values[t]) for t in TASKS)


def of_cells(found: Mapping[str, tuple[str, str, float | None]]) -> float | None:
    """The score of one upstream's rows in suite `superb`, given as (head, preset, value) by task; an `er` in folds is
    their mean. None unless all six are there under SUPERB's own heads and steps."""
    values: dict[str, list[float]] = {}
    for task, (head, preset, value) in found.items():
        stem = task.partition("_fold")[0]
        if stem in HEADS and head == HEADS[stem] and preset == "superb" and value is not None:
            values.setdefault(stem, []).append(value)
    if set(values) != set(TASKS) or ("er" not in found and len(values["er"]) != 5):
        return None
    return score({task: mean(several) for task, several in values.items()})
