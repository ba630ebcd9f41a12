"""Progress off a terminal: which lines are printed, by a clock that the test moves."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

import pytest

from harness import progress as module
from harness.progress import progress


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "clock", made)
    return made


def run(clock: Clock, items: Iterable[int], seconds: float, what: str, total: int | None = None, **initial: int):
    """Every item takes so many seconds. Returns the items."""
    seen = []
    for item in progress(items, what, total, **initial):
        seen.append(item)
        clock.now += seconds
    return seen


def test_a_line_a_minute_at_most_with_what_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clock, range(10), 45.0, "training seed 0") == list(range(10))
    assert capsys.readouterr().err.splitlines() == [
        "training seed 0: 2 of 10, 1.5 min, about 6.0 min left",
        "training seed 0: 4 of 10, 3.0 min, about 4.5 min left",
        "training seed 0: 6 of 10, 4.5 min, about 3.0 min left",
        "training seed 0: 8 of 10, 6.0 min, about 1.5 min left",
    ]


def test_short_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(clock, range(100), 0.5, "merging")
    said = capsys.readouterr()
    assert said.out == said.err == ""


def test_what_a_resumed_run_had_done_before_counts_for_the_place_not_for_the_pace(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    run(clock, range(1200, 1204), 30.0, "training", 1204, initial=1200)
    assert capsys.readouterr().err == "training: 1,202 of 1,204, 1.0 min, about 1.0 min left\n"


def test_without_a_total_nothing_is_foretold(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(clock, iter(range(3)), 61.0, "clips")
    assert capsys.readouterr().err.splitlines() == ["clips: 1, 1.0 min", "clips: 2, 2.0 min"]


def test_a_slow_first_item_has_no_pace_yet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def slow():
        clock.now += 90
        yield 0

    assert list(progress(slow(), "clips", 5)) == [0]
    assert capsys.readouterr().err == "clips: 0 of 5, 1.5 min\n"


def test_of_several_processes_the_first_alone_speaks(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run(clock, range(5), 100.0, "training") == list(range(5))
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar_and_no_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert run(clock, range(3), 100.0, "training") == [0, 1, 2]
    assert "training:   0%" in screen.getvalue() and "min left" not in screen.getvalue()
