"""Metrics, each a pure function of predictions and references; needs no torch.

`score(kind, predictions, references)` is what evaluation, `run.py score` and the leaderboard all call, so that a
figure has one origin. A metric is computed at full precision; rounding is for printing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import UserError
from harness.registry import resolve

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[Any]
"""float64, or int32 where all weights are whole."""
Bools = npt.NDArray[np.bool_]
Predictions = Mapping[str, Mapping[str, Any]]

SHARED = ("same_language", "same_channel", "same_gender")
MIN_NON_TARGETS_ALIKE = 100
MIN_NON_TARGETS_FOR_P01 = 2000
"""Below this many non-targets, minDCF at p_target 0.01 rests on a handful of false alarms and is not reported."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a table needs to know of a metric. `kind` names how it is scored and resampled (see SCORERS)."""

    name: str
    higher_is_better: bool
    unit: str
    kind: str
    label: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("eer", False, "%", "verification", "EER"),
        Metric("min_dcf_0.05", False, "", "verification", "minDCF (p = 0.05)"),
        Metric("min_dcf_0.01", False, "", "verification", "minDCF (p = 0.01)"),
        Metric("eer_same_language", False, "%", "verification", "EER, same language"),
        Metric("eer_same_channel", False, "%", "verification", "EER, same channel"),
        Metric("eer_same_gender", False, "%", "verification", "EER, same gender"),
        Metric("accuracy", True, "%", "classification", "accuracy"),
        Metric("uar", True, "%", "classification", "UAR"),
        Metric("macro_f1", True, "%", "classification", "macro F1"),
        Metric("wer", False, "%", "words", "WER"),
        Metric("cer", False, "%", "words", "CER"),
        Metric("per", False, "%", "phones", "PER"),
        Metric("frame_accuracy", True, "%", "frames", "frame accuracy"),
        Metric("frame_uar", True, "%", "frames", "frame UAR"),
    )
}


def metric_named(name: str) -> Metric:
    """Raises UserError for a metric that is not in the table."""
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}: one of {', '.join(METRICS)} wanted; add it to harness/metrics.py")
    return METRICS[name]


def _checked(scores: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Floats, Bools]:
    score = np.asarray(scores, dtype=np.float64)
    target = np.asarray(targets)
    if score.ndim != 1 or score.shape != target.shape:
        raise UserError(
            f"one score a trial wanted, found shapes {score.shape} and {target.shape}; check the trial list"
        )
    if not np.isfinite(score).all():
        bad = int((~np.isfinite(score)).sum())
        raise UserError(f"finite scores wanted, found {bad} of {len(score)} NaN or infinite; the head diverged")
    if not np.isin(target, (0, 1)).all():
        raise UserError("targets must be 1 (same speaker) or 0 (different speakers); check the trial list")
    target = target.astype(bool)
    if target.all() or not target.any():
        found = "no non-target" if target.any() else "no target"
        raise UserError(f"target and non-target trials wanted, found {found} among {len(target)}; check the trial list")
    return score, target


