"""The figures of Speech-FT's analyses: of tables as `analysis` makes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.figures import COLOURS, MARKERS, canvas, curve, legend_beside
from upstreams.speech_ft.analysis_lines import LINES, MERGED, PLAIN, STABLE
from upstreams.speech_ft.analysis_measures import REST, WHOLE

BLUES = ("#c6dbef", "#9ecae1", "#6baed6", "#3182bd", "#08519c", "#08306b")
"""Layers from first to last; more of them share."""


def by_layer(table: pd.DataFrame, value: str, label: str, backbone: str) -> Any:
    """Left the stable line over alpha, a curve a layer; right Speech-FT and the baselines over the layers."""
    figure, (left, right) = canvas(1, 2, size=(11.5, 4.0))
    line = table[table["line"] == STABLE]
    layers = sorted(table["layer"].unique())
    for at, layer in enumerate(layers):
        own = line[line["layer"] == layer].sort_values("alpha")
        shade = BLUES[round(at * (len(BLUES) - 1) / max(1, len(layers) - 1))]
        name = f"state {layer}" if at in (0, len(layers) - 1) or len(layers) <= 6 else "_"
        left.plot(own["alpha"], own[value], color=shade, marker="o", markersize=3, linewidth=1.3, label=name)
    left.set(xlabel="alpha", ylabel=label, title="stable fine-tuning, merged at alpha")
    left.legend(frameon=False, fontsize=8)
    compared = table[(table["line"] != STABLE) | (table["model"] == MERGED) | (table["model"] == PLAIN)]
    for model in dict.fromkeys(compared["model"]):
        own = compared[compared["model"] == model].sort_values("layer")
        _curve(right, own["layer"].tolist(), own[value].tolist(), model, own["line"].iloc[0])
    right.set(xlabel=f"hidden state of {backbone}", title="against the baselines")
    right.set_xticks(layers)
    legend_beside(right)
    return figure


def of_weights(table: pd.DataFrame) -> Any:
    """Left the whole model, both normalisers, since they differ by a factor; right the root mean square by block."""
    figure, (left, right) = canvas(1, 2, size=(12.5, 4.2))
    whole = table[table["part"] == WHOLE]
    models = list(whole["model"])
    lines = whole["line"].tolist()
    shades = [_colour(model, line) for model, line in zip(models, lines, strict=True)]
    left.barh(range(len(models)), whole["rms"], color=shades)
    left.set_yticks(range(len(models)), models, fontsize=8)
    left.invert_yaxis()
    left.set(xlabel="root mean squared change of a parameter", title=f"{whole['parameters'].iloc[0]:,} parameters")
    factor = float(whole["parameters"].iloc[0]) ** 0.5
    above = left.secondary_xaxis("top", functions=(lambda x: x / factor, lambda x: x * factor))
    above.set_xlabel("L2 norm of the change / parameters", fontsize=8)
    above.tick_params(labelsize=7)
    parts = [part for part in dict.fromkeys(table["part"]) if part != WHOLE]
    for model, line in zip(models, lines, strict=True):
        if line == STABLE and model not in (MERGED, PLAIN):
            continue
        heights = table[table["model"] == model].set_index("part")["rms"].loc[parts]
        # what is in no block is no neighbour of the last one: a gap in the line
        places = [at for part in range(len(parts)) for at in ([math.nan, part] if parts[part] == REST else [part])]
        values = [value for part in parts for value in ([math.nan, heights[part]] if part == REST else [heights[part]])]
        _curve(right, places, values, model, line)
    right.set_xticks(range(len(parts)), ["in no block" if part == REST else part for part in parts], fontsize=8)
    right.set(xlabel="block", ylabel="root mean squared change", title="by block")
    legend_beside(right)
    return figure


def tradeoff(table: pd.DataFrame) -> Any:
    """Similarity against distortion, a point a model: up and to the right is the paper's claim."""
    figure, axes = canvas(1, 2, size=(12.5, 4.4))
    for one, (what, title) in zip(axes, (("mean", "mean over the states above the first"), ("last", "last state")),
                                  strict=True):  # fmt: skip
        line = table[table["line"] == STABLE].sort_values("rms")
        one.plot(line["rms"], line[f"similarity_{what}"], color="grey", linewidth=0.9, zorder=1)
        for row in table.to_dict("records"):
            value, own = row[f"similarity_{what}"], row["model"]
            between = row["line"] == STABLE and own not in (MERGED, PLAIN)
            one.errorbar(
                [row["rms"]], [value], yerr=_spans(row, what), color=_colour(own, row["line"]), capsize=2,
                marker=MARKERS[_place(row["line"])], markersize={MERGED: 10}.get(own, 4 if between else 7),
                elinewidth=0.8, linestyle="none", label="_" if between else own, zorder=2,
            )  # fmt: skip
            if between:
                one.annotate(f" {row['alpha']:g}", (row["rms"], value), fontsize=7, color="grey", va="bottom")
        one.set(xlabel="root mean squared change of a parameter", title=title)
    axes[0].set_ylabel("cosine similarity to pre-trained")
    legend_beside(axes[1])
    return figure


def _spans(row: Mapping[Any, Any], what: str) -> Sequence[Sequence[float]] | None:
    low, high, value = row[f"{what}_low"], row[f"{what}_high"], row[f"similarity_{what}"]
    if low is None or pd.isna(low):
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _curve(axes: Any, x: Sequence[float], y: Sequence[float], model: str, line: str) -> None:
    curve(axes, x, y, _place(line), model, colour=_colour(model, line), emphasised=model == MERGED)


def _place(line: str) -> int:
    """Of a line among all there are, so that a baseline looks alike in all figures."""
    return LINES.index(line)


def _colour(model: str, line: str) -> str:
    if line == STABLE:
        return {MERGED: "black", PLAIN: "dimgrey"}.get(model, "darkgrey")
    return COLOURS[_place(line) % len(COLOURS)]
