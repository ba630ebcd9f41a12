"""The models that Speech-FT's analyses look at: points on the line from the pre-trained weights to fine-tuned ones.

    stable      stable fine-tuning: alpha 0.25 is Speech-FT, alpha 1 the baseline +plain
    unstable …  the other baselines, each with the line to its own weights

A model is built as the upstream of that name is. What is measured of one is kept in the cache: the next analysis reads
it and an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.audio import stored_key
from harness.contracts import Upstream, Utterance
from harness.errors import UserError
from harness.features import Features
from harness.figures import sha256_of
from harness.paths import ROOT, cache_dir
from harness.progress import progress
from harness.recipe import Job
from harness.registry import unknown
from harness.results import atomic_write, identity_hash
from harness.store import FeatureStore
from upstreams import catalogue
from upstreams.card import Card
from upstreams.speech_ft import assemble, model
from upstreams.speech_ft.analysis_measures import Distortion, Judged, connectivity_gap, distortion, judged, similarity
from upstreams.speech_ft.encoder import inner
from upstreams.speech_ft.settings import ALPHA, BASELINES, Settings, alpha_of
from upstreams.speech_ft.sweep import suffix_at

STABLE, PLAIN, MERGED = "stable", "plain", "Speech-FT"
"""A line; what its two points of interest are called: alpha 1, and alpha 0.25."""
LINES = (STABLE, *(name for name in BASELINES if name != PLAIN))
STEM = "speech_ft_"
"""How the names of the family's cards begin; the rest is what `--task` takes."""
VERSION = 1
"""Raised when what is kept of a model is another thing."""


@dataclass(frozen=True)
class Point:
    """A model: how far along which line."""

    line: str
    alpha: float

    @property
    def suffix(self) -> str:
        """Of the upstream's name, as short as it can be; '?' where there is no such upstream."""
        if self.line == STABLE:
            return suffix_at(self.alpha)
        return f"+{self.line}" if self.alpha == alpha_of(self.line) else "?"  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """In tables and figures."""
        if self.line == STABLE:
            return {ALPHA: MERGED, 1.0: PLAIN}.get(self.alpha, f"alpha {self.alpha:g}")
        own = self.alpha == alpha_of(self.line)  # type: ignore[arg-type]
        return self.line if own else f"{self.line}, alpha {self.alpha:g}"


def own_point(line: str) -> Point:
    """The model that a line is known by: Speech-FT, or the baseline as it is compared."""
    return Point(line, ALPHA if line == STABLE else alpha_of(line))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Measured:
    """Of one model, on the held-out rows."""

    similarity: Judged
    gap: Judged


