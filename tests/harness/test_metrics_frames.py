"""Accuracy by time: worked by hand, free of the stride, each boundary on its side; and what is no label."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.metrics import METRICS, score
from harness.metrics_frames import frame_accuracy, parse, score_frames, steps
from harness.statistics_by_metric import statistic
from harness.uncertainty import point
from tasks.catalogue import Data, condition, load


def tables(pairs, speakers=None):
    ids = [f"u{index}" for index in range(len(pairs))]
    references = pd.DataFrame(
        {"id": ids, "reference": [true for _, true in pairs], "speaker": speakers or ["anna"] * len(ids)}
    )
    return {key: {"id": key, "text": said} for key, (said, _) in zip(ids, pairs, strict=True)}, references


PAIRS = [("pau:0.03 a:0.07 b:0.1", "pau:0.05 a:0.1"), ("a:0.04 x:0.06", "a:0.02 b:0.06")]
SPEAKERS = ["anna", "bert"]


def test_by_hand():
    # first: 10 steps, pau 3 of 5 right, a 2 of 5; second: 6 steps, a 2 of 2, b 0 of 4
    found = score("frames", *tables(PAIRS))
    assert found == {
        "frame_accuracy": pytest.approx(100 * 7 / 16),
        "frame_uar": pytest.approx(100 * (3 / 5 + 4 / 7 + 0 / 4) / 3),
    }
    assert all(METRICS[name].kind == "frames" and METRICS[name].higher_is_better for name in found)
    assert frame_accuracy(*zip(*PAIRS, strict=True)) == found["frame_accuracy"]


def test_the_middle_of_each_step_decides():
    said, true, utterance = steps(["x:1", "y:1"], ["a:0.015 b:0.0251 c:0.0252 d:0.036", "a:0.016"])
    # middles at 5, 15, 25 and 35 ms: an end at 15 ms leaves its middle to what follows; c lies between two middles
    assert true == ["a", "b", "b", "d", "a", "a"]
    assert said == ["x"] * 4 + ["y"] * 2
    assert utterance.tolist() == [0, 0, 0, 0, 1, 1]
    assert steps(["x:1"], ["a:0.005"])[1] == [] and steps(["x:1"], ["a:0.0051"])[1] == ["a"]


def test_boundaries_of_whole_milliseconds_are_exact():
    """0.145 and 0.285 s are no binary fractions; an end in a middle belongs to the next symbol every time."""
    for end in range(15, 1000, 10):
        true = steps(["x:2"], [f"a:{end / 1000} b:1.0"])[1]
        assert true == ["a"] * (end // 10) + ["b"] * (100 - end // 10), end


def test_splitting_a_run_changes_nothing():
    whole, parts = "a:0.08 b:0.2", "a:0.02 a:0.04 a:0.0712 a:0.08 b:0.1 b:0.2"
    true = "a:0.1 b:0.15 a:0.2"
    assert frame_accuracy([whole], [true]) == frame_accuracy([parts], [true]) == pytest.approx(100 * 13 / 20)
    assert frame_accuracy([true], [whole]) == frame_accuracy([true], [parts])


def test_what_a_prediction_leaves_open_is_wrong_and_what_it_adds_is_nothing():
    assert frame_accuracy(["a:0.06"], ["a:0.1"]) == pytest.approx(60.0)
    assert frame_accuracy(["a:0.1 b:7"], ["a:0.1"]) == 100.0


def test_a_symbol_too_short_for_any_step_is_not_averaged():
    assert score_frames(*tables([("a:0.1", "a:0.046 b:0.054 a:0.1")]))["frame_uar"] == 100.0
    assert score_frames(*tables([("a:0.1", "a:0.044 b:0.046 a:0.1")]))["frame_uar"] == 50.0


def test_parse():
    symbols, ends = parse("pau:0.462  a::1 b:1.50004")
    assert symbols == ["pau", "a:", "b"] and ends.tolist() == [4620, 10000, 15000]


@pytest.mark.parametrize(
    ("text", "found"),
    [("a b:1", "'a'"), (":1", "':1'"), ("a:1 b:1", "'b:1'"), ("a:0", "'a:0'"), ("a:1 b:0.5", "'b:0.5'"),
     ("a:nan", "'a:nan'"), ("a:inf", "'a:inf'"), ("a:x", "'a:x'"),
      ("", "found none"), ("a:1 b:1.00001", "'b:1.00001'")],
)  # fmt: skip
def test_no_labels(text, found):
    with pytest.raises(UserError, match="symbol:end") as error:
        parse(text)
    assert found in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="symbol:end"):
        score("frames", *tables([(text, "a:1")]))


def test_the_references_of_the_task_are_its_labels():
    task, _ = load("pr_frames", "mini")
    data = Data(task)
    for name in ("train", "dev", "test", "noise"):
        split = data.named(name)
        texts = list(split.references.values())
        assert texts == [u.phones for u in split.utterances] and frame_accuracy(texts, texts) == 100.0
    data.check_disjoint()
    # the labels are times
    assert all(part.keeps_length for part in condition(task, "noise").parts)


@pytest.mark.parametrize(
    ("phones", "says"), [("AA B", "row .*symbol:end.*'AA'"), ("", r"phones wanted, found none \(1 such row\)")]
)
def test_a_row_without_times_is_named(phones, says):
    task, _ = load("pr_frames", "mini")
    data = Data(task)
    rows = data.corpus("festvox_ru")
    at = next(place for place, row in enumerate(rows) if row.split == "dev")
    rows[at] = replace(rows[at], phones=phones)
    with pytest.raises(UserError, match=says) as error:
        data.named("dev")
    assert f"festvox_ru/manifest.csv, row {rows[at].id}: " in str(error.value) and "\n" not in str(error.value)


def test_one_prediction_an_utterance():
    with pytest.raises(UserError, match="one prediction an utterance"):
        steps(["a:1"], [])
    predictions, references = tables(PAIRS)
    del predictions["u1"]
    with pytest.raises(UserError, match="no prediction for 'u1'"):
        score("frames", predictions, references)


@pytest.mark.parametrize("metric", ["frame_accuracy", "frame_uar"])
def test_a_draw_is_the_score_of_the_utterances_drawn(metric):
    pairs = [*PAIRS, ("pau:0.02 b:0.05 a:0.2", "pau:0.03 b:0.09 a:0.21")]
    speakers = [*SPEAKERS, "cleo"]
    assert point(metric, *tables(pairs, speakers)) == pytest.approx(score_frames(*tables(pairs, speakers))[metric])
    drawn = statistic(metric, *tables(pairs, speakers))
    assert drawn.speakers == ("anna", "bert", "cleo")
    twice = score_frames(*tables([pairs[0], pairs[2], pairs[2]]))[metric]
    assert drawn.value(np.array([[1, 0, 2]]))[0] == pytest.approx(twice)


def test_a_draw_without_a_symbol_has_no_uar():
    values = statistic("frame_uar", *tables(PAIRS, SPEAKERS)).value(np.array([[2, 0], [0, 2], [1, 1]]))
    assert np.isnan(values[:2]).all() and values[2] == pytest.approx(100 * (3 / 5 + 4 / 7) / 3)
