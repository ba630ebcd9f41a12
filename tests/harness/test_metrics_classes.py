"""Accuracy, UAR and macro F1 against scikit-learn and by hand."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from harness.errors import UserError
from harness.metrics import METRICS, restricted, score
from harness.metrics_classes import confusion, macro_f1, score_classification, uar

settings.register_profile("plain", deadline=None, derandomize=True, database=None)
settings.load_profile("plain")


def tables(pairs):
    ids = [f"u{index:03d}" for index in range(len(pairs))]
    references = pd.DataFrame({"id": ids, "reference": [true for _, true in pairs], "speaker": "anna"})
    return {key: {"id": key, "label": said} for key, (said, _) in zip(ids, pairs, strict=True)}, references


PAIRS = [("a", "a")] * 6 + [("b", "a")] * 2 + [("b", "b"), ("a", "b"), ("c", "c"), ("x", "c")]
"""8 of a (6 right), 2 of b (1 right), 2 of c (1 right, the other called x, which nothing is)."""


def test_by_hand():
    found = score_classification(*tables(PAIRS))
    assert found["accuracy"] == pytest.approx(100 * 8 / 12)
    assert found["uar"] == pytest.approx(100 * (6 / 8 + 1 / 2 + 1 / 2) / 3)
    # F1: a 12 / 15, b 2 / 5, c 2 / 3, x 0
    assert found["macro_f1"] == pytest.approx(100 * (12 / 15 + 2 / 5 + 2 / 3 + 0) / 4)
    assert all(METRICS[name].kind == "classification" and METRICS[name].higher_is_better for name in found)


def test_the_three_are_not_each_other():
    found = score("classification", *tables(PAIRS))
    assert len({round(value, 6) for value in found.values()}) == 3


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_agrees_with_scikit_learn(pairs):
    said, true = [a for a, _ in pairs], [b for _, b in pairs]
    found = score_classification(*tables(pairs))
    present = sorted(set(true))
    recall = recall_score(true, said, labels=present, average="macro", zero_division=0)
    assert found["accuracy"] == pytest.approx(100 * accuracy_score(true, said))
    assert found["uar"] == pytest.approx(100 * recall)
    # scikit-learn's own default: the classes of either side
    assert found["macro_f1"] == pytest.approx(100 * f1_score(true, said, average="macro", zero_division=0))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abc")), min_size=1, max_size=30), st.randoms())
def test_order_changes_nothing(pairs, random):
    predictions, references = tables(pairs)
    mixed = list(predictions.items())
    random.shuffle(mixed)
    again = score_classification(dict(mixed), references.sample(frac=1, random_state=1))
    assert again == score_classification(predictions, references)


def test_confusion_holds_the_recalls():
    table = confusion(*tables(PAIRS))
    assert table.loc["a"].to_dict() == {"a": 6, "b": 2, "c": 0, "x": 0}
    assert list(table.index) == ["a", "b", "c"] and table.to_numpy().sum() == len(PAIRS)
    said, true = [a for a, _ in PAIRS], [b for _, b in PAIRS]
    assert (table.to_numpy() == confusion_matrix(true, said, labels=["a", "b", "c", "x"])[:3]).all()
    recalls = [table.loc[name, name] / table.loc[name].sum() for name in table.index]
    assert 100 * sum(recalls) / 3 == pytest.approx(uar(said, true))


def test_restricted_to_the_labels_of_another_split():
    predictions, references = tables(PAIRS)
    kept = restricted(references, {"a", "b", "nowhere"})
    assert len(kept) == 10 and set(kept["reference"]) == {"a", "b"} and list(kept.index) == list(range(10))
    some = {key: predictions[key] for key in kept["id"]}
    assert score_classification(some, kept)["accuracy"] == pytest.approx(70.0)
    for labels in (["nowhere"], []):
        with pytest.raises(UserError, match="share no class"):
            restricted(references, labels)


@pytest.mark.parametrize("function", [uar, macro_f1])
@pytest.mark.parametrize("arguments", [(["a"], ["a", "b"]), ([], [])])
def test_one_prediction_an_item(function, arguments):
    with pytest.raises(UserError, match="one prediction an item"):
        function(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, r: p.pop("u003"), "no prediction for 'u003'"),
        (lambda p, r: p.update(more={"id": "more", "label": "a"}), "no reference for 'more'"),
        (lambda p, r: p.update(u001={"id": "u001", "label": 3}), "a string as label wanted, found 3"),
        (lambda p, r: p.update(u001={"id": "u001", "text": "a"}), "has no 'label'"),
    ],
)
def test_predictions_that_do_not_match_are_refused(change, message):
    predictions, references = tables(PAIRS)
    change(predictions, references)
    with pytest.raises(UserError, match=message):
        score("classification", predictions, references)
