"""`analyse.py vib probe`: what each latent tells of an utterance, beside the backbone's states that it was made from.

    original              the backbone's layers that the stages read, as they are given to them, with a mix of its own
    text                  the mean of the text stage's latent
    acoustic_TARGET       the mean of an acoustic stage's
    …_control             of a stage that was trained without the bottleneck

A probe that is done is kept, so an interrupted call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from harness.contracts import Level
from harness.errors import UserError
from harness.features import Features
from harness.figures import COLOURS, Outputs, canvas
from harness.paths import cache_dir
from harness.recipe import Job
from harness.registry import unknown
from harness.results import atomic_write, identity_hash
from upstreams.vib.analysis import Stage, stage_options, stages, text_of
from upstreams.vib.network import STD_FLOOR, LayerMix
from upstreams.vib.probe_data import MEASURED, QUARTILE, TARGETS, Labelled, check_new, labelled, measure_all
from upstreams.vib.probing import Probed, Settings, probe

ORIGINAL = "original"


class Representation:
    """Frames of one representation, each computed once and kept in memory in half precision. What the probes read of a
    `harness.contracts.FeatureSource`."""

    level: Level = "frame"

    def __init__(self, features: Features, stage: Stage, original: bool):
        """`original`: not the stage's latent but its input, layer by layer."""
        network = stage.checkpoint.network
        self.features, self.stage, self.original, self.stride = features, stage, original, features.stride
        self.num_layers = len(network.mix.layers) if original else 1
        self.dim = features.dim if original else network.dim
        self._kept: dict[str, Tensor] = {}

    @property
    def identity(self) -> dict[str, Any]:
        meta = self.stage.checkpoint.meta
        if self.original:  # only the choice of layers and their statistics come from the stage
            mix = self.stage.checkpoint.network.mix
            return {"backbone": self.features.fingerprint, "layers": mix.layers, "scale": _digest(mix)}
        return {"backbone": self.features.fingerprint, "stage": meta.tensors_sha256}

    def frames(self, utterance_id: str) -> Tensor:
        """(T, layers, D) of the original, (T, 1, d) of a latent, float32."""
        if utterance_id not in self._kept:
            with torch.no_grad():
                hidden = self.features.frames(utterance_id).to(self.features.device)
                made = self._original(hidden) if self.original else self._latent(hidden)
            self._kept[utterance_id] = made.cpu().half()
        return self._kept[utterance_id].float()

    def _latent(self, hidden: Tensor) -> Tensor:
        return self.stage.checkpoint.network.encode(hidden)[0][:, None]

    def _original(self, hidden: Tensor) -> Tensor:
        mix = self.stage.checkpoint.network.mix
        return (mix.chosen(hidden) - mix.mean) / mix.std.clamp(min=STD_FLOOR)

    def mean(self, utterance_id: str) -> Tensor:
        return self.frames(utterance_id).mean(dim=0)

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        return torch.stack([self.mean(name) for name in utterance_ids])

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        raise TypeError("no probe reads blocks")


def _digest(mix: LayerMix) -> str:
    return identity_hash({"mean": mix.mean.double().sum(dim=1).tolist(), "std": mix.std.double().sum(dim=1).tolist()})


