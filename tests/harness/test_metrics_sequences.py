"""WER, CER and PER against a plain edit distance, and what becomes of empty references."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.metrics import METRICS, score
from harness.metrics_sequences import UNITS, error_rate, errors, score_phones, score_words

settings.register_profile("plain", deadline=None, derandomize=True, database=None)
settings.load_profile("plain")


def distance(a, b):
    """Levenshtein, by its definition."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (one != other))
    return row[-1]


def tables(pairs):
    ids = [f"u{index:03d}" for index in range(len(pairs))]
    references = pd.DataFrame({"id": ids, "reference": [true for _, true in pairs], "speaker": "anna"})
    return {key: {"id": key, "text": said} for key, (said, _) in zip(ids, pairs, strict=True)}, references


PAIRS = [("A BIG CAT", "A BIG HAT"), ("", "GO ON"), ("YES", ""), ("NO NO", "NO")]


def test_words_by_hand():
    found = score_words(*tables(PAIRS))
    # 1 substitution, 2 deletions, 1 insertion before an empty reference, 1 insertion; 3 + 2 + 0 + 1 words
    assert found["wer"] == pytest.approx(100 * 5 / 6)
    # 1, 5, 3 and 3 of 9 + 5 + 0 + 2 characters
    assert found["cer"] == pytest.approx(100 * 12 / 16)
    assert all(METRICS[name].kind == "words" and not METRICS[name].higher_is_better for name in found)


def test_phones_by_hand():
    pairs = [("HH AH L OW W ER D", "HH AH L OW | W ER L D"), ("HH | AH", "HH AH"), ("", "S")]
    assert score_phones(*tables(pairs)) == {"per": pytest.approx(100 * 2 / 11)}
    assert score("phones", *tables(pairs)) == score_phones(*tables(pairs))
    assert METRICS["per"].kind == "phones"


def test_the_corpus_not_the_mean_of_utterances():
    pairs = [("X", "A"), ("A B C D E F G H I", "A B C D E F G H I")]
    assert error_rate(*zip(*pairs, strict=True), "word") == pytest.approx(10.0)


def test_deleting_a_word_is_not_inserting_one():
    """Hypothesis and reference the right way round: the length is the reference's."""
    assert error_rate(["A"], ["A B C D"], "word") == 75.0
    assert error_rate(["A B C D"], ["A"], "word") == 300.0


@pytest.mark.parametrize("unit", ["word", "char", "phone"])
def test_references_that_are_all_empty_are_refused(unit):
    for texts in (["", " "], []):
        with pytest.raises(UserError, match=f"at least one {unit}"):
            error_rate(["X"] * len(texts), texts, unit)
    with pytest.raises(UserError, match="one hypothesis an utterance"):
        error_rate(["X"], [], unit)


def test_a_bar_is_no_phone():
    with pytest.raises(UserError, match="at least one phone"):
        error_rate(["X"], ["|"], "phone")
    assert error_rate(["A |"], ["A |"], "word") == 0.0 and errors(["A |"], ["A |"], "word")[1].tolist() == [2]


texts = st.lists(st.sampled_from(["A", "B", "AB", "'", "|", "Ä"]), max_size=6).map(" ".join)


@settings(max_examples=60)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=8), st.sampled_from(["word", "char", "phone"]))
def test_agrees_with_a_plain_edit_distance(pairs, unit):
    said, true = [a for a, _ in pairs], [b for _, b in pairs]

    def tokens(text):
        parts = [part for part in text.split() if unit != "phone" or part != "|"]
        return list(" ".join(parts)) if unit == "char" else parts

    edits, lengths = errors(said, true, unit)
    assert edits.tolist() == [distance(tokens(a), tokens(b)) for a, b in pairs]
    assert lengths.tolist() == [len(tokens(b)) for b in true]


def test_spaces_in_excess_are_no_characters():
    assert error_rate(["  A   B "], ["A B"], "char") == 0.0


def test_a_prediction_that_is_no_text():
    predictions, references = tables(PAIRS)
    predictions["u001"] = {"id": "u001", "text": ["GO"]}
    with pytest.raises(UserError, match="a string as text wanted"):
        score("words", predictions, references)


def test_order_of_the_lines_changes_nothing():
    predictions, references = tables(PAIRS)
    mixed = references.sample(frac=1, random_state=4)
    assert score("words", dict(reversed(predictions.items())), mixed) == score("words", predictions, references)


def test_every_unit_has_its_metric():
    assert set(UNITS) == {name for name, metric in METRICS.items() if metric.kind in ("words", "phones")}
