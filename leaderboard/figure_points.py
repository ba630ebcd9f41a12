"""Figures with a mark an upstream: in-domain against out of domain, and skill against cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import mean
from typing import Any

from harness.cost_record import Record
from leaderboard.aspects import TASKS, WHAT, WHO, side, words
from leaderboard.contrast import BACKBONE, BASELINE, CONTROL, STREAM, chance_error, error, pairs, role
from leaderboard.overview import Board
from leaderboard.separation import skill
from leaderboard.svg import FAMILIES, INK, LINE, NEUTRAL, SOFT, Drawing, spread, ticks_between, width_of
from leaderboard.tables import Row


def roles(group: Sequence[Board]) -> dict[str, str]:
    """By upstream: backbone for what has none."""
    found: dict[str, str] = {}
    for board in group:
        rows = list(board.rows.values())
        found |= {row.name: BACKBONE for row in rows if row.first.result.upstream.base is None}
        found |= {row.name: role(row, backbone) for row, backbone in pairs(rows)}
    return found


def palette(group: Sequence[Board], kinds: Mapping[str, str]) -> dict[str, str]:
    """A colour a family of streams; all else is neutral."""
    rows = {name: row for board in group for name, row in board.rows.items()}
    family = {name: row.first.result.upstream.family for name, row in rows.items()}
    streams = sorted({family[name] for name, kind in kinds.items() if kind == STREAM})
    colour = {name: FAMILIES[at % len(FAMILIES)] for at, name in enumerate(streams)}
    return {name: colour[family[name]] if kinds.get(name) == STREAM else NEUTRAL for name in rows}


def legend(drawing: Drawing, x: float, y: float, kinds: Mapping[str, str], colours: Mapping[str, str],
           group: Sequence[Board]) -> None:  # fmt: skip
    rows = {name: row for board in group for name, row in board.rows.items()}
    families = {row.first.result.upstream.family: colours[name] for name, row in sorted(rows.items())
                if kinds.get(name) == STREAM}  # fmt: skip
    entries = [(family, colour, False, False) for family, colour in sorted(families.items())]
    entries += [("random projections", NEUTRAL, True, False), ("backbones", INK, False, True)]
    if BASELINE in kinds.values():
        entries.append(("other readings of a backbone", NEUTRAL, False, True))
    for name, colour, hollow, square in entries:
        drawing.mark(x + 5, y - 4, colour=colour, hollow=hollow, square=square)
        drawing.text(x + 15, y, name, size=11, fill=SOFT)
        x += 34 + width_of(name, 11)


def _paint(name: str, kinds: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, Any]:
    kind = kinds.get(name, BACKBONE)
    colour = INK if kind == BACKBONE else colours[name]
    return {"colour": colour, "hollow": kind == CONTROL, "square": kind in (BACKBONE, BASELINE)}


def _inside_and_out(row: Row, splits: Sequence[str]) -> tuple[float, float] | None:
    """Mean errors in-domain, on the splits' own classes, and on the splits."""
    if not splits or not all(row.has(split) for split in splits):
        return None
    cell = row.first
    shared = [row.id_shared(split) for split in splits]
    inside = [row.score(cell.id_split) if value is None else value for value in shared]
    return mean(error(cell, value) for value in inside), mean(error(cell, row.score(split)) for split in splits)


