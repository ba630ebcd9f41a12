"""The speaker bootstrap: what it weighs, that it pairs, and that its intervals cover the truth."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from harness import uncertainty
from harness.errors import UserError
from harness.metrics import eer, eer_weighted, min_dcf, verification_trials
from harness.statistics_by_metric import verification
from harness.uncertainty import (
    drop_interval,
    interval,
    paired_difference,
    percentile_interval,
    point,
    replicates,
    speaker_counts,
)

METRIC = "eer"


def make(speakers=12, targets=6, seed=0, shift=1.5, spread=0.0, prefix="s"):
    """`targets` target trials a speaker and one non-target for each ordered pair; speakers differ by `spread`."""
    random = np.random.default_rng(seed)
    own, other = random.normal(0, spread, (2, speakers)) if spread else np.zeros((2, speakers))
    rows, predictions = [], {}
    for i in range(speakers):
        pairs = [(i, i)] * targets + [(i, j) for j in range(speakers) if j != i]
        for j in [pair[1] for pair in pairs]:
            name = f"{prefix}{len(rows):05d}"
            mean = shift + own[i] if i == j else other[i] + other[j]
            rows.append((name, str(int(i == j)), f"{prefix}{i:02d}", f"{prefix}{j:02d}"))
            predictions[name] = {"id": name, "score": float(mean + random.normal())}
    return predictions, pd.DataFrame(rows, columns=["id", "reference", "speaker", "speaker2"])


def shifted(predictions, amount):
    return {key: {"id": key, "score": row["score"] + amount * (index % 7)} for index, (key, row) in
            enumerate(predictions.items())}  # fmt: skip


def test_point_is_the_equal_error_rate():
    predictions, references = make()
    assert point(METRIC, predictions, references) == eer(*verification_trials(predictions, references))


def test_a_target_weighs_m_and_a_non_target_the_product():
    predictions, references = make(speakers=8)
    scores, targets = verification_trials(predictions, references)
    stat = verification(predictions, references)
    counts = np.array([[0, 2, 1, 3, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1]])
    m = dict(zip(stat.speakers, counts[0], strict=True))
    weights = [
        m[row.speaker] if row.reference == "1" else m[row.speaker] * m[row.speaker2] for row in references.itertuples()
    ]
    expected = eer_weighted(scores, targets, np.stack([weights, np.ones(len(scores))]))
    assert stat.value(counts).tolist() == expected.tolist()


def test_speaker2_of_a_target_may_be_empty_but_of_a_non_target_not():
    predictions, references = make(speakers=8)
    target = references["reference"] == "1"
    left_out = references.assign(speaker2=references["speaker2"].where(~target, ""))
    assert interval(METRIC, predictions, left_out) == interval(METRIC, predictions, references)
    with pytest.raises(UserError, match="found an empty one"):
        interval(METRIC, predictions, references.assign(speaker2=""))
    with pytest.raises(UserError, match="one and the same"):
        interval(METRIC, predictions, references.assign(speaker2=references["speaker"]))


def test_same_draws_for_the_same_speakers_and_independent_ones_for_others():
    names = [f"s{index}" for index in range(10)]
    counts = speaker_counts(names, 500)
    assert counts.shape == (500, 10) and (counts.sum(axis=1) == 10).all()
    assert (counts == speaker_counts(names, 500)).all()
    other = speaker_counts([f"o{index}" for index in range(10)], 500)
    assert abs(np.corrcoef(counts[:, 0], other[:, 0])[0, 1]) < 0.15
    assert not (counts == speaker_counts(names, 500, attempt=1)).all()


def test_draws_are_those_of_the_first_release():
    """Published intervals rest on them."""
    assert speaker_counts(["a", "b", "c", "d"], 3).tolist() == [[1, 2, 1, 0], [1, 1, 1, 1], [2, 1, 0, 1]]


def test_order_of_trials_changes_nothing():
    predictions, references = make()
    mixed = references.sample(frac=1, random_state=5)
    backwards = dict(reversed(predictions.items()))
    assert interval(METRIC, backwards, mixed) == interval(METRIC, predictions, references)


def test_long_lists_go_through_in_pieces(monkeypatch):
    predictions, references = make()
    whole = replicates(METRIC, predictions, references).values
    monkeypatch.setattr(uncertainty, "_CHUNK", 7 * len(references))
    assert (replicates(METRIC, predictions, references).values == whole).all()


@pytest.mark.parametrize("speakers,has", [(7, False), (8, True)])
def test_no_interval_below_eight_speakers(speakers, has):
    predictions, references = make(speakers=speakers)
    assert (interval(METRIC, predictions, references) is not None) == has
    difference, range_ = paired_difference(METRIC, shifted(predictions, 0.2), predictions, references)
    assert difference != 0 and (range_ is not None) == has
    assert (drop_interval(METRIC, *make(), predictions, references) is not None) == has


def test_draws_without_a_target_are_drawn_again():
    """Only one of eight speakers has target trials: a third of the draws miss her."""
    predictions, references = make(speakers=8)
    keep = (references["reference"] == "0") | (references["speaker"] == "s00")
    references = references[keep]
    predictions = {key: predictions[key] for key in references["id"]}
    first = replicates(METRIC, predictions, references)
    assert first.redrawn > 250 and np.isfinite(first.values).all() and len(first.values) == 1000
    assert (replicates(METRIC, predictions, references).values == first.values).all()
    other = replicates(METRIC, shifted(predictions, 0.3), references)
    assert other.redrawn == first.redrawn


def test_speakers_that_can_never_give_both_classes_are_refused(monkeypatch):
    predictions, references = make(speakers=8)
    monkeypatch.setattr(uncertainty, "MAX_ATTEMPTS", 1)
    keep = (references["reference"] == "0") | (references["speaker"] == "s00")
    with pytest.raises(UserError, match="leave a class empty"):
        interval(METRIC, {key: predictions[key] for key in references[keep]["id"]}, references[keep])


def test_paired_difference():
    predictions, references = make(spread=1.0)
    assert paired_difference(METRIC, predictions, predictions, references)[1].model_dump(include={"low", "high"}) == {
        "low": 0.0,
        "high": 0.0,
    }
    near = shifted(predictions, 0.05)
    difference, paired = paired_difference(METRIC, near, predictions, references)
    assert difference == point(METRIC, near, references) - point(METRIC, predictions, references)
    assert paired.low <= difference <= paired.high
    alone = interval(METRIC, predictions, references)
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    with pytest.raises(UserError, match="no prediction for"):
        paired_difference(METRIC, predictions, dict(list(predictions.items())[1:]), references)


def test_drop_pairs_by_speaker_name():
    """The same speakers in two recordings: paired, so far narrower than by independent draws."""
    inside, references = make(spread=1.0)
    outside = shifted(inside, 0.1)
    shared = drop_interval(METRIC, inside, references, outside, references)
    assert shared == paired_difference(METRIC, outside, inside, references)[1]
    renamed = references.assign(speaker="o" + references["speaker"], speaker2="o" + references["speaker2"])
    apart = drop_interval(METRIC, inside, references, outside, renamed)
    assert apart.high - apart.low > 1.5 * (shared.high - shared.low)
    separate = replicates(METRIC, outside, renamed).values - replicates(METRIC, inside, references).values
    assert apart == percentile_interval(separate)


def test_drop_where_only_some_speakers_are_shared():
    inside, references = make(speakers=12, spread=1.0)
    few = references[(references["speaker"] < "s09") & (references["speaker2"] < "s09")]
    outside = {key: inside[key] for key in few["id"]}
    found = drop_interval(METRIC, inside, references, outside, few)
    difference = point(METRIC, outside, few) - point(METRIC, inside, references)
    assert found.low <= difference <= found.high


def test_unknown_metric():
    with pytest.raises(UserError, match="unknown metric"):
        interval("verification", *make())


def test_the_other_metrics_of_trials_have_intervals_of_their_own():
    predictions, references = make(spread=1.0)
    scores, targets = verification_trials(predictions, references)
    assert point("min_dcf_0.05", predictions, references) == min_dcf(scores, targets, 0.05)
    found = interval("min_dcf_0.05", predictions, references)
    assert 0 < found.low < point("min_dcf_0.05", predictions, references) < found.high < 1.01
    with pytest.raises(UserError, match="same_language wanted"):
        interval("eer_same_language", predictions, references)
    half = np.arange(len(references)) % 2 == 0
    marked = references.assign(same_language=np.where(half, "1", "0"))
    alike = targets | half
    expected = eer(scores[alike], targets[alike])
    assert point("eer_same_language", predictions, marked) == expected
    assert len(verification(predictions, marked, "eer_same_language").speakers) == 12


def test_coverage_by_simulation():
    """Speakers differ in difficulty. Over repetitions the speaker bootstrap covers the true EER about as often as it
    says; a bootstrap over trials does not."""
    speakers, targets, own, other, shift, repetitions, draws = 30, 12, 0.8, 0.5, 2.5, 100, 300
    spread = (np.hypot(own, 1.0), np.sqrt(2 * other**2 + 1.0))
    truth = 100 * NormalDist().cdf(-shift / sum(spread))
    names = [f"s{index:02d}" for index in range(speakers)]
    first, second = np.triu_indices(speakers, 1)
    left = np.concatenate([np.repeat(np.arange(speakers), targets), first])
    right = np.concatenate([np.repeat(np.arange(speakers), targets), second])
    is_target = left == right
    ids = [f"t{index}" for index in range(len(left))]
    references = pd.DataFrame(
        {
            "id": ids,
            "reference": is_target.astype(int),
            "speaker": [names[index] for index in left],
            "speaker2": [names[index] for index in right],
        }
    )
    random = np.random.default_rng(7)
    by_speaker = by_trial = 0
    for _ in range(repetitions):
        a, b = random.normal(0, own, speakers), random.normal(0, other, speakers)
        scores = np.where(is_target, shift + a[left], b[left] + b[right]) + random.normal(size=len(left))
        predictions = {key: {"id": key, "score": float(value)} for key, value in zip(ids, scores, strict=True)}
        found = interval(METRIC, predictions, references, draws=draws)
        by_speaker += found.low <= truth <= found.high
        weights = random.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size=draws)
        low, high = np.percentile(eer_weighted(scores, is_target, weights), [2.5, 97.5])
        by_trial += low <= truth <= high
    assert by_speaker > 88
    assert by_trial < by_speaker - 15
