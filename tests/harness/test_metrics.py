"""EER and minDCF against the cases on which published implementations disagree, and their properties."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from harness.errors import UserError
from harness.metrics import (
    METRICS,
    accuracy,
    eer,
    eer_weighted,
    metric_named,
    min_dcf,
    score,
    score_verification,
)

# the same examples each time, whatever the machine's speed, and no folder of them left behind
settings.register_profile("plain", deadline=None, derandomize=True, database=None)
settings.load_profile("plain")


def brentq_eer(scores, targets):
    """The independent formula: where the ROC, joined by straight lines, meets the anti-diagonal."""
    alarm, hit, _ = roc_curve(targets, scores, pos_label=1)
    return 100 * brentq(lambda x: 1.0 - x - interp1d(alarm, hit)(x), 0.0, 1.0)


def ten_trials():
    return [0.9, 0.8, 0.7, 0.6, 0.3, 0.65, 0.4, 0.2, 0.15, 0.1], [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]


def golden_20_180():
    """20 targets, 180 non-targets. From above: 15 targets and 39 non-targets, then within 0.65..0.75 two non-targets,
    a target, three non-targets, a target; then the rest."""
    above = np.linspace(3.0, 1.0, 54)
    middle = np.linspace(0.74, 0.66, 7)
    below = np.linspace(0.5, -3.0, 139)
    targets = np.zeros(200, dtype=int)
    targets[:15] = 1
    targets[[56, 60]] = 1
    targets[-3:] = 1
    return np.concatenate([above, middle, below]), targets


def two_thousand_each():
    """336 of 2,000 non-targets lie above the same number of targets."""
    scores = np.concatenate([np.linspace(2, 1, 1664), np.linspace(0, -1, 336), np.linspace(1.9, 1.1, 336)])
    return np.concatenate([scores, np.linspace(-2, -3, 1664)]), np.repeat([1, 0], 2000)


GOLDEN = [
    ("ten trials", *ten_trials(), 20.0),
    ("perfect separation", [3.0, 2.0, 1.0, 0.0], [1, 1, 0, 0], 0.0),
    ("all the wrong way round", [3.0, 2.0, 1.0, 0.0], [0, 0, 1, 1], 100.0),
    ("all equal", [0.5] * 6, [1, 0, 1, 0, 1, 1], 50.0),
    ("20 against 180", *golden_20_180(), 100 * 41 / 180),
    ("20 against 180, rounded", np.round(golden_20_180()[0], 1), golden_20_180()[1], 22.391304347826087),
    ("2000 against 2000", *two_thousand_each(), 16.8),
    # between (alarm, miss) = (0, 1/2) and (1/3, 0): they meet at 1/5
    ("one tie", [2.0, 1.0, 1.0, 0.0, -1.0], [1, 1, 0, 0, 0], 20.0),
]


@pytest.mark.parametrize("scores,targets,expected", [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN])
def test_golden(scores, targets, expected):
    assert eer(scores, targets) == pytest.approx(expected, abs=1e-9)
    assert eer(scores, targets) == pytest.approx(brentq_eer(scores, targets), abs=1e-9)


def test_golden_table_to_two_decimals():
    scores, targets = golden_20_180()
    assert f"{eer(scores, targets):.2f}" == "22.78"
    assert f"{eer(np.round(scores, 1), targets):.2f}" == "22.39"


@pytest.mark.parametrize("seed", range(5))
def test_shuffling_rounded_scores_changes_nothing(seed):
    scores, targets = golden_20_180()
    scores = np.round(scores, 1)
    order = np.random.default_rng(seed).permutation(len(scores))
    assert eer(scores[order], targets[order]) == eer(scores, targets)
    assert min_dcf(scores[order], targets[order], 0.05) == min_dcf(scores, targets, 0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    scores, targets = ten_trials()
    scores = [*scores[:-1], bad]
    for function in (
        eer,
        lambda s, t: min_dcf(s, t, 0.05),
        lambda s, t: eer_weighted(s, t, np.ones((1, 10))),
    ):
        with pytest.raises(UserError, match="NaN or infinite"):
            function(scores, targets)


@pytest.mark.parametrize(
    "scores,targets,message",
    [
        ([1.0, 2.0], [1, 1], "no non-target"),
        ([1.0, 2.0], [0, 0], "no target"),
        ([1.0, 2.0], [0, 1, 1], "one score a trial"),
        ([1.0, 2.0], [0, 2], "must be 1"),
        ([], [], "no target"),
    ],
)
def test_input_that_makes_no_sense_is_refused(scores, targets, message):
    with pytest.raises(UserError, match=message):
        eer(scores, targets)


trials = st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(target for _, target in rows) < len(rows)
)


@given(trials)
def test_agrees_with_brentq_on_any_list(rows):
    scores, targets = [float(s) for s, _ in rows], [int(t) for _, t in rows]
    assert eer(scores, targets) == pytest.approx(brentq_eer(scores, targets), abs=1e-6)


@given(trials, st.randoms(use_true_random=False))
def test_invariant_to_order_and_to_increasing_maps(rows, random):
    scores, targets = np.array([float(s) for s, _ in rows]), np.array([int(t) for _, t in rows])
    value = eer(scores, targets)
    order = list(range(len(rows)))
    random.shuffle(order)
    assert eer(scores[order], targets[order]) == value
    assert eer(np.exp(scores) * 3 + 7, targets) == value
    assert 0 <= value <= 100


@given(trials)
def test_swapping_sign_and_class_changes_nothing(rows):
    scores, targets = np.array([float(s) for s, _ in rows]), np.array([int(t) for _, t in rows])
    assert eer(-scores, 1 - targets) == pytest.approx(eer(scores, targets), abs=1e-9)
    assert eer(-scores, targets) == pytest.approx(100 - eer(scores, targets), abs=1e-9)


@given(trials, st.data())
def test_a_weight_is_a_repetition(rows, data):
    scores, targets = np.array([float(s) for s, _ in rows]), np.array([int(t) for _, t in rows])
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    kept = np.repeat(targets, weights)
    value = eer_weighted(scores, targets, np.stack([weights, np.ones_like(weights)]))
    assert value[1] == eer(scores, targets)
    if 0 < kept.sum() < len(kept):
        assert value[0] == pytest.approx(eer(np.repeat(scores, weights), kept), abs=1e-9)
        assert value[0] == eer(scores, targets, weights)
    else:
        assert np.isnan(value[0])
        with pytest.raises(UserError, match="class of weight 0"):
            eer(scores, targets, weights)


@pytest.mark.parametrize("weights", [np.ones(10), np.ones((2, 9)), -np.ones((1, 10)), np.full((1, 10), np.nan)])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(UserError, match="weights"):
        eer_weighted(*ten_trials(), weights)


def test_min_dcf_by_hand():
    scores, targets = ten_trials()
    # at p = 0.5 the cost is (miss + alarm) / 2 over 0.5: best accepts 4 of 5 targets and 1 non-target, or 3 and none
    assert min_dcf(scores, targets, 0.5) == pytest.approx(0.4)
    # at p = 0.05 a false alarm costs 19 misses: best accepts 3 targets and no non-target
    assert min_dcf(scores, targets, 0.05) == pytest.approx(0.4)
    assert min_dcf([1.0, 0.0, 0.0, 0.0, 0.0], [0, 1, 1, 1, 1], 0.01) == pytest.approx(1.0)
    assert min_dcf([3.0, 2.0, 1.0], [1, 0, 0], 0.01) == 0.0
    # one miss in two at cost 10: the other side's blind decision is the cheaper one
    assert min_dcf([3.0, 1.0, 2.0, 0.0], [1, 1, 0, 0], 0.5, c_miss=10) == pytest.approx(0.5)


@given(trials, st.floats(0.01, 0.99))
def test_min_dcf_lies_between_0_and_1_and_matches_a_plain_search(rows, prior):
    scores, targets = np.array([float(s) for s, _ in rows]), np.array([bool(t) for _, t in rows])
    costs = []
    for threshold in [*np.unique(scores), np.inf]:
        accept = scores >= threshold
        costs.append(prior * (~accept[targets]).mean() + (1 - prior) * accept[~targets].mean())
    value = min_dcf(scores, targets, prior)
    assert value == pytest.approx(min(costs) / min(prior, 1 - prior), abs=1e-9)
    assert 0 <= value <= 1 + 1e-9


@pytest.mark.parametrize("arguments", [(0.0,), (1.0,), (0.05, 0.0), (0.05, 1.0, -1.0)])
def test_min_dcf_refuses_odd_costs(arguments):
    with pytest.raises(UserError, match="p_target"):
        min_dcf(*ten_trials(), *arguments)


def test_accuracy():
    assert accuracy(["a", "b", "c", "d"], ["a", "b", "c", "x"]) == 75.0
    for predictions, references in ((["a"], ["a", "b"]), ([], [])):
        with pytest.raises(UserError, match="one prediction an item"):
            accuracy(predictions, references)


def test_metric_table():
    assert all(name == metric.name for name, metric in METRICS.items())
    assert not METRICS["eer"].higher_is_better and METRICS["accuracy"].higher_is_better
    with pytest.raises(UserError, match="unknown metric 'err'"):
        metric_named("err")


def tables(non_targets=5):
    scores = [0.9, 0.8, 0.7, 0.6, 0.3] + [0.65, 0.4, 0.2, 0.15, 0.1] * (non_targets // 5)
    ids = [f"t{index}" for index in range(len(scores))]
    references = pd.DataFrame(
        {
            "id": ids,
            "reference": ["1"] * 5 + ["0"] * non_targets,
            "speaker": "anna",
            "speaker2": ["anna"] * 5 + ["bob"] * non_targets,
        }
    )
    return {name: {"id": name, "score": value} for name, value in zip(ids, scores, strict=True)}, references


def test_score_verification_joins_on_the_id():
    predictions, references = tables()
    expected = {"eer": pytest.approx(20.0), "min_dcf_0.05": pytest.approx(0.4)}
    assert score_verification(predictions, references) == expected
    backwards = dict(reversed(predictions.items()))
    assert score("verification", backwards, references.sample(frac=1, random_state=3)) == expected


def test_references_may_be_numbers_or_truth_values():
    predictions, references = tables()
    for kind in (int, lambda value: value == "1"):
        assert score_verification(predictions, references.assign(reference=references["reference"].map(kind)))


def test_min_dcf_at_one_per_cent_needs_two_thousand_non_targets():
    assert "min_dcf_0.01" not in score_verification(*tables(1995))
    assert "min_dcf_0.01" in score_verification(*tables(2000))


def broken(change):
    predictions, references = tables()
    return change(predictions, references) or (predictions, references)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda p, r: p.pop("t3") and None, "no prediction for 't3'"),
        (lambda p, r: p.update(extra={"id": "extra", "score": 1.0}), "no reference for 'extra'"),
        (lambda p, r: (p, pd.concat([r, r.iloc[[2]]])), "'t2' twice"),
        (lambda p, r: p.update(t1={"id": "t1"}), "has no 'score'"),
        (lambda p, r: p.update(t1={"id": "t1", "score": "0.3"}), "number as score"),
        (lambda p, r: p.update(t1={"id": "t1", "score": float("nan")}), "NaN"),
        (lambda p, r: (p, r.drop(columns="speaker")), "speaker missing"),
        (lambda p, r: (p, r.assign(reference="yes")), "reference 1 or 0"),
    ],
)
def test_predictions_that_do_not_match_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        score_verification(*broken(change))


def test_unknown_kind():
    with pytest.raises(UserError, match="unknown kind"):
        score("regression", *tables())


def test_same_language_non_targets_are_scored_apart() -> None:
    """Non-targets of another language are given away by it: with the others alone the task is chance."""
    rng = np.random.default_rng(0)
    n = 300
    same = ["1"] * (2 * n) + ["0"] * n
    references = pd.DataFrame(
        {
            "id": [f"t{i}" for i in range(3 * n)],
            "reference": ["1"] * n + ["0"] * (2 * n),
            "speaker": "a",
            "speaker2": "b",
            "same_language": same,
            "same_channel": ["1"] * (3 * n),
        }
    )
    scores = np.concatenate([rng.normal(0, 1, 2 * n), rng.normal(-9, 1, n)])
    predictions = {f"t{i}": {"id": f"t{i}", "score": float(s)} for i, s in enumerate(scores)}
    found = score_verification(predictions, references)
    assert found["eer"] < 40 < found["eer_same_language"]
    assert "eer_same_channel" not in found, "every non-target shares the channel: the figure would say nothing new"