class Lines:
    """Those of a task whose checkpoints are there."""

    def __init__(self, job: Job, args: argparse.Namespace):
        """Raises UserError for an unknown task, one without the stable line's checkpoint, and bad rows."""
        self.job, self.split = job, args.split
        self.card, self.name = _card(args.task), f"{STEM}{args.task}"
        self.preset = args.preset
        self._ends: dict[Point, Upstream] = {}
        self.sources: dict[str, dict[str, str]] = {}
        """By line, the files that were read and their sums."""
        self.missing: dict[str, str] = {}
        """By line, why it is left out."""
        for line in [STABLE, *(name for name in args.baselines if name in LINES)]:
            try:
                found = assemble.found_for(self._wanted(line), job.backbone_name, job.seeds[0], None)
            except UserError as error:
                if line == STABLE:
                    raise
                self.missing[line] = str(error)
                job.say(f"left out: {self.name}+{line}: {error}")
                continue
            self.sources[line] = {f"{p.parent.name}/{p.name}": sha256_of(p) for _, p in found}

    @property
    def there(self) -> list[str]:
        return list(self.sources)

    def name_of(self, point: Point) -> str:
        """The upstream's name, as `run.py` takes it; empty where there is none."""
        at = "" if self.job.backbone_name == self.card.backbone else f"@{self.job.backbone_name}"
        return "" if point.suffix == "?" else f"{self.name}{point.suffix}{at}"

    def _options(self, line: str) -> dict[str, Any]:
        baseline = {} if line == STABLE else {"baseline": line}
        return {**self.card.options, "preset": self.preset, **baseline}

    def _wanted(self, line: str) -> list[Settings]:
        return model.Options.model_validate(self._options(line)).wanted(self.name)

    def build(self, point: Point) -> Any:
        """A model, as its upstream is built: a `model.Refined`."""
        job = self.job
        card = self.card.model_copy(update={"options": self._options(point.line) | {"alpha": point.alpha}})
        built = model.build(card, self.name_of(point) or self.name, job.backbone_name, job.seeds[0], None, job.folder)
        return built.to(job.device)

    @cached_property
    def theta0(self) -> dict[str, Tensor]:
        return _parameters(self.job.backbone)

    def distortion(self, point: Point) -> dict[str, Distortion]:
        """Of a model's weights, by part; from the backbone's."""
        return distortion(_parameters(self.build(point).inside), self.theta0)

    # -- features ---------------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> list[Utterance]:
        """The held-out utterances. Raises UserError for a split that the data lacks."""
        splits = self.job.splits
        if self.split not in splits:
            raise unknown(f"split of {self.job.data_path.name}", self.split, splits)
        return splits[self.split].utterances

    def seen(self) -> int:
        """How many of the held-out recordings were fine-tuned on."""
        tasks = {task for line in self.there for one in self._wanted(line) for task in (*one.tasks, *one.after)}
        trained: set[str] = set()
        for task in tasks:
            data = self.job.beside(ROOT / f"tasks/mini/speech_ft_{task}.yaml")
            trained |= {u.sha256 for split in data.splits.values() for u in split.utterances}
        return sum(row.sha256 in trained for row in self.rows)

    def measure(self, points: Sequence[Point]) -> dict[Point, Measured]:
        """Of models, each from the cache if it was measured before."""
        found = {}
        for at, point in enumerate(points, start=1):
            what = f"model {at} of {len(points)}: {self.name_of(point) or f'{self.name}, {point.label}'}"
            found[point] = self._measured(point, what)
        return found

    def _measured(self, point: Point, what: str) -> Measured:
        upstream = self.build(point)
        starts, ends = self._end(Point(point.line, 0.0)), self._end(Point(point.line, 1.0))
        before = self.job.backbone
        prints = [one.fingerprint for one in (before, starts, ends, upstream)]
        keys = [f"{row.id}|{stored_key(row)}|{row.speaker}" for row in self.rows]
        identity = {"version": VERSION, "models": prints, "rows": keys, "alpha": point.alpha}
        path = cache_dir() / "analyses" / "speech_ft" / f"{identity_hash(identity)[:24]}.json"
        if (kept := _kept(path)) is not None:
            return kept
        own, first = self._features(upstream, False), self._features(before, True)
        start, end = (first if starts is before else self._features(starts, True)), self._features(ends, True)
        likeness, gaps = [], []
        for row in progress(self.rows, what):
            frames, pretrained = own.frames(row.id), first.frames(row.id)
            likeness.append((similarity(frames, pretrained), len(frames), row.speaker))
            gap = connectivity_gap(frames, start.frames(row.id), end.frames(row.id), point.alpha)
            gaps.append((gap, len(frames), row.speaker))
        measured = Measured(judged(likeness), judged(gaps))
        atomic_write(path, (json.dumps(asdict(measured)) + "\n").encode())
        return measured

    def _end(self, point: Point) -> Upstream:
        """Of a line; the backbone itself where the line begins there. Those of the last line are held."""
        if point.alpha == 0 and not self.card.options.get("after"):
            return self.job.backbone
        if point not in self._ends:
            self._ends = {other: built for other, built in self._ends.items() if other.line == point.line}
            self._ends[point] = self.build(point)
        return self._ends[point]

    def _features(self, upstream: Upstream, keep: bool) -> Features:
        """Frames of the held-out rows; those of a line's ends, which are read often, are kept in the store."""
        store = FeatureStore(cache_dir() / "features", None if keep else 0.0)
        found = Features(upstream, None, self.rows, store, device=self.job.device, memory_mb=64)
        if keep:
            found.prepare([row.id for row in self.rows], "frames", f"features of {upstream.name}")
        return found


def _card(task: str) -> Card:
    known = [name.removeprefix(STEM) for name in catalogue.names() if name.startswith(STEM)]
    if task not in known:
        raise unknown("--task", task, known)
    return catalogue.card(f"{STEM}{task}")


def _parameters(backbone: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in inner(backbone).named_parameters()}


def _kept(path: Path) -> Measured | None:
    try:
        return Measured(**{name: Judged(**value) for name, value in json.loads(path.read_text()).items()})
    except (OSError, ValueError, TypeError):
        return None