def scatter(group: Sequence[Board], kinds: Mapping[str, str], colours: Mapping[str, str]) -> bytes | None:
    """A panel a task that has other corpora: errors there against errors in-domain."""
    panels = [(board, board.splits("Z")) for board in group if board.splits("Z")]
    if not panels:
        return None
    size, gap, columns = 250.0, 62.0, min(3, len(panels))
    down = -(-len(panels) // columns)
    drawing = Drawing(60 + columns * (size + gap), 100 + down * (size + 74), "Errors in-domain and out of domain")
    drawing.text(16, 26, "What survives outside the training domain", size=16, weight=600)
    drawing.text(16, 45, "Errors (%) on other corpora, the same head, against errors in-domain. Lower left is better; "
                 "on the dashed line nothing is lost.", fill=SOFT)  # fmt: skip
    legend(drawing, 16, 66, kinds, colours, group)
    for number, (board, splits) in enumerate(panels):
        left, top = 56 + (number % columns) * (size + gap), 104 + (number // columns) * (size + 74)
        _panel(drawing, left, top, size, board, splits, kinds, colours)
    return drawing.bytes()


def _panel(drawing: Drawing, left: float, top: float, size: float, board: Board, splits: Sequence[str],
           kinds: Mapping[str, str], colours: Mapping[str, str]) -> None:  # fmt: skip
    found = {name: place for name, row in sorted(board.rows.items())
             if name in kinds and (place := _inside_and_out(row, splits))}  # fmt: skip
    ends = [end for place in found.values() for end in place]
    marks = ticks_between(min(ends), max(ends))
    low, span = marks[0], marks[-1] - marks[0]
    bottom = top + size

    def at(inside: float, outside: float) -> tuple[float, float]:
        return left + size * (inside - low) / span, bottom - size * (outside - low) / span

    said = f"on {', '.join(splits)}"
    said = said if len(said) < 32 else f"on {len(splits)} splits of other corpora"
    drawing.text(left, top - 10, board.task, size=13, weight=600)
    drawing.text(left + 12 + width_of(board.task, 13), top - 10, said, size=10, fill=SOFT)
    for tick in marks:
        x, y = at(tick, tick)
        drawing.line(left, y, left + size, y)
        drawing.line(x, top, x, bottom)
        drawing.text(left - 6, y + 4, f"{tick:g}", anchor="end", size=10, fill=SOFT)
        drawing.text(x, bottom + 14, f"{tick:g}", anchor="middle", size=10, fill=SOFT)
    drawing.line(left, bottom, left + size, top, stroke=SOFT, dash="4 4")
    drawing.text(left + size / 2, bottom + 29, "errors in-domain, %", anchor="middle", size=10, fill=SOFT)
    named = spoken_of(found, kinds)
    for name, place in sorted(found.items(), key=lambda item: (item[0] in named, item[0])):
        title = f"{name}: {place[0]:.1f} in-domain, {place[1]:.1f} out of domain"
        drawing.mark(*at(*place), **_paint(name, kinds, colours), title=title)
    places = {name: at(*place) for name, place in found.items()}
    _names(drawing, {name: places[name] for name in named}, list(places.values()), (left, top, size))


def spoken_of(found: Collection[str], kinds: Mapping[str, str]) -> list[str]:
    """Whom a panel names: the backbones, and of the streams that begin alike and are for speakers alone, or for content
    alone, the one with the shortest name."""
    chosen: dict[tuple[str, str | None], str] = {}
    for name in sorted(found, key=lambda name: (len(name), name)):
        if kinds[name] == STREAM and side(name):
            chosen.setdefault((words(name)[0], side(name)), name)
    return sorted([*chosen.values(), *(name for name in found if kinds[name] == BACKBONE)])


def variant(name: str, found: Collection[str]) -> bool:
    """Whether another name goes on to this one, as vib_text to vib_text_control: its mark is drawn without a name."""
    return any(name.startswith((f"{other}+", f"{other}_")) for other in found)


def _names(drawing: Drawing, named: Mapping[str, tuple[float, float]], marks: Sequence[tuple[float, float]],
           panel: tuple[float, float, float]) -> None:  # fmt: skip
    """Beside their marks, where they cover the fewest marks and names; a line leads to what lies further off."""
    left, top, size = panel
    taken: list[tuple[float, float, float, float]] = []
    for name, (x, y) in named.items():
        wide = width_of(name, 9.5)
        spots = [(x + dx - (wide if dx < 0 else 0), y + dy, abs(dx) + abs(dy)) for dx in (9, -9, 24, -24)
                 for dy in (3.5, -8, 14, -22, 28, -36, 42, -50, 56)]  # fmt: skip

        def cost_of(spot: tuple[float, float, float], wide: float = wide) -> float:
            box = (spot[0] - 1, spot[1] - 9, spot[0] + wide + 1, spot[1] + 3)
            outside = box[0] < left or box[2] > left + size + 24 or box[1] < top or box[3] > top + size
            covered = sum(box[0] - 4 < a < box[2] + 4 and box[1] - 4 < b < box[3] + 4 for a, b in marks)
            return 400 * outside + 60 * covered + 200 * sum(_touch(box, other) for other in taken) + spot[2]

        best = min(spots, key=cost_of)
        taken.append((best[0] - 1, best[1] - 9, best[0] + wide + 1, best[1] + 3))
        if best[2] > 20:
            drawing.line(x, y, best[0] + (wide if best[0] + wide < x else 0), best[1] - 3, stroke=SOFT, width=0.7)
        drawing.text(best[0], best[1], name, size=9.5)


def _touch(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def cost(group: Sequence[Board], kinds: Mapping[str, str], colours: Mapping[str, str],
         records: Mapping[str, Record]) -> bytes | None:  # fmt: skip
    """Two panels, who and what: mean skill against the multiply-adds that an upstream adds to its backbone."""
    base = {name: row.first.result.upstream.base or name for board in group for name, row in board.rows.items()}
    added = {
        name: 100 * (records[name].encoding.macs_per_second / records[below].encoding.macs_per_second - 1)
        for name, below in base.items()
        if name in records and below in records and kinds.get(name) and (below != name or below in base.values())
    }
    stood_on = {base[name] for name in added if base[name] != name}
    added = {name: value for name, value in added.items() if base[name] in stood_on}
    if not any(kinds[name] == STREAM for name in added):
        return None
    drawing = Drawing(1030, 500, "Skill against the cost that post-training adds")
    drawing.text(16, 26, "What it costs", size=16, weight=600)
    drawing.text(16, 45, "Mean skill in-domain (1 − errors / chance's errors) against the multiply-adds a second of "
                 "audio that an upstream adds to its backbone's.", fill=SOFT)  # fmt: skip
    legend(drawing, 16, 66, kinds, colours, group)
    for number, aspect in enumerate((WHO, WHAT)):
        chosen = [board for board in group if TASKS.get(board.task) == aspect]
        chosen = [board for board in chosen if 2 * len(added.keys() & board.rows.keys()) > len(added)]
        found = {name: mean(float(skill(_error(board, name), _chance(board))) for board in chosen)
                 for name in sorted(added) if chosen and all(name in board.rows for board in chosen)}  # fmt: skip
        if found:
            title = f"{aspect}: {', '.join(board.task for board in chosen)}"
            _strip(drawing, 56 + 490 * number, 108, title, found, added, kinds, colours)
    return drawing.bytes()


def _error(board: Board, name: str) -> float:
    row = board.rows[name]
    return float(error(row.first, row.score(row.first.id_split)))


def _chance(board: Board) -> float:
    return chance_error(board.first, board.first.id_split)


def _strip(drawing: Drawing, left: float, top: float, title: str, found: Mapping[str, float],
           added: Mapping[str, float], kinds: Mapping[str, str], colours: Mapping[str, str]) -> None:  # fmt: skip
    width, height = 300.0, 330.0
    marks = ticks_between(min(0.0, *(added[name] for name in found)), max(1.0, *(added[name] for name in found)))

    def place(value: float) -> float:
        return left + 8 + (width - 8) * (value - marks[0]) / (marks[-1] - marks[0])

    def at(name: str) -> tuple[float, float]:
        return place(added[name]), top + height * (1 - found[name])

    drawing.text(left, top - 10, title, size=13, weight=600)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + height * (1 - tick)
        drawing.line(left, y, left + width, y)
        drawing.text(left - 6, y + 4, f"{tick:g}", anchor="end", size=10, fill=SOFT)
    for tick in marks:
        x = place(tick)
        drawing.line(x, top + height, x, top + height + 4, stroke=SOFT)
        said = f"{tick:+g}".replace("-", "−") if tick else "0"
        drawing.text(x, top + height + 17, said, anchor="middle", size=10, fill=SOFT)
    axis = "multiply-adds added, % of the backbone's"
    drawing.text(left + width / 2, top + height + 33, axis, anchor="middle", size=10, fill=SOFT)
    for name in found:
        if kinds[name] == BACKBONE:
            y = at(name)[1]
            drawing.line(left, y, left + width, y, stroke=INK, dash="3 4")
    order = sorted(found, key=lambda name: (at(name)[1], name))
    told = [name for name in order if name == order[0] or not variant(name, found)]
    for name, y in zip(told, spread([at(name)[1] for name in told], 12.5, top, top + height), strict=True):
        x, own = at(name)
        drawing.line(x + 5, own, left + width + 10, y, stroke=LINE, width=0.8)
        drawing.text(left + width + 13, y + 3.5, name, size=10)
    for name in order:
        title = f"{name}: {found[name]:.2f}, +{added[name]:.1f} %"
        drawing.mark(*at(name), **_paint(name, kinds, colours), title=title)
