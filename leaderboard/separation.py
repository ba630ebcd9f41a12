"""How well two streams of one family part who speaks from what is said, in one number from -1 to 1.

A stream's skill at a task is the share of chance's errors that it does not make, 1 - err / err_chance, from 0 (chance
or worse) to 1 (no error). With who the mean over the speaker tasks of the speaker stream's skill minus the content
stream's, and what the mean over the content tasks of the content stream's minus the speaker stream's,

    separation = (who + what) / 2

1: each stream makes no error on its own aspect and is at chance on the other's. 0: neither knows more of its own than
the other does. -1: the two are swapped. Two streams of much skill or of none alike have 0, and where the heads are
weak or the tasks hard nothing comes near 1: it is to be read beside a control on the same tasks, the same number for
two random projections of the backbone to the same sizes. Where these are for nothing, not even by name, the number's
sign says nothing: as a control it is taken without one, else a pair would seem to stand above it by what is chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.uncertainty import percentile_interval
from leaderboard.aspects import TASKS, WHAT, WHO, aspects, rest, side, words
from leaderboard.cells import Cell
from leaderboard.contrast import CONTROL, chance_error, comparable, error, pairs, replicates, role
from leaderboard.intervals import NO_INTERVAL, Range
from leaderboard.overview import Board, boards
from leaderboard.tables import Row, Values

Skill = Mapping[str, tuple[float, Any]]
"""By task: the skill, and in each draw (draws,), None where there are too few speakers, or `MISSING` predictions."""
MISSING = "missing"
NO_CONTROL = "none of these sizes"
SEPARATION = [
    *("suite", "family", "base", "role", "speaker_stream", "content_stream", "dims", "tasks"),
    *("who", "what", "separation", "low", "high"),
    *("control", "control_tasks", "separation_there", "control_separation", "control_low", "control_high"),
    *("above_control", "above_low", "above_high", "common_tasks", "separation_common"),
]


def skill(errors: Any, chance: float) -> Any:
    """Of an error or errors in per cent: 1 - err / chance, not below 0."""
    return np.clip(1.0 - np.asarray(errors, dtype=np.float64) / chance, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Separated:
    """The number, its two halves and its replicates (draws,), or what stands in their place."""

    who: float
    what: float
    drawn: Any

    @property
    def value(self) -> float:
        return (self.who + self.what) / 2

    @property
    def range(self) -> Range:
        return interval(self.drawn)


def interval(drawn: Any) -> Range:
    if drawn is None:
        return NO_INTERVAL, NO_INTERVAL
    if isinstance(drawn, str):
        return None, None
    found = percentile_interval(drawn)
    return found.low, found.high


def separate(speaker: Skill, content: Skill, tasks: Sequence[str]) -> Separated | None:
    """Of two streams on tasks that both have; None without a task of each aspect.

    Draws of tasks with the same speakers are the same draws, of others independent ones, so the interval takes tasks
    that share only some of their speakers for independent."""
    halves: dict[str, list[tuple[float, Any]]] = {WHO: [], WHAT: []}
    for task in tasks:
        aspect = TASKS[task]
        first, second = (speaker[task], content[task]) if aspect == WHO else (content[task], speaker[task])
        halves[aspect].append((first[0] - second[0], _minus(first[1], second[1])))
    if not all(halves.values()):
        return None
    who, what = (sum(value for value, _ in half) / len(half) for half in halves.values())
    means = [_mean([drawn for _, drawn in half]) for half in halves.values()]
    return Separated(float(who), float(what), _mean(means))


def _minus(a: Any, b: Any) -> Any:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a - b
    return MISSING if MISSING in (_name(a), _name(b)) else None


def _mean(parts: list[Any]) -> Any:
    """Of replicates, one by one; what stands in their place where one part has none."""
    if all(isinstance(part, np.ndarray) for part in parts):
        total: npt.NDArray[np.float64] = np.mean(parts, axis=0)
        return total
    return MISSING if any(_name(part) == MISSING for part in parts) else None


def _name(part: Any) -> str:
    return part if isinstance(part, str) else ""


@dataclass(slots=True)
class Stream:
    """An upstream's skills under the default head of each task that asks who or what."""

    row: Row
    role: str
    skills: dict[str, tuple[float, Any]]

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def dim(self) -> int:
        return self.row.first.result.upstream.dim


