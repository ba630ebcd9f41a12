"""Three figures: who gains what (a heat map, with the separation of pairs below), in-domain against out of domain, and
cost against skill. Drawn from the same published rows as the tables; a figure without rows is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.cost_record import Record
from leaderboard.cells import Cell
from leaderboard.contrast import STREAM, comparable
from leaderboard.figure_heat import heat_map
from leaderboard.figure_points import cost, palette, roles, scatter
from leaderboard.overview import Board, boards


def figures(cells: Sequence[Cell], selectivity: pd.DataFrame, separation: pd.DataFrame,
            records: Mapping[str, Record]) -> dict[str, bytes]:  # fmt: skip
    """SVG files by name; of the first suite that has streams."""
    found: dict[str, bytes] = {}
    by_suite: dict[str, list[Board]] = {}
    for board in boards(cells):
        if comparable(board.first):
            by_suite.setdefault(board.suite, []).append(board)
    for suite, group in by_suite.items():
        kinds = roles(group)
        if STREAM not in kinds.values():
            continue
        colours = palette(group, kinds)
        lines = [line for line in _records(selectivity) if line["suite"] == suite]
        apart = [line for line in _records(separation) if line["suite"] == suite]
        tail = "" if suite == next(iter(by_suite)) else f"-{suite}"
        found[f"figures/selectivity{tail}.svg"] = heat_map(group, lines, apart, colours)
        if drawn := scatter(group, kinds, colours):
            found[f"figures/out_of_domain{tail}.svg"] = drawn
        if drawn := cost(group, kinds, colours, records):
            found[f"figures/cost{tail}.svg"] = drawn
    return found


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]
