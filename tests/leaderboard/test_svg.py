"""Drawings: well formed whatever the names, the same bytes, labels apart."""

from xml.etree import ElementTree

import pytest

from leaderboard.figure_heat import mix, shade
from leaderboard.figure_points import variant
from leaderboard.svg import Drawing, fixed, spread, ticks, ticks_between


def test_names_are_text():
    drawing = Drawing(10, 10, 'a "title" & <more>')
    drawing.text(1, 2, "<script>&")
    drawing.mark(1, 2, colour="#000000", title="]]> <b>")
    drawing.rect(0, 0, 1, 1, fill="#ffffff", title="a & b")
    root = ElementTree.fromstring(drawing.bytes())
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {"svg", "title", "rect", "text", "circle"}
    assert "<script>&" in [element.text for element in root.iter()]
    assert drawing.bytes() == drawing.bytes()


def test_labels_lie_apart_and_in_order():
    places = [10.0, 11.0, 12.0, 50.0, 99.0, 99.5]
    found = spread(places, 5, 0, 100)
    assert all(b - a >= 5 - 1e-9 for a, b in zip(found, found[1:], strict=False)) and found[3] == 50
    assert found[:3] == [6, 11, 16] and found[-1] <= 100
    assert spread([50.0, 10.0], 5, 0, 100) == [50, 10] and spread([], 5, 0, 100) == []
    crowded = spread([5.0] * 11, 5, 0, 20)
    assert crowded == pytest.approx([2.0 * number for number in range(11)])


@pytest.mark.parametrize(("top", "last"), [(1.0, 1.0), (83.0, 100.0), (0.7, 0.8), (13.4, 15.0), (400.0, 400.0)])
def test_ticks_are_round_and_reach(top, last):
    found = ticks(top)
    assert found[0] == 0 and found[-1] == last >= top and len(found) <= 7


@pytest.mark.parametrize(("low", "high"), [(0.0, 13.3), (57.1, 107.2), (-7.4, 1.0), (5.0, 5.0)])
def test_ticks_between_hold_both_ends(low, high):
    found = ticks_between(low, high)
    assert found[0] <= low and found[-1] >= high and len(found) > 1
    steps = {round(b - a, 6) for a, b in zip(found, found[1:], strict=False)}
    assert len(steps) == 1 and (0.0 in found or low > 0)


def test_colours():
    assert shade(0.0) == 0 and shade(0.5) == 0.5 and shade(-1.0) == -0.5 and shade(-20.0) < -1 and shade(1.0) == 1
    assert mix(0.0) == "#ffffff" and mix(5.0) == mix(1.0) != mix(-1.0)
    assert fixed(-0.001) == "0" and fixed(3.10) == "3.1"


def test_only_names_that_no_shorter_one_begins_are_written_beside_their_marks() -> None:
    found = ["vib_text", "vib_text_control", "speech_ft_asr", "speech_ft_asr+lora", "speech_ft_pr"]
    assert [name for name in found if not variant(name, found)] == ["vib_text", "speech_ft_asr", "speech_ft_pr"]
