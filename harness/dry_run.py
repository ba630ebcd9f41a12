"""`run.py … --dry-run`: what cells would encode, keep and train, and about how long, before anything starts.

A cell is built as for its run, so whatever would stop it then is said now: a missing corpus, shared speakers, a head
that does not fit. Sizes follow from the manifests and the store. Seconds are measured here: the encoder on ten seconds
of noise, the head on a few updates with made-up features of the same shape.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from harness.cell import Cell, CellName
from harness.cell_head import reads_test
from harness.config import Runtime
from harness.contracts import SAMPLE_RATE, Form, SplitData, TrialSpec, Utterance
from harness.encode import encode
from harness.errors import NotApplicable, UserError
from harness.features import block_frames
from harness.registry import resolve
from harness.wording import counted, disk

NOISE_SECONDS = 10
TIMED_UPDATES, TIMED_SECONDS = 5, 20.0
"""Micro-batches of a head that are timed, at most, and seconds after which no other one is begun."""
HEADERS = ["features of", "clips", "hours", "to encode", "hours", "kept"]


@dataclass
class Load:
    """Features of one split."""

    name: str
    clips: int
    hours: float
    to_encode: int
    hours_to_encode: float
    frames: float
    """Bytes of the backbone's frames, which are kept where a head reads frames."""
    small: float
    """Bytes of means and blocks, always kept."""
    form: Form


def report(groups: Sequence[Sequence[CellName]], runtime: Runtime) -> tuple[str, int]:
    """In words, a block a group of cells that train together, then what they come to; and how many groups cannot run.
    Raises UserError where one cell alone is asked for and cannot run."""
    seen: set[tuple[str, str, str]] = set()
    speed: dict[str, float] = {}
    texts = []
    failed = 0
    for names in groups:
        try:
            texts.append(_group(Cell(names[0], runtime), names, seen, speed))
        except UserError as error:
            if len(groups) == 1:
                raise
            what = "left out" if isinstance(error, NotApplicable) else "cannot run"
            failed += what == "cannot run"
            texts.append(f"{names[0].upstream} on {names[0].task}: {what}: {error}")
    return "\n\n".join(texts), failed


def _group(cell: Cell, names: Sequence[CellName], seen: set[tuple[str, str, str]], speed: dict[str, float]) -> str:
    cells = [cell, *(cell.with_seed(name.seed) for name in names[1:] if cell.head.trainable)]
    head = f"{cell.name.upstream} on {cell.task.task} ({cell.name.suite}), {cell.head_name}, preset {cell.preset_name}"
    open_ = [one for one in cells if not one.up_to_date()]
    if not open_:
        return f"{head}: done; it is only read"
    loads = [_load(cell, *part, seen) for part in _parts(cell)]
    rows = [[one.name, f"{one.clips:,}", f"{one.hours:.2f}", f"{one.to_encode:,}", f"{one.hours_to_encode:.2f}",
             _kept(one)] for one in loads]  # fmt: skip
    text = f"{head}\n" + tabulate(rows, headers=HEADERS, tablefmt="simple", disable_numparse=True,
                                  colalign=("left", "right", "right", "right", "right", "left"))  # fmt: skip
    backbone = cell.upstream.upstream.base or cell.upstream.stem
    speed.setdefault(backbone, _encoder_speed(cell))
    hours, factor = sum(one.hours_to_encode for one in loads), speed[backbone]
    small = sum(one.small for one in loads)
    frames, room = sum(one.frames for one in loads), float(cell.upstream.store.room())
    lines = [f"passes: {hours:.2f} h of audio once through {backbone}, {factor:.3f} s a second here: "
             f"about {_clock(hours * 3600 * factor)}"]  # fmt: skip
    budget = f"{cell.runtime.cache_gb:g} GB (--cache-gb)"
    lines.append(f"disk: {disk(small)} of means and blocks, {disk(min(frames, room))} of frames of {budget}")
    again = 0.0
    if frames > room:
        again = (1 - room / frames) * _hours_read(cell, loads)
        lines.append(
            f"{disk(frames - room)} of frames do not fit and are encoded at every reading: {again:,.0f} h of audio in "
            f"training, about {_clock(again * 3600 * factor)}; --cache-gb {frames / 1e9 + 1:.0f} encodes them once"
        )
    training = 0.0
    heads = 1 + sum(split.kind == "R" for split in cell.task.ood if cell.with_ood)
    if cell.head.trainable and cell.preset.plan:
        plan, rates = cell.preset.plan, len(cell.preset.lrs)
        each = _head_speed(cell, len(open_))
        training = each * plan.steps * plan.accumulate * heads
        lines.append(
            f"training: {counted(plan.steps, 'update')} of {plan.accumulate} micro-batches, {rates} learning rates x "
            f"{counted(len(open_), 'seed')} together{f', {heads} heads' if heads > 1 else ''}: {each:.3f} s a "
            f"micro-batch here, about {_clock(training)}, without the scoring of dev every {plan.eval_every:,} updates"
        )
    lines.append(f"in all about {_clock((hours + again) * 3600 * factor + training)} on {cell.runtime.device}")
    return text + "".join(f"\n{line}" for line in lines)