class Probe:
    """Follows `harness.analyse.Analysis`."""

    data = "tasks/mini/vib_probe.yaml"

    @staticmethod
    def options(parser: Any) -> None:
        default = Settings()
        parser.add_argument("--targets", metavar="A,B", help=f"some of {', '.join(TARGETS)} (default: all)")
        parser.add_argument("--representations", metavar="A,B", help="some of original, text … (default: all)")
        parser.add_argument("--steps", type=int, default=default.steps, help=f"updates (default {default.steps})")
        parser.add_argument("--again", action="store_true", help="train probes anew that were trained already")
        stage_options(parser)

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.targets = _some(args.targets, list(TARGETS), "target")
        if args.steps < 1:
            raise UserError(f"--steps: 1 or more wanted, found {args.steps}")
        self.settings = Settings(steps=args.steps)

    def run(self, job: Job, command: str) -> list[Path]:
        assert job.out is not None
        found = stages(job, self.args, job.backbone)
        first = next(iter(found.values()))
        rows = [u for split in job.splits.values() for u in split.utterances]
        # a representation keeps what it makes, so the backbone's frames are not kept beside it
        read = Features(job.backbone, None, rows, job.features.store, device=job.device, memory_mb=16)
        known = {name: Representation(read, stage, False) for name, stage in found.items()}
        known = {ORIGINAL: Representation(read, first, True), **known}
        chosen = _some(self.args.representations, list(known), "representation")
        trained = {stage.name: stage for stage in found.values()}
        for stage in list(trained.values()):
            if stage.name.startswith("acoustic"):
                text = text_of(stage, list(found.values()))
                trained.setdefault(text.name, text)
        outputs = Outputs(job.out / job.backbone_name.replace(":", "_"), "probe", command, job.device)
        with outputs.watch.phase("features"):
            job.prepare("frames")
        with outputs.watch.phase("acoustic measures"):
            wanted = any(TARGETS[target].kind == "measure" for target in self.targets)
            sets = [split for name, split in job.splits.items() if wanted and name.startswith(f"{MEASURED}_")]
            measured = measure_all([u for split in sets for u in split.utterances], read)
        data = {target: labelled(target, job, measured) for target in self.targets}
        new = check_new(job, [one.splits["test"] for one in data.values()], trained.values())
        table, done = [], 0
        for target in self.targets:
            for name in chosen:
                done += 1
                what = f"probe {done} of {len(self.targets) * len(chosen)}: {target} from {name}"
                with outputs.watch.phase("probes"):
                    probed = self._probe(job, known[name], data[target], target, what)
                table.append({"representation": name, "target": target, **probed.row(), **_more(target, data[target])}
                             | {"test_new": _new(name, new)})  # fmt: skip
        frame = pd.DataFrame(table)
        outputs.table(frame)
        outputs.figure(drawn(frame, chosen, self.targets))
        inputs = {name: stage.sums for name, stage in found.items()} | {
            "data": {target: one.sha256 for target, one in data.items()}
        }
        more = {"quartiles": {target: one.edges for target, one in data.items() if one.edges}}
        settings = {**self.settings.model_dump(mode="json"), "data": job.data.name, "version": job.data.version}
        return outputs.close(settings, inputs, more)

    def _probe(self, job: Job, source: Representation, data: Labelled, target: str, what: str) -> Probed:
        """From the cache if it was trained before."""
        kind = TARGETS[target].kind
        chance = {"measure": QUARTILE}.get(kind)
        identity = {
            **source.identity, "settings": self.settings.model_dump(mode="json"), "data": data.sha256, "target": target,
        }  # fmt: skip
        path = cache_dir() / "probes" / "vib" / f"{identity_hash(identity)[:24]}.json"
        if not self.args.again and (kept := _kept(path)) is not None:
            return kept
        probed = probe(source, data.splits, kind == "words", chance, self.settings, job.device, what)
        atomic_write(path, (json.dumps(asdict(probed) | {"identity": identity}, indent=1) + "\n").encode())
        job.say(f"{what}: {probed.metric} {probed.value:.1f} %, {probed.verdict}")
        return probed


def _kept(path: Path) -> Probed | None:
    try:
        return Probed(**{name: value for name, value in json.loads(path.read_text()).items() if name != "identity"})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _more(target: str, data: Labelled) -> dict[str, Any]:
    """Columns on the labels: the training rows and their classes, and how many rows have no value of their own."""
    train = data.splits["train"]
    classes = math.nan if TARGETS[target].kind == "words" else len(set(train.references.values()))
    undefined = {f"undefined_{name}": data.undefined.get(name, math.nan) for name in ("train", "test")}
    return {"train": len(train.utterances), "classes": classes, **undefined}


def _new(name: str, new: Mapping[str, str]) -> str:
    """Whether the test rows are new to what made a representation, the text stage under an acoustic one included."""
    if name == ORIGINAL:
        return "yes"
    text = "text_control" if name.endswith("_control") else "text"
    said = {new[one] for one in (name, text) if one in new}
    return "unknown" if "unknown" in said else "yes"


def _some(given: str | None, known: list[str], what: str) -> list[str]:
    """Names with commas, in the order of `known`. Raises UserError for one that is not known."""
    if given is None:
        return known
    wanted = [part.strip() for part in given.split(",") if part.strip()]
    for name in wanted:
        if name not in known:
            raise unknown(what, name, known)
    if not wanted:
        raise UserError(f"--{what}s: names with commas wanted, found {given!r}; known: {', '.join(known)}")
    return [name for name in known if name in wanted]


def drawn(table: pd.DataFrame, names: Sequence[str], targets: Sequence[str]) -> Any:
    """A panel a target: a bar a representation with its interval, and what the verdict is against."""
    columns = min(5, len(targets))
    rows = -(-len(targets) // columns)
    figure, axes = canvas(rows, columns, size=(2.3 * columns + 0.5, 2.6 * rows + 0.8), squeeze=False)
    for one, target in zip(axes.ravel(), targets, strict=False):
        part = table[table["target"] == target].set_index("representation").loc[list(names)]
        colours = [COLOURS[at % len(COLOURS)] for at in range(len(names))]
        one.bar(range(len(names)), part["value"], color=colours)
        spans = [(part["value"] - part["low"]).fillna(0), (part["high"] - part["value"]).fillna(0)]
        one.errorbar(range(len(names)), part["value"], yerr=spans, fmt="none", ecolor="black", elinewidth=0.8)
        one.axhline(float(max(part["chance"].iloc[0], part["constant"].iloc[0])), color="grey", linestyle=":")
        metric = part["metric"].iloc[0]
        one.set(title=target.replace("_", " "), ylabel=f"{'WER' if metric == 'wer' else metric}, %")
        crowded = len(names) > 4
        labels = [name.replace("_", " " if crowded else "\n") for name in names]
        one.set_xticks(range(len(names)), labels, fontsize=6, rotation=90 if crowded else 0)
    for one in axes.ravel()[len(targets) :]:
        one.set_visible(False)
    return figure
