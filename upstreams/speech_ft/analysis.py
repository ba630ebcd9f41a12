"""Analyses of Speech-FT, for `harness/analyse.py speech_ft`: what fine-tuning and merging did to a backbone.

    similarity   cosine similarity of each layer's features to the pre-trained ones, over alpha and of the baselines
    distortion   how far the weights went, of the whole model and of each block
    llfc         whether the features of a merge are those in between its two ends (layer-wise linear connectivity)
    tradeoff     feature similarity against weight distortion, a line a model: what the paper says of its baselines
    all          the four, in turn

The features are of read sentences by voices that no fine-tuning has had (`--split` of the data: read_test of
tasks/mini/vib_probe.yaml); a recording that was trained on is counted in the JSON. Intervals resample speakers.
"""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from harness.errors import UserError
from harness.figures import Outputs
from harness.recipe import Job
from harness.registry import unknown
from harness.results import Interval
from upstreams.speech_ft import analysis_figures as figures
from upstreams.speech_ft.analysis_lines import LINES, PLAIN, STABLE, Lines, Point, own_point
from upstreams.speech_ft.analysis_measures import WHOLE, difference
from upstreams.speech_ft.settings import ALPHA, BASELINES, PRESETS

ANALYSES = {
    name: f"upstreams.speech_ft.analysis:{name.capitalize() if name != 'llfc' else 'LLFC'}"
    for name in ("similarity", "distortion", "llfc", "tradeoff", "all")
}

ALPHAS = (0.1, 0.25, 0.5, 0.75, 1.0)
HELD = ("l2", "features", "lora", "dora")
"""The baselines that are to keep a model near the pre-trained one. Of them the paper says that Speech-FT's features are
more like the pre-trained ones although its weights are further away."""


class _Command(ABC):
    """Follows `harness.analyse.Analysis`."""

    data = "tasks/mini/vib_probe.yaml"

    @staticmethod
    def options(parser: Any) -> None:
        add = parser.add_argument
        add("--task", default="asr", help="whose checkpoints: asr (default), pr, sid …; multi … as the cards are named")
        add("--alphas", type=_alphas, default=ALPHAS, metavar="A,B", help="default 0.1,0.25,0.5,0.75,1")
        add("--baselines", type=_baselines, default=BASELINES, metavar="A,B", help="some of them (default: all)")
        add("--preset", choices=sorted(PRESETS), default="mini", help="whose recipes' checkpoints (default mini)")
        add("--split", default="read_test", help="the data's rows that features are compared on (default read_test)")

    def __init__(self, args: argparse.Namespace):
        self.args = args

    def run(self, job: Job, command: str) -> list[Path]:
        return self.written(Lines(job, self.args), command)

    @abstractmethod
    def written(self, lines: Lines, command: str) -> list[Path]:
        """The files that it wrote, of lines that were found."""


class _Analysis(_Command):
    """One table and its figure."""

    stem: str

    def written(self, lines: Lines, command: str) -> list[Path]:
        """Its files, of lines that were found."""
        job = lines.job
        assert job.out is not None
        folder = job.out / job.backbone_name.replace(":", "_")
        outputs = Outputs(folder, f"{self.stem}-{self.args.task}", command, job.device)
        with outputs.watch.phase("measuring"):
            result = self.write(lines, outputs)
        args = self.args
        settings = {
            "task": args.task, "backbone": job.backbone_name, "preset": args.preset, "recipe_seed": job.seeds[0],
            "alphas": list(args.alphas), "baselines": list(args.baselines),
        }  # fmt: skip
        inputs: dict[str, Any] = {"checkpoints": lines.sources, "backbone": job.backbone.fingerprint}
        more: dict[str, Any] = {"left_out": lines.missing, "result": result}
        if self.stem != Distortion.stem:
            rows = lines.rows
            seconds = round(sum(row.duration for row in rows), 1)
            inputs["data"] = {
                "name": f"{job.data.suite}/{job.data.name} version {job.data.version}", "split": lines.split,
                "corpora": sorted({row.corpus for row in rows}), "utterances": len(rows), "seconds": seconds,
                "speakers": len({row.speaker for row in rows}), "data_hash": job.data_hash,
                "recordings_trained_on": lines.seen(),
            }  # fmt: skip
        return outputs.close(settings, inputs, more)

    @abstractmethod
    def write(self, lines: Lines, outputs: Outputs) -> dict[str, Any]:
        """The table and the figure; returns what the JSON says of them."""

    def points(self, lines: Lines) -> list[Point]:
        """The stable line at all alphas, then the baselines as they are compared."""
        alphas = sorted({*self.args.alphas, ALPHA, *([1.0] if PLAIN in self.args.baselines else [])})
        return [Point(STABLE, alpha) for alpha in alphas] + [own_point(name) for name in lines.there if name != STABLE]


class Similarity(_Analysis):
    stem = "similarity"

    def write(self, lines: Lines, outputs: Outputs) -> dict[str, Any]:
        points = self.points(lines)
        found = lines.measure(points)
        rows = [
            {**_of(lines, point), "layer": layer, "similarity": value}
            for point in points
            for layer, value in enumerate(found[point].similarity.mean())
        ]
        table = pd.DataFrame(rows)
        outputs.table(table)
        label = "cosine similarity to pre-trained"
        outputs.figure(figures.by_layer(table, "similarity", label, lines.job.backbone_name))
        lines.job.say(_wide(table, "similarity", 4))
        return {point.label: found[point].similarity.mean() for point in points}


