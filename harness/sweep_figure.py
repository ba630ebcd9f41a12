"""What a sweep over alpha shows of its table (`harness/sweep.py`): lines to print, and the figure."""

from __future__ import annotations

from typing import Any

import pandas as pd
from tabulate import tabulate

from harness.figures import canvas, curve, legend_beside
from harness.metrics import metric_named

DASHES = {"ID": "-", "Z": "-", "R": ":", "C": "--"}
DODGE = 0.008
"""Between the intervals of two splits, in alpha."""
COLUMNS = 3


def summary(table: pd.DataFrame) -> str:
    """A row a split, a column an alpha; the best of a row has a star."""
    lines = []
    for (task, split, kind, metric), rows in table.groupby(["task", "split", "kind", "metric"], sort=False):
        better = max if metric_named(str(metric)).higher_is_better else min
        best = better(rows["score"])
        scores = {f"{row.alpha:g}": f"{row.score:.2f}{'*' if row.score == best else ' '}" for row in rows.itertuples()}
        lines.append({"task": task, "split": split, "kind": kind, "metric": metric} | scores)
    columns = ["task", "split", "kind", "metric", *(f"{alpha:g}" for alpha in sorted(table["alpha"].unique()))]
    whole = [[line.get(column, "") for column in columns] for line in lines]
    aligned = ["left"] * 4 + ["right"] * (len(columns) - 4)
    return tabulate(whole, headers=columns, disable_numparse=True, colalign=aligned)


def drawn(table: pd.DataFrame, upstream: str) -> Any:
    """A panel a task, a curve a split with its intervals, and a level dotted line where the backbone is."""
    tasks = list(dict.fromkeys(table["task"]))
    columns = min(COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, axes = canvas(rows, columns, size=(6.2 * columns, 3.7 * rows), squeeze=False)
    for one, task in zip(axes.ravel(), tasks, strict=False):
        own = table[table["task"] == task]
        splits = list(dict.fromkeys(own["split"]))
        for at, split in enumerate(splits):
            part = own[own["split"] == split].sort_values("alpha")
            kind = str(part["kind"].iloc[0])
            inside = kind == "ID"
            x = part["alpha"] + DODGE * (at - (len(splits) - 1) / 2)
            spans = (part["low"].astype(float).tolist(), part["high"].astype(float).tolist())
            colour = "black" if inside else None
            # the first colour is free, since the in-domain split comes first and is black
            curve(one, x.tolist(), part["score"].tolist(), at - 1 if at else 0, f"{split} ({kind})", spans=spans,
                  colour=colour, dashes=DASHES[kind], emphasised=inside)  # fmt: skip
            backbone = part[part["alpha"] == 0]["score"]
            if len(backbone):
                one.axhline(float(backbone.iloc[0]), color=one.lines[-1].get_color(), linestyle=":", linewidth=0.7)
        metric = metric_named(str(own["metric"].iloc[0]))
        better = "\u2191 higher is better" if metric.higher_is_better else "\u2193 lower is better"
        one.set(title=f"{task} ({own['head'].iloc[0]})", ylabel=f"{metric.label}, {metric.unit}   {better}")
        one.set_xticks(sorted(table["alpha"].unique()))
        one.set_xticklabels([f"{alpha:g}" for alpha in sorted(table["alpha"].unique())], fontsize=8)
        one.set_xlabel("alpha (0: the backbone, dotted lines; 1: fine-tuned)", fontsize=8)
        legend_beside(one, 7)
    for one in axes.ravel()[len(tasks) :]:
        one.set_visible(False)
    # two lines: a single panel is no wider than the first
    kinds = "ID in-domain, Z another corpus, R a new head on it, C a corruption"
    figure.suptitle(f"{upstream} over alpha\n{kinds}", fontsize=10)
    return figure
