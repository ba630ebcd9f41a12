"""`run.py leaks`: what a task's train, dev, test and OOD splits share, and what the upstream has seen of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.registry import resolve
from harness.superb_score import SUITE

HEADERS = ["shared", "trains or selects", "measures", "how many", "of", "reading", "example"]


def report(
    name: str,
    suite: str,
    upstream: str | None = None,
    folder: Path | None = None,
    checkpoint: Path | None = None,
    full: bool = False,
) -> tuple[str, bool]:
    """The table and what could not be compared; whether a leak is in it. Raises UserError for unknown names."""
    task, _ = resolve("tasks.catalogue:load")(name, suite)
    data = resolve("tasks.catalogue:Data")(task)
    rows: list[Any] = []
    lines: list[str] = []
    if upstream:
        rows, lines = _learnt(upstream, folder, checkpoint)
    found = resolve("tasks.leaks:leaks")(task, data, upstream or "", rows, True if full else None)
    kinds = resolve("tasks.leaks:KINDS")
    table = [
        [kinds[one.kind], one.a, one.b, f"{one.count:,}", f"{one.of:,}", one.reading, one.example]
        for one in found.shared
    ]
    declared = [] if rows or not upstream else _declared(upstream, data, task)
    table += declared
    text = (
        tabulate(table, headers=HEADERS, tablefmt="simple", disable_numparse=True,
                 colalign=("left", "left", "left", "right", "right", "left", "left"),
                 maxcolwidths=[None, None, None, None, None, None, 60])
        if table
        else f"{name}: nothing shared"
    )  # fmt: skip
    notes = "".join(f"\n  - {line}" for line in [*lines, *found.notes])
    return text + (f"\n{notes}" if notes else ""), found.found or bool(declared)


def _learnt(name: str, folder: Path | None, checkpoint: Path | None) -> tuple[list[Any], list[str]]:
    """The rows that an upstream's checkpoints were trained on, and a line on what of its data cannot be compared."""
    from harness.cell_upstream import split_view
    from harness.cost_data import training

    stem, _ = split_view(name)
    card: Mapping[str, Any] = resolve("upstreams.catalogue:describe")(stem)
    lines = [f"{stem} was trained on {corpus}, whose rows are not here to compare" for corpus in _undisclosed(card)]
    if card.get("family") == "backbones" or not card.get("trained_on"):
        return [], lines
    takes = resolve("upstreams.catalogue:takes_folder")(stem)
    built = resolve("upstreams.catalogue:build")(stem, folder=folder if takes else None, checkpoint=checkpoint)
    learnt = training(built, card)
    if learnt is None:
        return [], [*lines, f"{stem}: the rows of its post-training cannot be told from its checkpoint"]
    return learnt.rows, lines


def _undisclosed(card: Mapping[str, Any]) -> list[str]:
    below = card.get("backbone_card") or (card if card.get("family") == "backbones" else {})
    return [str(row["corpus"]) for row in below.get("trained_on", [])]


def _declared(upstream: str, data: Any, task: Any) -> list[list[str]]:
    """A row for each corpus that the card names and a test split has rows of."""
    from harness.cell_upstream import split_view

    card = resolve("upstreams.catalogue:describe")(split_view(upstream)[0])
    named = {_plain(row["corpus"]): row["corpus"]
             for one in (card, card.get("backbone_card") or {}) for row in one.get("trained_on", [])}  # fmt: skip
    found = []
    for split in ("test", *(one.name for one in task.ood if one.kind != "C")):
        rows = data.named(split).utterances
        for corpus in sorted({u.corpus for u in rows}):
            title = next(u.source for u in rows if u.corpus == corpus)
            # voxceleb1_eh is made of voxceleb1
            names = (corpus, title, *([corpus.rpartition("_")[0]] if task.suite == SUITE else []))
            if said := next((named[_plain(one)] for one in names if _plain(one) in named), None):
                count = sum(u.corpus == corpus for u in rows)
                found.append(["corpus", f"upstream {upstream}", split, f"{count:,}", f"{len(rows):,}", "leak",
                              f"its card names {said}, not which part"])  # fmt: skip
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())