class Distortion(_Analysis):
    stem = "distortion"

    def write(self, lines: Lines, outputs: Outputs) -> dict[str, Any]:
        points = self.points(lines)
        rows = []
        for point in points:
            for part, one in lines.distortion(point).items():
                rows.append({
                    **_of(lines, point), "part": part, "parameters": one.parameters, "l2": one.l2,
                    "l2_per_parameter": one.l2_per_parameter, "rms": one.rms,
                })  # fmt: skip
        table = pd.DataFrame(rows)
        outputs.table(table)
        outputs.figure(figures.of_weights(table))
        whole = table[table["part"] == WHOLE][["model", "l2", "l2_per_parameter", "rms"]]
        lines.job.say(tabulate(whole.to_dict("list"), headers="keys", floatfmt=".3g"))
        return {row["model"]: {"l2_per_parameter": row["l2_per_parameter"], "rms": row["rms"]}
                for row in whole.to_dict("records")}  # fmt: skip


class LLFC(_Analysis):
    """Beside the stable line the others at the alpha of Speech-FT: would merging them be as good?"""

    stem = "llfc"

    def write(self, lines: Lines, outputs: Outputs) -> dict[str, Any]:
        points = [point for point in self.points(lines) if point.line == STABLE]
        points += [Point(name, ALPHA) for name in lines.there if name != STABLE]
        found = lines.measure(points)
        rows = [
            {**_of(lines, point), "layer": layer, "gap": value}
            for point in points
            for layer, value in enumerate(found[point].gap.mean())
        ]
        table = pd.DataFrame(rows)
        outputs.table(table)
        outputs.figure(figures.by_layer(table, "gap", "1 - cos to the features in between", lines.job.backbone_name))
        lines.job.say(_wide(table, "gap", 6))
        return {point.label: found[point].gap.mean() for point in points}


class Tradeoff(_Analysis):
    stem = "tradeoff"

    def write(self, lines: Lines, outputs: Outputs) -> dict[str, Any]:
        points = self.points(lines)
        found = lines.measure(points)
        count = lines.job.backbone.num_layers
        # where the front-end is frozen the first state is the same in all models, so the mean is of the others
        last, above = [count - 1], list(range(1, count)) or [0]
        rows = []
        for point in points:
            whole = lines.distortion(point)[WHOLE]
            likeness = found[point].similarity
            rows.append({
                **_of(lines, point), "rms": whole.rms, "l2_per_parameter": whole.l2_per_parameter,
                "similarity_last": likeness.mean(last)[0], **_span("last", likeness.interval(last)),
                "similarity_mean": likeness.mean(above)[0], **_span("mean", likeness.interval(above)),
            })  # fmt: skip
        table = pd.DataFrame(rows)
        outputs.table(table)
        outputs.figure(figures.tradeoff(table))
        shown = ["model", "rms", "l2_per_parameter", "similarity_last", "similarity_mean"]
        digits = ("", ".2e", ".2e", ".4f", ".4f")
        lines.job.say(tabulate(table[shown].to_dict("list"), headers="keys", floatfmt=digits))
        own = own_point(STABLE)
        mine = table[table["model"] == own.label].iloc[0]
        claims = {}
        for name in [name for name in HELD if name in lines.there]:
            point = own_point(name)
            other = table[table["model"] == point.label].iloc[0]
            more, span = difference(found[own].similarity, found[point].similarity, above)
            further = float(mine["rms"] / other["rms"]) if other["rms"] else float("inf")
            sure = span is not None and (span.low > 0 or span.high < 0)
            claims[name] = {
                "similarity_minus_baseline": more, "interval": None if span is None else [span.low, span.high],
                "weight_change_over_baseline": further if other["rms"] else None,
                "holds": bool(further > 1 and more > 0),
            }  # fmt: skip
            verdict = "holds" if claims[name]["holds"] else "does not hold"
            spoken = "" if span is None else f" ({span.low:+.4f} to {span.high:+.4f}{'' if sure else ', unclear'})"
            lines.job.say(
                f"Speech-FT against {name}: similarity {more:+.4f}{spoken} at {further:.2f} times the weight change;"
                f" the claim (more alike, though further away) {verdict}"
            )
        return {"claim": "higher feature similarity in spite of a larger weight change", "against": claims}


class All(_Command):
    """The four, of lines that are looked for once."""

    def written(self, lines: Lines, command: str) -> list[Path]:
        parts: list[Callable[[argparse.Namespace], _Analysis]] = [Similarity, Distortion, LLFC, Tradeoff]
        return [path for part in parts for path in part(self.args).written(lines, command)]


def _of(lines: Lines, point: Point) -> dict[str, Any]:
    """The first columns of every table."""
    return {"model": point.label, "upstream": lines.name_of(point), "line": point.line, "alpha": point.alpha}


def _span(name: str, found: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": found.low if found else None, f"{name}_high": found.high if found else None}


def _wide(table: pd.DataFrame, value: str, digits: int) -> str:
    """A row a model, a column a layer."""
    rows = table.pivot(index="model", columns="layer", values=value).loc[list(dict.fromkeys(table["model"]))]
    lines = [[model, *values] for model, values in zip(rows.index, rows.to_numpy().tolist(), strict=True)]
    return tabulate(lines, headers=["layer", *map(str, rows.columns)], floatfmt=f".{digits}f")


def _alphas(text: str) -> tuple[float, ...]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = [-1.0]
    if not 0 <= found[0] <= found[-1] <= 1:
        raise UserError(f"--alphas: numbers from 0 to 1 with commas wanted, found {text!r}")
    return tuple(found)


def _baselines(text: str) -> Sequence[str]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    for name in found:
        if name not in BASELINES:
            raise unknown("baseline", name, BASELINES)
    return [name for name in (PLAIN, *LINES) if name in found]
