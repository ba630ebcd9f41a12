"""Post-trained families side by side: the tables and the page on who from what, contamination and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.cost_record import Record
from leaderboard import contrast, costs, separation
from leaderboard.aspects import TASKS, WHAT, WHO
from leaderboard.cells import Cell
from leaderboard.figures import figures
from leaderboard.overview import boards
from leaderboard.tables import Values

PICTURES = {
    "selectivity": "Errors that each stream takes away from its backbone's, by task, and how far each pair separates",
    "out_of_domain": "Errors out of domain against errors in-domain, by task",
    "cost": "Skill at who and at what against the multiply-adds that post-training adds",
}
FAMILY_NOTES = [
    "Selectivity is the share of its backbone's errors that a stream takes away under the same head, in-domain: "
    "(backbone's − its) / backbone's. The error is 100 − accuracy, EER, PER or WER; means over the seeds that "
    "both have, intervals as everywhere, paired on the same draws of speakers; n/a also where the backbone makes no "
    "error in some draw.",
    "Near chance: the backbone has less than a third of the way from chance to no error behind it, or its "
    "interval reaches chance, so little of what a stream gains there is about the backbone. Chance is an EER of "
    "50 %; the most frequent class of the test; nothing said, for words and phones (100 %).",
    "Separation of a speaker stream and a content stream: with a stream's skill 1 − errors / chance's errors (not "
    "below 0), the mean over ASV and SID of the speaker stream's skill minus the content stream's (who), the mean "
    "over KS, PR and ASR of the content stream's minus the speaker stream's (what), and of the two the mean. 1: "
    "each makes no error on its own and is at chance on the other's; 0: neither knows more of its own; −1: "
    "swapped. Hard tasks and weak heads keep it from 1, and it hangs on which tasks both streams have; so it "
    "stands beside two random projections to the same sizes, of the same input or of the mean of the backbone's "
    "states, on the tasks that all four have, and once more on the tasks that every pair of the suite has. Two draws "
    "of one size are alike but for chance, so theirs is 0 but for the draw: it tells how far from 0 that alone goes, "
    "and is taken without a sign.",
    "† the test shares a corpus, speakers, sentences or recordings with what the upstream was trained on; the "
    "CSVs say which, and where that is unknown. Speakers and sentences are counted from the manifests by "
    "`harness/cost.py`.",
    "Which tasks a stream was trained for follows from its name: speaker is ASV and SID, content and text are KS, "
    "PR and ASR, emotion is ER, a task's own name that task; else from the labels that its card names. So a family "
    "that names the aspect has more tasks to gain at than one that names the task. The three columns are means over "
    "tasks of the relative change, those near chance too; a task that loses is 0 in the gain elsewhere, and the other "
    "way about. They have no interval.",
    "Cost is measured by `harness/cost.py` on noise of 10 s. Multiply-adds are those of products of matrices, "
    "convolutions and attention; seconds are of one core, the ratio to the backbone's in the same process; the "
    "peak of memory has Python and torch in it. The time of the post-training is computed from ten updates of each "
    "training, made again. An empty field was not measured or cannot be known; ‡ what was measured is not the very "
    "code and weights that were scored.",
]


def tables(cells: Sequence[Cell], records: Mapping[str, Record]) -> dict[str, pd.DataFrame]:
    """By the name of the CSV."""
    heads = {(board.suite, board.task): f"{board.head} {board.preset}" for board in boards(cells)}
    return {
        "selectivity.csv": contrast.selectivity(cells, records),
        "separation.csv": separation.table(cells),
        "delta.csv": contrast.delta(cells, records, heads),
        "cost.csv": costs.table(cells, records),
    }


def drawn(cells: Sequence[Cell], found: Mapping[str, pd.DataFrame], records: Mapping[str, Record]) -> dict[str, bytes]:
    """SVG files by name."""
    return figures(cells, found["selectivity.csv"], found["separation.csv"], records)


def titles(names: Sequence[str]) -> dict[str, str]:
    """Of figures by name."""
    return {name: PICTURES[name.split("/")[1].partition(".")[0].partition("-")[0]] for name in names}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]


def suites(cells: Sequence[Cell], found: Mapping[str, pd.DataFrame]) -> list[Values]:
    """A suite that has streams each: its `columns` (tasks under their default heads; `cells` by upstream), its `lines`
    (upstreams), its `pairs` and its `changes`."""
    made: list[Values] = []
    lines, apart, changes = (_records(found[name]) for name in ("selectivity.csv", "separation.csv", "delta.csv"))
    default = {(board.suite, board.task, board.head, board.preset) for board in boards(cells)}
    for suite in sorted({line["suite"] for line in lines if line["role"] == contrast.STREAM}):
        mine = [
            line for line in lines
            if line["suite"] == suite and tuple(line[name] for name in ("suite", "task", "head", "preset")) in default
        ]  # fmt: skip
        made.append({
            "suite": suite,
            "columns": _columns(mine),
            "lines": _upstreams(mine),
            "pairs": [line for line in apart if line["suite"] == suite],
            "changes": _changes([line for line in changes if line["suite"] == suite]),
        })  # fmt: skip
    return made


def _columns(lines: Sequence[Values]) -> list[Values]:
    found: dict[str, Values] = {}
    for line in lines:
        column = found.setdefault(
            line["task"], {"task": line["task"], "head": line["head"], "near": False, "cells": {}}
        )
        column["cells"][line["upstream"]] = line
        column["near"] = column["near"] or line["near_chance"] == "yes"
    return sorted(found.values(), key=lambda column: task_order(column["task"]))


def task_order(task: str) -> tuple[int, str]:
    """Who before what before the rest."""
    return {WHO: 0, WHAT: 1}.get(TASKS.get(task, ""), 2), task


def _upstreams(lines: Sequence[Values]) -> list[Values]:
    found = {line["upstream"]: line for line in lines}
    order = (contrast.STREAM, contrast.CONTROL, contrast.BASELINE, contrast.BACKBONE)
    return sorted(found.values(), key=lambda line: (order.index(line["role"]), line["family"], line["upstream"]))


def _changes(lines: Sequence[Values]) -> list[Values]:
    found: dict[str, Values] = {}
    for line in lines:
        entry = found.setdefault(
            line["upstream"],
            {"upstream": line["upstream"], "role": line["role"], "family": line["family"], "tasks": set(),
             "inside": [None] * 3, "outside": [None] * 3},
        )  # fmt: skip
        if line["trained_for"] == "yes":
            entry["tasks"].add(line["task"])
        if line["kind"] in ("ID", "Z", "C"):
            entry["inside" if line["kind"] == "ID" else "outside"] = [line[name] for name in contrast.SUMMARY]
    for entry in found.values():
        entry["trained_for"] = ", ".join(sorted(entry["tasks"], key=task_order))
    def order(entry: Values) -> tuple[bool, str, str]:
        return entry["role"] != contrast.STREAM, entry["family"], entry["upstream"]

    return sorted(found.values(), key=order)


def cost_lines(table: pd.DataFrame) -> list[Values]:
    """Those that were measured, with multiply-adds in millions."""
    lines = [line for line in _records(table) if line["macs_per_second"] is not None]
    for line in lines:
        for name, long in (("macs", "macs_per_second"), ("added_macs", "added_macs_per_second")):
            line[name] = "" if line[long] is None else f"{line[long] / 1e6:.1f}"
    return lines