def _parts(cell: Cell) -> Iterator[tuple[str, SplitData, str, Form]]:
    """Name, rows, whose condition, and the form they are read in, of all that a cell reads."""
    tests = reads_test(cell.head)
    if cell.head.trainable:
        yield "train", cell.data.named("train"), "train", cell.head.reads
    yield "dev", cell.data.named("dev"), "dev", tests
    yield "test", cell.data.named("test"), "test", tests
    for split in cell.task.ood if cell.with_ood else []:
        if split.train and split.dev:
            own = cell.head_of(split)
            yield f"{split.name} train", cell.data.split("train", split.train), "train", own.reads
            yield f"{split.name} dev", cell.data.split("dev", split.dev), "dev", reads_test(own)
        yield split.name, cell.data.named(split.name), split.name, tests


def _load(
    cell: Cell, name: str, data: SplitData, condition_of: str, form: Form, seen: set[tuple[str, str, str]]
) -> Load:
    chain = resolve("tasks.catalogue:condition")(cell.task, condition_of)
    found = cell.upstream.features(data.utterances, {u.id: chain for u in data.utterances} if chain else {}, None)
    source: Any = getattr(found, "source", found)
    below = source.backbone
    todo: list[Utterance] = []
    for u in data.utterances:
        key = (below.fingerprint, source._key(u), "frames" if form == "frames" else "means")
        if key not in seen and not source._stored(u, form):
            todo.append(u)
        seen.add(key)
    seconds = sum(u.duration for u in todo)
    layer = below.num_layers * below.dim
    frames = seconds * SAMPLE_RATE / max(below.stride, 1) * layer * 2 if form == "frames" else 0.0
    own = source.num_layers * source.dim
    small = 0.0 if form == "frames" else len(todo) * own * 4.0
    if form == "blocks" and source.stride:
        small += seconds * SAMPLE_RATE / source.stride / block_frames(source.stride) * own * 2
    return Load(name, len(data.utterances), sum(u.duration for u in data.utterances) / 3600, len(todo), seconds / 3600,
                frames, small, form)  # fmt: skip


def _kept(load: Load) -> str:
    return f"{disk(load.frames)} of frames" if load.form == "frames" else f"{disk(load.small)} of {load.form}"


def _hours_read(cell: Cell, loads: Sequence[Load]) -> float:
    """Of training audio, over all updates."""
    plan, train = cell.preset.plan, loads[0]
    if plan is None or train.name != "train" or not train.clips:
        return 0.0
    return plan.steps * plan.accumulate * int(cell.preset.options.get("batch", 1)) * train.hours / train.clips


def _encoder_speed(cell: Cell) -> float:
    """Seconds of computing a second of audio."""
    wave = 0.1 * torch.randn(NOISE_SECONDS * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    wave = wave.to(cell.runtime.device)
    encode(cell.upstream.upstream, [wave[:SAMPLE_RATE]], cell.upstream.base)
    start = time.perf_counter()
    encode(cell.upstream.upstream, [wave], cell.upstream.base)  # its result comes to the host, so a GPU is waited for
    return (time.perf_counter() - start) / NOISE_SECONDS


class _MadeUp:
    """A `FeatureSource` of noise with an upstream's shape."""

    def __init__(self, cell: Cell, data: SplitData):
        upstream = cell.upstream.upstream
        self.num_layers = 1 if cell.upstream.view else upstream.num_layers
        self.dim, self.level, self.stride = upstream.dim, upstream.level, upstream.stride
        self._seconds = {u.id: u.duration for u in data.utterances}
        longest = max(self._count(i) for i in self._seconds)
        self._noise = torch.randn(longest, self.num_layers, self.dim, generator=torch.Generator().manual_seed(0))

    def _count(self, utterance_id: str) -> int:
        if self.level == "utterance":
            return 1
        return max(1, -(-int(self._seconds[utterance_id] * SAMPLE_RATE) // self.stride))

    def frames(self, utterance_id: str) -> Tensor:
        return self._noise[: self._count(utterance_id)]

    def mean(self, utterance_id: str) -> Tensor:
        return self._noise[0]

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        return self._noise[:1].expand(len(utterance_ids), -1, -1).clone()

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        count = -(-self._count(utterance_id) // block_frames(self.stride))
        return self._noise[:count], torch.full((count,), float(block_frames(self.stride)))


def _head_speed(cell: Cell, seeds: int) -> float:
    """Seconds a micro-batch with all learning rates and seeds; the first, which prepares, is not counted."""
    train = cell.data.named("train")
    source: Any = _MadeUp(cell, train)
    specs = [TrialSpec(lr, seed) for seed in range(seeds) for lr in cell.preset.lrs]
    learner = cell.head.learner(source, train, specs)
    start = began = time.perf_counter()
    done = 0
    for index in range(1 + TIMED_UPDATES):
        if index == 1:
            start = time.perf_counter()
        learner.zero_grad()
        losses = learner.losses(cell.head.batch(source, train, index), range(len(specs)))
        torch.autograd.backward([losses.sum()])
        float(losses.detach().sum())  # waits for the device
        done = index
        if time.perf_counter() - began > TIMED_SECONDS:
            break
    return (time.perf_counter() - start) / max(1, done)


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"
