"""The speaker bootstrap of accuracies and error rates: weights, pairing, classes that a draw misses, and coverage."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from harness import uncertainty
from harness.errors import UserError
from harness.metrics import METRICS, score
from harness.metrics_sequences import errors
from harness.statistics_by_metric import STATISTICS, statistic
from harness.uncertainty import drop_interval, interval, paired_difference, point, replicates

WORDS = ["ONE", "TWO", "THREE", "FOUR"]
ALL = ["accuracy", "uar", "macro_f1", "wer", "cer", "per"]


def make(metric, speakers=10, items=6, seed=0, spread=1.0, wrong=0.3, prefix="s"):
    """Items of speakers who differ in difficulty; for `text` metrics each is a few words, some changed."""
    random = np.random.default_rng(seed)
    rows, predictions = [], {}
    for at in range(speakers):
        chance = 1 / (1 + np.exp(-(np.log(wrong / (1 - wrong)) + spread * random.normal())))
        for number in range(items + at % 3):
            name = f"{prefix}{at:02d}_{number}"
            if METRICS[metric].kind == "classification":
                true = WORDS[(number + at) % 3]
                said = WORDS[random.integers(4)] if random.random() < chance else true
                predictions[name] = {"id": name, "label": said}
            else:
                drawn = random.integers(4, size=random.integers(0, 6))
                true = " ".join(WORDS[index] for index in drawn)
                said = " ".join(WORDS[random.integers(4)] if random.random() < chance else WORDS[i] for i in drawn)
                predictions[name] = {"id": name, "text": said + (" MORE" if random.random() < chance / 2 else "")}
            rows.append((name, true, f"{prefix}{at:02d}"))
    return predictions, pd.DataFrame(rows, columns=["id", "reference", "speaker"])


def test_every_metric_has_a_statistic():
    assert set(STATISTICS) == set(METRICS)


@pytest.mark.parametrize("metric", ALL)
def test_point_is_the_score(metric):
    predictions, references = make(metric)
    assert point(metric, predictions, references) == pytest.approx(
        score(METRICS[metric].kind, predictions, references)[metric], abs=1e-9
    )


def plain(metric, predictions, rows):
    """The metric of a list of rows, some of them several times, by other code."""
    true = [row.reference for row in rows]
    if METRICS[metric].kind != "classification":
        said = [predictions[row.id]["text"] for row in rows]
        edits, lengths = errors(said, true, {"wer": "word", "cer": "char", "per": "phone"}[metric])
        return 100 * edits.sum() / lengths.sum()
    said = [predictions[row.id]["label"] for row in rows]
    if metric == "accuracy":
        return 100 * accuracy_score(true, said)
    if metric == "uar":
        return 100 * recall_score(true, said, labels=sorted(set(true)), average="macro", zero_division=0)
    return 100 * f1_score(true, said, average="macro", zero_division=0)


@pytest.mark.parametrize("metric", ALL)
def test_a_weight_is_a_repetition(metric):
    predictions, references = make(metric)
    stat = statistic(metric, predictions, references)
    counts = uncertainty.speaker_counts(stat.speakers, 20)
    found = stat.value(counts)
    for draw, value in zip(counts, found, strict=True):
        times = dict(zip(stat.speakers, draw, strict=True))
        rows = [row for row in references.itertuples() for _ in range(times[row.speaker])]
        assert value == pytest.approx(plain(metric, predictions, rows), abs=1e-9)


@pytest.mark.parametrize("metric", ALL)
def test_interval_holds_the_score_and_pairs(metric):
    predictions, references = make(metric)
    found = interval(metric, predictions, references)
    assert found.low < point(metric, predictions, references) < found.high and found.draws == 1000
    mixed = references.sample(frac=1, random_state=5)
    assert interval(metric, dict(reversed(predictions.items())), mixed) == found
    difference, paired = paired_difference(metric, predictions, predictions, references)
    assert difference == paired.low == paired.high == 0
    same = drop_interval(metric, predictions, references, predictions, references)
    assert (same.low, same.high) == (0, 0)
    few = references[references["speaker"] < "s07"]
    assert interval(metric, {key: predictions[key] for key in few["id"]}, few) is None


@pytest.mark.parametrize("metric", ["accuracy", "uar", "macro_f1", "wer"])
def test_pieces_change_nothing(metric, monkeypatch):
    predictions, references = make(metric)
    whole = replicates(metric, predictions, references).values
    monkeypatch.setattr(uncertainty, "_CHUNK", 70)
    assert (replicates(metric, predictions, references).values == whole).all()


@pytest.mark.parametrize("metric", ["uar", "macro_f1"])
def test_draws_that_miss_a_class_are_drawn_again(metric):
    """Only one of ten speakers has the class: about a third of the draws miss it, whatever is predicted."""
    predictions, references = make(metric)
    hers = (references["speaker"] == "s00") & references["id"].str.endswith("1")
    rare = references.assign(reference=references["reference"].mask(hers, "RARE"))
    found = replicates(metric, predictions, rare)
    assert found.redrawn > 250 and np.isfinite(found.values).all()
    others = {key: {"id": key, "label": "RARE"} for key in predictions}
    assert replicates(metric, others, rare).redrawn == found.redrawn
    assert replicates("accuracy", predictions, rare).redrawn == 0


def test_a_class_a_speaker_cannot_be_resampled(monkeypatch):
    """As in speaker identification: each draw misses some class, so there is no UAR to take."""
    predictions, references = make("uar")
    monkeypatch.setattr(uncertainty, "MAX_ATTEMPTS", 3)
    with pytest.raises(UserError, match="leave a class empty"):
        interval("uar", predictions, references.assign(reference=references["speaker"]))
    assert interval("accuracy", predictions, references.assign(reference=references["speaker"])) is not None


def test_only_empty_references_in_a_draw():
    predictions, references = make("wer", speakers=8)
    silent = references.assign(reference=references["reference"].where(references["speaker"] == "s00", ""))
    found = replicates("wer", predictions, silent)
    assert found.redrawn > 250 and np.isfinite(found.values).all()


@pytest.mark.parametrize("metric", ["accuracy", "wer"])
def test_an_item_without_a_speaker_is_refused(metric):
    predictions, references = make(metric)
    with pytest.raises(UserError, match="found an empty one"):
        interval(metric, predictions, references.assign(speaker=""))


def test_one_speaker_weighs_as_many_items_as_she_has():
    """Two speakers, 1 item right and 3 items wrong: in a draw of both, one in four is right."""
    references = pd.DataFrame({"id": list("abcd"), "reference": "x", "speaker": ["p", "q", "q", "q"]})
    predictions = {key: {"id": key, "label": "x" if key == "a" else "y"} for key in "abcd"}
    stat = statistic("accuracy", predictions, references)
    assert stat.value(np.array([[1, 1], [2, 0], [0, 2], [2, 1]])).tolist() == [25.0, 100.0, 0.0, 40.0]


@pytest.mark.parametrize(("metric", "spread"), [("accuracy", 1.0), ("uar", 1.0)])
def test_coverage_by_simulation(metric, spread):
    """Speakers differ in difficulty. The speaker bootstrap covers the true rate about as often as it says; a bootstrap
    over items does not."""
    speakers, items, repetitions, draws = 40, 20, 200, 400
    random = np.random.default_rng(3)
    truth = 100 * (1 / (1 + np.exp(-(1.0 + spread * random.normal(size=400_000))))).mean()
    ids = [f"u{index}" for index in range(speakers * items)]
    speaker = np.repeat(np.arange(speakers), items)
    true = np.tile(["x", "y"], speakers * items // 2)
    references = pd.DataFrame({"id": ids, "reference": true, "speaker": [f"s{index:02d}" for index in speaker]})
    swapped = np.where(true == "x", "y", "x")
    by_speaker = by_item = 0
    for _ in range(repetitions):
        chance = 1 / (1 + np.exp(-(1.0 + spread * random.normal(size=speakers))))
        right = random.random(len(ids)) < chance[speaker]
        labels = np.where(right, true, swapped)
        predictions = {key: {"id": key, "label": str(label)} for key, label in zip(ids, labels, strict=True)}
        found = interval(metric, predictions, references, draws=draws)
        by_speaker += found.low <= truth <= found.high
        low, high = np.percentile(100 * random.binomial(len(ids), right.mean(), draws) / len(ids), [2.5, 97.5])
        by_item += low <= truth <= high
    assert by_speaker > 0.9 * repetitions
    assert by_item < by_speaker - 0.12 * repetitions
