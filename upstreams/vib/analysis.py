"""Analyses of trained VIB stages, for `harness/analyse.py vib`: layer weights here, the others by name.

    layers     how a stage weighs the backbone's layers
    probe      what each latent tells, beside what it was made from
    salience   which frames of an utterance count, by attention and by integrated gradients

A stage is looked for in the cache and among the shipped ones, with the default recipe of its kind, or given as a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.contracts import Upstream
from harness.errors import UserError
from harness.figures import Outputs, bars, canvas, sha256_of
from harness.recipe import Job
from upstreams.vib.checkpoint import Checkpoint
from upstreams.vib.settings import PRESETS, TARGETS, from_options

ANALYSES = {
    "layers": "upstreams.vib.analysis:Layers",
    "probe": "upstreams.vib.analysis_probe:Probe",
    "salience": "upstreams.vib.analysis_salience:SalienceOf",
}


@dataclass(frozen=True)
class Stage:
    """A trained stage and its file."""

    checkpoint: Checkpoint
    path: Path

    @property
    def name(self) -> str:
        """'text', 'acoustic_speaker' …; with '_control' where it has no bottleneck."""
        settings = self.checkpoint.meta.settings
        stem = "text" if settings.stage == "text" else f"acoustic_{settings.target}"
        return stem if settings.bottleneck else f"{stem}_control"

    @property
    def sums(self) -> dict[str, str]:
        """For the JSON beside a table: what was read."""
        return {"file": self.path.name, "sha256": sha256_of(self.path)}


def stage_options(parser: Any) -> None:
    """Where the stages come from."""
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a stage's file in place of those in the cache or shipped; may be given several times",
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="mini", help="whose recipes' stages are looked for (default mini)"
    )


def stages(job: Job, args: argparse.Namespace, base: Upstream | None) -> dict[str, Stage]:
    """By name: those of the files that were given, else text, the acoustic ones and their controls as far as there are
    any. `base`: the built backbone, None where it is not read. Raises UserError where there is none, for two of one
    name, and for one of another backbone."""
    if args.checkpoint:
        found = [Stage(*Checkpoint.of(job.backbone_name, _settings("text", None, True, args), 0, f))
                 for f in args.checkpoint]  # fmt: skip
    else:
        found = _made(job, args)
    names = [stage.name for stage in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"one file a stage wanted, found two of {twice[0]}; give one --checkpoint of it")
    for stage in found:
        if base is not None:
            stage.checkpoint.check_base(base, str(stage.path))
        stage.checkpoint.network.to(job.device)
    return {stage.name: stage for stage in found}


def _settings(stage: str, target: str | None, bottleneck: bool, args: argparse.Namespace) -> Any:
    named = {} if target is None else {"target": target}
    return from_options({"preset": args.preset, "stage": stage, "bottleneck": bottleneck, **named}, "analyse.py vib")


def _made(job: Job, args: argparse.Namespace) -> list[Stage]:
    """Of the recipes of a preset, with and without the bottleneck. A line for each stage with it that is missing; a
    control is an extra."""
    found, missing = [], []
    for bottleneck in (True, False):
        for stage, target in (("text", None), *(("acoustic", target) for target in TARGETS)):
            try:
                settings = _settings(stage, target, bottleneck, args)
                found.append(Stage(*Checkpoint.of(job.backbone_name, settings, job.seeds[0], None)))
            except UserError as error:
                missing += [error] if bottleneck else []
    if not found:
        raise missing[0]
    for lacking in missing:
        job.say(f"left out: {lacking}")
    return found


def text_of(stage: Stage, known: Sequence[Stage]) -> Stage:
    """The text stage that an acoustic one was conditioned on: among `known`, else looked for beside it. Raises
    UserError where it is nowhere."""
    wanted = stage.checkpoint.meta.text_sha256
    for other in known:
        if other.checkpoint.meta.tensors_sha256 == wanted:
            return other
    return Stage(*stage.checkpoint.text(stage.path))


class Layers:
    """The weight that each stage's mix gives to each layer. Follows `harness.analyse.Analysis`."""

    data = ""

    @staticmethod
    def options(parser: Any) -> None:
        stage_options(parser)

    def __init__(self, args: argparse.Namespace):
        self.args = args

    def run(self, job: Job, command: str) -> list[Path]:
        assert job.out is not None
        outputs = Outputs(job.out / job.backbone_name.replace(":", "_"), "layers", command, job.device)
        found = stages(job, self.args, None)  # the weights of the mix say all, whether the backbone is here or not
        weights = {name: stage.checkpoint.network.layer_weights().tolist() for name, stage in found.items()}
        rows = [
            {"stage": name, "layer": layer, "weight": weight}
            for name, stage in found.items()
            for layer, weight in zip(stage.checkpoint.meta.layers, weights[name], strict=True)
        ]
        outputs.table(pd.DataFrame(rows))
        layers = sorted({row["layer"] for row in rows})
        given = {(row["stage"], row["layer"]): row["weight"] for row in rows}
        series = {name: [given.get((name, layer), 0.0) for layer in layers] for name in found}
        figure, axes = canvas(size=(max(5.0, 0.5 * len(layers) + 2.5), 3.2))
        bars(axes, [str(layer) for layer in layers], series)
        axes.axhline(1 / len(layers), color="grey", linewidth=0.8, linestyle=":")
        axes.set(xlabel=f"hidden state of {job.backbone_name}", ylabel="softmax weight")
        outputs.figure(figure)
        return outputs.close({"preset": self.args.preset}, {name: stage.sums for name, stage in found.items()})