def _accepted(scores: Floats, targets: Bools, weights: Weights) -> tuple[Weights, Weights]:
    """Weight of the targets and of the non-targets accepted as the threshold falls over the distinct scores, each
    (draws, thresholds); the last column is all of them.

    Trials with equal scores are accepted together, so their order cannot matter."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    sorted_weights = weights[:, order]
    everything = np.cumsum(sorted_weights, axis=1, dtype=weights.dtype)
    hits = np.cumsum(sorted_weights * targets[order], axis=1, dtype=weights.dtype)
    if len(ends) < len(ordered):
        everything, hits = everything[:, ends], hits[:, ends]
    return hits, everything - hits


def _crossing(hits: Weights, alarms: Weights) -> Floats:
    """Where the line through neighbouring ROC points meets miss = false alarm: (draws,), a fraction; NaN where a class
    has no weight."""
    all_targets, all_others = hits[:, -1].astype(np.float64), alarms[:, -1].astype(np.float64)
    # false alarm >= miss, multiplied out; true in the last column, where both classes are accepted whole
    crossed = hits * all_others[:, None] + alarms * all_targets[:, None] >= (all_targets * all_others)[:, None]
    after = np.argmax(crossed, axis=1)
    row = np.arange(len(hits))

    def rates(column: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
        inside = column >= 0  # column -1 is the threshold above all scores: nothing accepted
        with np.errstate(invalid="ignore", divide="ignore"):
            alarm = np.where(inside, alarms[row, column], 0.0) / all_others
            hit = np.where(inside, hits[row, column], 0.0) / all_targets
        return alarm, alarm + hit - 1.0

    (alarm_before, low), (alarm_after, high) = rates(after - 1), rates(after)
    with np.errstate(invalid="ignore"):
        share = low / (low - high)
    result: Floats = alarm_before + share * (alarm_after - alarm_before)
    return result


def _weighted(scores: npt.ArrayLike, targets: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[Weights, Weights]:
    """As `_accepted`, with everything checked first; whole weights stay whole."""
    score, target = _checked(scores, targets)
    given = np.asarray(weights)
    if given.ndim != 2 or given.shape[1] != len(score) or not (given >= 0).all() or not np.isfinite(given).all():
        raise UserError(f"weights (draws, {len(score)}) that are finite and not negative wanted, found {given.shape}")
    # whole numbers are summed as such, exactly and several times faster
    whole = given.dtype.kind in "iub" and (not given.size or int(given.max()) * len(score) < 2**31)
    return _accepted(score, target, given.astype(np.int32) if whole else given.astype(np.float64))


def eer_weighted(scores: npt.ArrayLike, targets: npt.ArrayLike, weights: npt.ArrayLike) -> Floats:
    """Equal error rate in per cent for each row of `weights` (draws, trials): (draws,).

    NaN for a draw whose weights leave targets or non-targets empty; never a guess. Raises UserError as `eer` does."""
    return 100.0 * _crossing(*_weighted(scores, targets, weights))


def eer(scores: npt.ArrayLike, targets: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Equal error rate in per cent, interpolated linearly on the ROC with tied scores grouped.

    `scores` (n,), higher for "same speaker"; `targets` (n,) of 0 and 1; `weights` (n,) or none. Unchanged by the order
    of trials and by strictly increasing maps of the scores; 50 where all scores are equal, 0 where they separate.
    Raises UserError for NaN or infinite scores and where a class is missing."""
    score, target = _checked(scores, targets)
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    value = float(eer_weighted(score, target, weight[None])[0])
    if np.isnan(value):
        raise UserError("targets and non-targets of positive weight wanted, found a class of weight 0")
    return value


