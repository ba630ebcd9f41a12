"""What each column of the CSVs means, from `columns.yaml`, for the page `columns.md`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

PAGE = "columns.md"
"""The page of that name; no task may have it."""


@cache
def meanings() -> dict[str, str]:
    """By column."""
    # not harness.config's reader, which imports torch
    found: dict[str, str] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return found


def lines(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, str]]:
    """`column`, `files` and `meaning` of each column, in the order of the CSVs. Raises KeyError for one that is not
    explained."""
    files: dict[str, list[str]] = {}
    for name, table in tables.items():
        for column in table.columns:
            files.setdefault(column, []).append(name)
    return [
        {"column": column, "files": ", ".join(one.removesuffix(".csv") for one in found), "meaning": meanings()[column]}
        for column, found in files.items()
    ]