def streams(group: Sequence[Board]) -> list[Stream]:
    """Of one suite, by name: the rows that have a backbone and are not a reading of it."""
    found: dict[str, Stream] = {}
    for board in group:
        if TASKS.get(board.task) not in (WHO, WHAT) or not comparable(board.first):
            continue
        for row, backbone in pairs(list(board.rows.values())):
            known = found.setdefault(row.name, Stream(row, role(row, backbone), {}))
            cell = row.first
            chance = chance_error(cell, cell.id_split)
            value = float(skill(error(cell, row.score(cell.id_split)), chance))
            drawn: Any = MISSING
            if cell.id_split in cell.replicates:
                errors = replicates(row, cell.id_split)
                drawn = None if errors is None else skill(errors, chance)
            known.skills[board.task] = value, drawn
    return [found[name] for name in sorted(found)]


def couples(found: Sequence[Stream]) -> list[tuple[Stream, Stream]]:
    """A stream for speakers alone and one for content alone, of one family, backbone and form, whose names differ in
    nothing else; and two random projections of one size, whose names differ in the last word and say no aspect."""
    made = []
    for speaker in found:
        for content in found:
            if side(speaker.name) == WHO and side(content.name) == WHAT and _kin(speaker) == _kin(content):
                made.append((speaker, content))
    draws = [stream for stream in found if stream.role == CONTROL and not aspects(stream.name)]
    return made + [(a, b) for a, b in combinations(draws, 2) if _drawn(a) == _drawn(b)]


def _kin(stream: Stream) -> tuple[Any, ...]:
    upstream = stream.row.first.result.upstream
    return upstream.family, upstream.base, upstream.level, stream.role, rest(stream.name)


def _drawn(stream: Stream) -> tuple[Any, ...]:
    upstream = stream.row.first.result.upstream
    return upstream.family, upstream.base, upstream.level, stream.dim, words(stream.name)[:-1]


def table(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row a pair, with the random projections of the same sizes, the family's own where there are some, on the
    tasks that all four have, and the number on the tasks that every pair of the suite has."""
    suites: dict[str, list[Board]] = {}
    for board in boards(cells):
        suites.setdefault(board.suite, []).append(board)
    lines: list[Values] = []
    for suite, group in suites.items():
        made = couples(streams(group))
        controls = [pair for pair in made if pair[0].role == CONTROL]
        own = [(pair, line) for pair in made if (line := _line(pair, controls)) is not None]
        everywhere = _common(*(stream for pair, _ in own for stream in pair)) if own else []
        for pair, line in own:
            found = separate(pair[0].skills, pair[1].skills, everywhere)
            if found is not None:
                line |= {"common_tasks": " ".join(everywhere), "separation_common": found.value}
            lines.append({"suite": suite} | line)
    return pd.DataFrame([[line.get(name) for name in SEPARATION] for line in lines], columns=SEPARATION, dtype=object)


def _common(*found: Stream) -> list[str]:
    return sorted(set.intersection(*(set(stream.skills) for stream in found)))


def _line(pair: tuple[Stream, Stream], controls: Sequence[tuple[Stream, Stream]]) -> Values | None:
    speaker, content = pair
    tasks = _common(speaker, content)
    found = separate(speaker.skills, content.skills, tasks)
    if found is None:
        return None
    upstream = speaker.row.first.result.upstream
    values: Values = {
        "family": upstream.family, "base": upstream.base, "role": speaker.role, "speaker_stream": speaker.name,
        "content_stream": content.name, "dims": f"{speaker.dim}+{content.dim}", "tasks": " ".join(tasks),
        "who": found.who, "what": found.what, "separation": found.value,
    }  # fmt: skip
    values["low"], values["high"] = found.range
    if speaker.role == CONTROL:
        return values
    return values | _against(pair, controls)


def _against(pair: tuple[Stream, Stream], controls: Sequence[tuple[Stream, Stream]]) -> Values:
    own = pair[0].row.first.result.upstream
    sizes = [stream.dim for stream in pair]
    for control in sorted(controls, key=lambda one: one[0].row.first.result.upstream.family != own.family):
        if [one.dim for one in control] != sizes or control[0].row.first.result.upstream.base != own.base:
            continue
        tasks = _common(*pair, *control)
        here = separate(pair[0].skills, pair[1].skills, tasks)
        there = separate(control[0].skills, control[1].skills, tasks)
        if there is not None and there.value < 0 and not any(side(one.name) for one in control):
            there = separate(control[1].skills, control[0].skills, tasks)
        if here is not None and there is not None:
            values: Values = {
                "control": f"{control[0].name} {control[1].name}", "control_tasks": " ".join(tasks),
                "separation_there": here.value, "control_separation": there.value,
                "above_control": here.value - there.value,
            }  # fmt: skip
            values["control_low"], values["control_high"] = there.range
            values["above_low"], values["above_high"] = interval(_minus(here.drawn, there.drawn))
            return values
    return {"control": NO_CONTROL}
