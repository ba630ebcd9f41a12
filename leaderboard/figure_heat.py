"""The heat map: streams by tasks, coloured by how many errors each leaves of its backbone's; the separation of pairs
below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

from leaderboard.aspects import TASKS, WHAT, WHO
from leaderboard.contrast import BACKBONE, BASELINE, CONTROL, STREAM
from leaderboard.overview import Board
from leaderboard.separation import NO_CONTROL
from leaderboard.svg import INK, LINE, NEUTRAL, SOFT, Drawing, width_of

NAMED = 11
"""Font size of names."""
WORST = 2.0
"""Doublings of the errors at which the colour is full."""


def mix(share: float) -> str:
    """From red (-1, more errors) over white to blue (1, fewer)."""
    end = (0x2F, 0x66, 0xA9) if share > 0 else (0xD0, 0x4A, 0x4A)
    weight = min(abs(share), 1.0) * 0.85
    return "#" + "".join(f"{round(255 + (part - 255) * weight):02x}" for part in end)


def shade(relative: float) -> float:
    """Of a selectivity, by doublings of the errors: half as many are 0.5, four times as many are -1."""
    return -log2(max(1.0 - relative, 2.0**-WORST)) / WORST


def heat_map(group: Sequence[Board], lines: Sequence[dict[str, Any]], apart: Sequence[dict[str, Any]],
             colours: Mapping[str, str]) -> bytes:  # fmt: skip
    heads = {board.task: (board.head, board.preset) for board in group}
    tasks = sorted(heads, key=lambda task: ({WHO: 0, WHAT: 1}.get(TASKS.get(task, ""), 2), task))
    cells = {(line["upstream"], line["task"]): line for line in lines
             if (line["head"], line["preset"]) == heads.get(line["task"])}  # fmt: skip
    by_role: dict[str, list[str]] = {}
    for line in sorted(cells.values(), key=lambda line: (line["family"], line["upstream"])):
        names = by_role.setdefault(line["role"], [])
        if line["upstream"] not in names and line["role"] != BACKBONE:
            names.append(line["upstream"])
    order = [(kind, name) for kind in (STREAM, CONTROL, BASELINE) for name in by_role.get(kind, [])]
    left = max(width_of(name, NAMED) for _, name in order) + 40
    wide, high, top = 78.0, 21.0, 118.0
    gaps = [0.0, *(_gap(order[index - 1], order[index], colours) for index in range(1, len(order)))]
    bottom = top + high * len(order) + sum(gaps)
    panel = 62 + 24.0 * len(apart) if apart else 0.0
    drawing = Drawing(left + wide * len(tasks) + 24, bottom + 46 + panel, "Selectivity of each stream by task")
    drawing.text(16, 26, "Who gains what", size=16, weight=600)
    drawing.text(16, 45, "Change of the errors against the backbone's under the same head, in-domain, in %: + fewer, "
                 "− more errors. Empty: not published.", fill=SOFT)  # fmt: skip
    drawing.text(16, 60, "Bold: the 95 % interval excludes 0.  †: the test shares a corpus, speakers, sentences or "
                 "recordings with its training.", fill=SOFT)  # fmt: skip
    _task_heads(drawing, tasks, heads, cells, left, wide, top)
    y = top
    for index, (_, name) in enumerate(order):
        y += gaps[index]
        drawing.mark(20, y + high / 2, colour=colours[name], radius=4)
        drawing.text(30, y + high / 2 + 4, name, size=NAMED)
        for number, task in enumerate(tasks):
            cell = cells.get((name, task))
            if cell is not None and cell["selectivity"] is not None:
                _heat(drawing, left + wide * number, y, wide, high, cell)
        y += high
    _scale(drawing, left, bottom + 20)
    if apart:
        _separation(drawing, bottom + 58, left, drawing.width - 50, apart, colours)
    return drawing.bytes()


def _gap(above: tuple[str, str], below: tuple[str, str], colours: Mapping[str, str]) -> float:
    """Between rows of two roles, and less between two families."""
    return 10.0 if above[0] != below[0] else 4.0 if colours[above[1]] != colours[below[1]] else 0.0


def _task_heads(drawing: Drawing, tasks: Sequence[str], heads: Mapping[str, tuple[str, str]],
                cells: Mapping[tuple[str, str], Any], left: float, wide: float, top: float) -> None:  # fmt: skip
    for number, task in enumerate(tasks):
        x = left + wide * (number + 0.5)
        near = any(line["near_chance"] == "yes" for (_, other), line in cells.items() if other == task)
        drawing.text(x, top - 22, task, anchor="middle", size=13, weight=600)
        aspect = TASKS.get(task, "") if TASKS.get(task) in (WHO, WHAT) else ""
        first = number == 0 or TASKS.get(task) != TASKS.get(tasks[number - 1])
        if aspect and first:
            drawing.text(left + wide * number + 4, top - 40, aspect, size=11, fill=SOFT, style="italic")
            count = sum(TASKS.get(other) == TASKS[task] for other in tasks)
            drawing.line(left + wide * number + 4, top - 36, left + wide * (number + count) - 4, top - 36, stroke=LINE)
        drawing.text(x, top - 7, "near chance" if near else heads[task][0], anchor="middle", size=9.5,
                     fill="#b3372b" if near else SOFT)  # fmt: skip


def _heat(drawing: Drawing, x: float, y: float, wide: float, high: float, line: Mapping[str, Any]) -> None:
    value, low, up = line["selectivity"], line["low"], line["high"]
    share = shade(value)
    sure = isinstance(low, float) and isinstance(up, float) and not low <= 0 <= up
    said = f"[{100 * low:.0f}, {100 * up:.0f}]" if isinstance(low, float) else "no interval"
    shares = line["shares"] or "shares nothing that is known"
    title = f"{line['upstream']}, {line['task']}: {100 * value:+.0f} % {said}; {shares}"
    drawing.rect(x + 1, y + 1, wide - 2, high - 2, fill=mix(share), title=title)
    text = f"{100 * value:+.0f}".replace("-", "−") + (" †" if line["shares"] else "")
    drawing.text(x + wide / 2, y + high / 2 + 4, text, anchor="middle", size=11.5, weight=700 if sure else 400,
                 fill="#ffffff" if abs(share) > 0.75 else INK if sure else "#4b535c")  # fmt: skip


def _scale(drawing: Drawing, left: float, y: float) -> None:
    steps = [(-2.0, "4 × the errors"), (-1.0, "2 ×"), (0.0, "as many"), (1.0, "half"), (2.0, "a quarter")]
    for number, (doublings, label) in enumerate(steps):
        x = left + 80 * number + (30 if number else 0)
        drawing.rect(x, y - 9, 14, 12, fill=LINE)
        drawing.rect(x + 0.5, y - 8.5, 13, 11, fill=mix(doublings / WORST))
        drawing.text(x + 19, y + 1, label, size=10, fill=SOFT)


def _separation(drawing: Drawing, top: float, left: float, right: float, lines: Sequence[dict[str, Any]],
                colours: Mapping[str, str]) -> None:  # fmt: skip
    ends = [line[name] for line in lines for name in ("low", "control_low", "separation")]
    lowest = -0.25 if min([end for end in ends if isinstance(end, float)], default=0.0) > -0.25 else -1.0
    drawing.text(16, top, "Who from what: separation of each pair", size=13, weight=600)
    drawing.text(16, top + 15, "○ random projections of these sizes, on the tasks that all have", size=10, fill=SOFT)
    left += 250

    def place(value: float) -> float:
        return left + (right - left) * (value - lowest) / (1 - lowest)

    bottom = top + 34 + 24 * len(lines)
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0):
        if tick >= lowest:
            drawing.line(place(tick), top + 24, place(tick), bottom - 8, stroke=SOFT if tick == 0 else LINE)
            drawing.text(place(tick), bottom + 6, f"{tick:g}".replace("-", "−"), anchor="middle", size=10, fill=SOFT)
    for number, line in enumerate(sorted(lines, key=lambda line: -line["separation"])):
        y = top + 38 + 24 * number
        colour = colours[line["speaker_stream"]]
        named = f"{line['speaker_stream']} / {line['content_stream']}"
        drawing.text(16, y + 4, named, size=NAMED)
        drawing.text(left - 14, y + 4, line["tasks"], size=9, fill=SOFT, anchor="end")
        if isinstance(line["low"], float):
            drawing.line(place(line["low"]), y, place(line["high"]), y, stroke=colour, width=2.5)
        if line["control"] not in (None, NO_CONTROL):
            drawing.mark(place(line["control_separation"]), y + 6, colour=NEUTRAL, hollow=True, radius=3.2)
        drawing.mark(place(line["separation"]), y, colour=colour, radius=5)
        said = f"{line['separation']:.2f}".replace("-", "−")
        drawing.text(right + 44, y + 4, said, anchor="end", size=11, weight=600)
