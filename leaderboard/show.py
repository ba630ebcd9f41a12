"""What a finished run shows its user: the cell's table beside its backbone's published rows, and the two CSVs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from harness.errors import UserError
from harness.metrics import metric_named
from harness.results import RESULT, RunResult, load_result
from leaderboard import s3prl_practice
from leaderboard.build import RESULTS, build
from leaderboard.cells import PUBLISHED, YOURS, Cell, check_groups, read_cell, read_root, without_duplicates
from leaderboard.intervals import drop_range, interval_of
from leaderboard.page import items, number, plain, signed, span
from leaderboard.tables import Values, drop_of, find, rows_of

BESIDE = ("", "+last", "+dev", "+input")
"""A backbone's own rows that are shown beside a run: learned mix, last layer, dev's layer, the projection's input."""
BESIDE_METRIC = ("uar", "macro_f1", "cer")
"""Further metrics that are printed where a split has them."""


def cell_table(cell: Cell, cells: Sequence[Cell]) -> pd.DataFrame:
    """What a finished run prints: a row for the in-domain split and one for each OOD split of this cell, and beside its
    score the mean of its backbone's published rows under the same suite, task, head and preset."""
    published = [one for one in cells if one.group == cell.group and one.source == PUBLISHED]
    rows = rows_of(published).get(cell.group, [])
    base = cell.result.upstream.base or cell.result.upstream.name.split("+")[0]
    beside = [
        row
        for suffix in BESIDE
        if (row := find(rows, base + suffix, PUBLISHED)) and row.name != cell.result.upstream.name
    ]
    lines: list[Values] = []
    inside = cell.id_split
    score = {name: split.metrics[cell.result.metric] for name, split in cell.result.splits.items()}
    for name, split in sorted(cell.result.splits.items(), key=lambda item: (item[0] != inside, item[0])):
        line: Values = {"split": name, "kind": split.kind, "corpus": split.corpus, "metric": cell.result.metric,
                        "value": score[name]}  # fmt: skip
        line |= {one: split.metrics.get(one) for one in BESIDE_METRIC}
        line["low"], line["high"] = interval_of(cell, name)
        line |= dict.fromkeys(("id_shared", "drop", "drop_low", "drop_high"))
        if split.kind not in ("ID", "R"):
            line["id_shared"] = split.id_shared.get(cell.result.metric)
            same = score[inside] if line["id_shared"] is None else line["id_shared"]
            line["drop"] = drop_of(same, score[name], cell.result.higher_is_better)
            line["drop_low"], line["drop_high"] = drop_range(cell, name)
        line |= {"speakers": split.speakers, "trials": split.expected, "confounded": split.confounded}
        line |= {row.name: row.score(name) if row.has(name) else None for row in beside}
        lines.append(line)
    return pd.DataFrame(lines, dtype=object).replace({np.nan: None})


def _seeds(folder: Path, result: RunResult) -> list[RunResult]:
    """The finished runs beside this one that differ from it in the head's seed alone, itself among them, by seed."""
    wanted = {**result.identity, "seed": None}
    found = {result.seed: result}
    for path in folder.parent.glob(f"*/{RESULT}"):
        with suppress(UserError):  # a damaged neighbour is no matter of this run
            other = load_result(path.parent)
            if {**other.identity, "seed": None} == wanted:
                found.setdefault(other.seed, other)
    return [found[seed] for seed in sorted(found)]


def cell(folder: Path, result: RunResult, only_id: bool = False, results: Path = RESULTS) -> str:
    """The table of one cell: a line for each split with score, interval, drop, speakers and trials, then the published
    scores of its backbone; with other seeds beside it, their mean. `only_id` leaves out the OOD splits."""
    mine = read_cell(folder, YOURS)
    published = read_root(results, PUBLISHED, f"{result.suite}/{result.task}")
    cells, notices = check_groups(without_duplicates([*published, mine]))
    table = cell_table(mine, cells if mine in cells else [mine])
    if only_id:
        table = table[table["kind"] == "ID"]
    metric = metric_named(result.metric)
    known = {"split", "kind", "corpus", "metric", "value", "low", "high", "drop", "drop_low", "drop_high", "speakers",
             "trials", "confounded", "id_shared", *BESIDE_METRIC}  # fmt: skip
    beside = [name for name in table.columns if name not in known]
    names = {name: "+" + name.split("+", 1)[1] if "+" in name else name for name in beside}
    label = f"{metric.label} {metric.unit}".strip()
    # a column that no split has is left out
    extra = {one: f"{metric_named(one).label} {metric_named(one).unit}".strip() for one in BESIDE_METRIC}
    extra = {one: name for one, name in extra.items() if one != result.metric and table[one].notna().any()}
    same_classes = {"id_shared": "ID, same classes"} if table["id_shared"].notna().any() else {}
    seeds = _seeds(folder, result)
    mean_label = f"mean of {len(seeds)} seeds"
    lines: list[dict[str, Any]] = []
    for line in table.to_dict("records"):
        shown = {
            "split": line["split"] + (" *" if line["confounded"] else ""),
            "kind": line["kind"],
            "corpus": line["corpus"],
            label: number(line["value"], 2),
            "95 %": span(line["low"], line["high"], 1),
        }
        if len(seeds) > 1:
            each = [run.splits[line["split"]] for run in seeds if line["split"] in run.splits]
            whole = len(each) == len(seeds)
            shown[mean_label] = number(mean(one.metrics[result.metric] for one in each), 2) if whole else ""
        shown |= {name: plain(line[one], 2) for one, name in (extra | same_classes).items()}
        shown |= {
            "drop": signed(line["drop"]),
            "95 % of drop": span(line["drop_low"], line["drop_high"], 1),
            "speakers": line["speakers"],
            items(metric): line["trials"],
        }
        shown |= {names[name]: plain(line[name], 2) for name in beside}
        lines.append(shown)
    upstream = result.upstream
    how = f"head {result.head}, preset {result.preset}, seed {result.seed}"
    title = f"{upstream.name} on {result.task} ({result.suite}), {how}"
    better = "higher" if metric.higher_is_better else "lower"
    below = [
        "kind: ID in-domain, Z same head on another corpus, R new head there, C corruption",
        f"{label}: {better} is better; a positive drop is worse; intervals over speakers, n/a below 8 of them",
    ]
    below += s3prl_practice.told(result, mine.id_split)
    if len(seeds) > 1:
        below.append(f"{mean_label}: {', '.join(str(run.seed) for run in seeds)}, finished beside this one")
    if same_classes:
        below.append("ID, same classes: the in-domain score on the classes of that split alone; its drop is from there")
    if beside:
        below.append(f"published rows of the backbone beside it: {', '.join(beside)}")
    if any(table["confounded"] != ""):
        below.append("* speaker, language and microphone cannot be told apart here: no claim rests on it alone")
    if upstream.supervised:
        below.append(f"supervised backbone; contamination: {upstream.contaminated}")
    text = tabulate(lines, headers="keys", disable_numparse=True, stralign="right", colalign=("left",) * 3)
    return "\n".join([title, text, *below, *notices])


def user_tables(out: Path, results: Path = RESULTS) -> list[Path]:
    """Write leaderboard.csv and ood.csv into `out`, the user's runs among the published rows of the same tasks. Returns
    the files."""
    if results.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{out} holds the published results; choose another folder for runs with --out")
    written, notices = build([results, out], out, pages=False)
    for notice in notices:
        print(notice, file=sys.stderr)
    return written