def min_dcf_weighted(
    scores: npt.ArrayLike,
    targets: npt.ArrayLike,
    weights: npt.ArrayLike,
    p_target: float,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> Floats:
    """`min_dcf` for each row of `weights` (draws, trials): (draws,); NaN for a draw that leaves a class empty."""
    if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
        raise UserError(f"p_target between 0 and 1 and positive costs wanted, found {p_target}, {c_miss}, {c_fa}")
    hits, alarms = (np.pad(part, ((0, 0), (1, 0))) for part in _weighted(scores, targets, weights))
    with np.errstate(invalid="ignore", divide="ignore"):
        cost = c_miss * p_target * (1 - hits / hits[:, -1:]) + c_fa * (1 - p_target) * alarms / alarms[:, -1:]
    lowest: Floats = cost.min(axis=1) / min(c_miss * p_target, c_fa * (1 - p_target))
    return lowest


def min_dcf(
    scores: npt.ArrayLike, targets: npt.ArrayLike, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """Minimum of the detection cost C_miss p P_miss + C_fa (1 - p) P_fa over all thresholds, divided by
    min(C_miss p, C_fa (1 - p)), the cost of the better blind decision (NIST SRE). No unit, from 0 to 1.

    Raises UserError as `eer` does, and for a p_target outside (0, 1)."""
    ones = np.ones((1, np.size(np.asarray(scores))))
    return float(min_dcf_weighted(scores, targets, ones, p_target, c_miss, c_fa)[0])


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> float:
    """Share of items whose prediction equals the reference, in per cent. Raises UserError where lengths differ or 0."""
    if len(predictions) != len(references) or not len(references):
        raise UserError(f"one prediction an item wanted, found {len(predictions)} for {len(references)} items")
    right = sum(bool(a == b) for a, b in zip(predictions, references, strict=True))
    return 100.0 * right / len(references)


def joined(predictions: Predictions, references: pd.DataFrame, field: str) -> list[Any]:
    """The predictions' `field` in the order of `references`, matched by id.

    Raises UserError for an id that is missing, extra or in the references twice, and for a prediction without it."""
    missing_columns = {"id", "reference", "speaker"} - set(references.columns)
    if missing_columns:
        raise UserError(
            f"references with id, reference and speaker wanted, {', '.join(sorted(missing_columns))} missing"
        )
    ids = references["id"].tolist()
    wanted = set(ids)
    if len(wanted) != len(ids):
        twice = references["id"][references["id"].duplicated()].iloc[0]
        raise UserError(f"one reference an id wanted, found {twice!r} twice; repair the list")
    for what, left in (
        ("no prediction for", wanted - set(predictions)),
        ("no reference for", set(predictions) - wanted),
    ):
        if left:
            raise UserError(f"{len(ids)} predictions wanted, found {len(predictions)}: {what} {min(left)!r}"
                            f"{f' and {len(left) - 1} more' if len(left) > 1 else ''}; run the cell again")  # fmt: skip
    for name in ids:
        if field not in predictions[name]:
            raise UserError(f"the prediction of {name!r} has no {field!r}; run the cell again")
    return [predictions[name][field] for name in ids]


def restricted(references: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """The rows whose reference is among `labels`: what an in-domain score is taken on to stand beside that of a split
    which has fewer classes. Raises UserError where none is left."""
    wanted = set(labels)
    kept = references[references["reference"].astype(str).isin(wanted)].reset_index(drop=True)
    if kept.empty:
        raise UserError(f"references among {', '.join(sorted(wanted)) or 'no labels'} wanted, found none of "
                        f"{len(references)}; the two splits share no class")  # fmt: skip
    return kept


def joined_text(predictions: Predictions, references: pd.DataFrame, field: str) -> tuple[list[str], list[str]]:
    """The predictions' `field` and the references, both strings in the order of `references`.

    Raises UserError as `joined` does, and for a prediction that is not a string."""
    found = joined(predictions, references, field)
    wrong = next((value for value in found if not isinstance(value, str)), None)
    if wrong is not None:
        raise UserError(f"a string as {field} wanted, found {wrong!r}; run the cell again")
    return found, references["reference"].astype(str).tolist()


def verification_trials(predictions: Predictions, references: pd.DataFrame) -> tuple[Floats, Bools]:
    """Scores (n,) and targets (n,) in the order of `references` (columns id, reference 1/0, speaker, speaker2)."""
    scores = joined(predictions, references, "score")
    wrong = [value for value in scores if isinstance(value, bool) or not isinstance(value, (int, float))]
    if wrong:
        raise UserError(f"a number as score wanted, found {wrong[0]!r}; run the cell again")
    reference = references["reference"].astype(str).str.lower().replace({"true": "1", "false": "0"})
    if not reference.isin(("0", "1")).all():
        raise UserError(
            f"reference 1 or 0 wanted, found {reference[~reference.isin(('0', '1'))].iloc[0]!r}; repair the list"
        )
    return np.asarray(scores, dtype=np.float64), (reference == "1").to_numpy(dtype=bool)


def targets_or_alike(targets: Bools, references: pd.DataFrame, column: str) -> Bools:
    """Which trials are targets, or non-targets of the same language, channel or gender by `column`: (n,)."""
    alike: Bools = targets | (references[column] == "1").to_numpy(dtype=bool)
    return alike


def score_verification(predictions: Predictions, references: pd.DataFrame) -> dict[str, float]:
    """EER (per cent), minDCF at p_target 0.05 and, with 2,000 or more non-targets, at 0.01 (C_miss = C_fa = 1).

    Where the references tell (columns of SHARED), also the EER against the non-targets of the same language, channel
    or gender alone: what is left of a score once that cannot give the answer away."""
    scores, targets = verification_trials(predictions, references)
    result = {"eer": eer(scores, targets), "min_dcf_0.05": min_dcf(scores, targets, 0.05)}
    if int((~targets).sum()) >= MIN_NON_TARGETS_FOR_P01:
        result["min_dcf_0.01"] = min_dcf(scores, targets, 0.01)
    for column in SHARED:
        if column not in references:
            continue
        alike = targets_or_alike(targets, references, column)
        kept = int((alike & ~targets).sum())
        if MIN_NON_TARGETS_ALIKE <= kept < int((~targets).sum()):
            result[f"eer_{column}"] = eer(scores[alike], targets[alike])
    return result


SCORERS = {
    "verification": "harness.metrics:score_verification",
    "classification": "harness.metrics_classes:score_classification",
    "words": "harness.metrics_sequences:score_words",
    "phones": "harness.metrics_sequences:score_phones",
    "frames": "harness.metrics_frames:score_frames",
}


def score(kind: str, predictions: Predictions, references: pd.DataFrame) -> dict[str, float]:
    """All metrics of a kind of task. Raises UserError for an unknown kind and for predictions that do not match."""
    if kind not in SCORERS:
        raise UserError(f"unknown kind of task {kind!r}: one of {', '.join(SCORERS)} wanted")
    scorer: Callable[[Predictions, pd.DataFrame], dict[str, float]] = resolve(SCORERS[kind])
    return scorer(predictions, references)
