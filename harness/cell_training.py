"""The heads of cells, trained and chosen: learning rates x seeds on the same batches; dev selects for each seed.

A head that is trained already is only read. Killed, the same seeds together go on from the last evaluation.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness import s3prl_practice, selection
from harness.cell_head import build_head, reads_test
from harness.config import OODSplit
from harness.contracts import Head, SplitData, TrialSpec
from harness.errors import UserError
from harness.features import LayerView
from harness.registry import resolve
from harness.results import Selection, identity_hash
from harness.train import Outcome, fit

if TYPE_CHECKING:
    from harness.cell import Cell

PROBE = "cosine"
"""The training-free head that picks the layer of a `+dev` upstream."""


def trained(cell: Cell, ood: OODSplit | None) -> tuple[dict[str, Tensor], Selection]:
    """The selected head, trained now or earlier. `ood`: the head of a kind-R split, on its own train and dev."""
    train([cell], ood)
    found = selection.load(cell.folder, _suffix(cell, ood))
    assert found is not None
    return found


def train(cells: Sequence[Cell], ood: OODSplit | None) -> None:
    """Train and save the heads that these cells, one but for the head's seed, still lack; with `ood` None those of
    their kind-R splits too."""
    if not cells:
        return
    lacking = [
        cell
        for cell in cells
        if selection.load(cell.folder, _suffix(cell, ood)) is None
        or (ood is None and s3prl_practice.lacks_states(cell))
    ]
    if lacking:
        _train(lacking, ood)
    first = cells[0]
    if ood is None and first.with_ood:
        for split in first.task.ood:
            if split.kind == "R":
                train(cells, split)


def head_data(cell: Cell, ood: OODSplit) -> list[Any]:
    """What decides the head of a kind-R split beyond the cell's own preset: its train, its dev, its options."""
    sha = resolve("tasks.catalogue:data_sha256")
    return [*(sha(cell.data.split(part, getattr(ood, part))) for part in ("train", "dev")), ood.options]


def own_data(cell: Cell, ood: OODSplit | None) -> str:
    """The hash of `head_data` where it is not part of the cell's identity: of a kind-R split on a user's corpora, which
    may come after the cell is done and must not make another cell of it. Empty for every other split."""
    if ood is None or ood.kind != "R" or resolve("tasks.catalogue:embedded")(ood, cell.task.suite):
        return ""
    if ood.name not in cell.own_data:
        cell.own_data[ood.name] = identity_hash({"head": head_data(cell, ood)})
    return cell.own_data[ood.name]


def _suffix(cell: Cell, ood: OODSplit | None) -> str:
    """Of the files of a head in the cell's folder; other data of its own give another name."""
    own = own_data(cell, ood)
    return (f"-{ood.name}" if ood else "") + (f"-{own[:8]}" if own else "")


@contextmanager
def _phase(cells: Sequence[Cell], name: str) -> Iterator[None]:
    """Time spent for several cells at once, an equal part for each."""
    start = time.perf_counter()
    try:
        yield
    finally:
        for cell in cells:
            cell.watch.add(name, (time.perf_counter() - start) / len(cells))


def _train(cells: Sequence[Cell], ood: OODSplit | None) -> None:
    first, suffix = cells[0], _suffix(cells[0], ood)
    head = first.head_of(ood)
    dev = first.data.named("dev") if ood is None else first.data.split("dev", ood.dev)
    with _phase(cells, "features"):
        source = first.source(dev, "dev", None, reads_test(head))
    layer = None
    if first.upstream.view == "dev":
        layer = selection.best_layer(build_head(PROBE, {}, first.runtime.device), source, dev)
        source = LayerView(source, [layer])
    if not head.trainable:
        chosen = selection.of_untrained(head.dev({}, source, dev), first.task.metric, layer)
        selection.save(first.folder, suffix, {}, chosen)
        return
    together = _together(cells, ood)
    outcomes = _fit(cells, head, source, dev, layer, ood, together)
    for cell in cells:
        own = [outcome for outcome in outcomes if outcome.spec.seed == cell.seed]
        found = selection.load(cell.folder, suffix)  # then it was trained again for its checkpoints alone
        if found is None:
            found = selection.of_trials(own, first.task.metric, layer)
            selection.save(cell.folder, suffix, *found)
        if ood is None and s3prl_practice.lacks_states(cell):
            s3prl_practice.complete(cell, own, found[1], together)
    for left in first.folder.glob(f"training{suffix}-[0-9a-f]*.pt"):
        left.unlink()


def _keeps(cells: Sequence[Cell], ood: OODSplit | None) -> bool:
    return ood is None and cells[0].runtime.s3prl_practice


def _together(cells: Sequence[Cell], ood: OODSplit | None) -> str:
    """What tells a training from others: the cells, and whether all its heads are kept."""
    parts = [identity_hash(cell.identity) for cell in cells]
    if _keeps(cells, ood):
        parts.append(s3prl_practice.STATES)  # one that was begun without has lost its first heads
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _fit(
    cells: Sequence[Cell],
    head: Head,
    dev_source: Any,
    dev: SplitData,
    layer: int | None,
    ood: OODSplit | None,
    together: str,
) -> list[Outcome]:
    first, suffix = cells[0], _suffix(cells[0], ood)
    plan, lrs = first.preset.plan, first.preset.lrs
    if plan is None or not lrs:
        raise UserError(f"preset {first.preset_name} of head {first.head_name} wants `plan` and `lrs`")
    train = first.data.named("train") if ood is None else first.data.split("train", ood.train)
    with _phase(cells, "features"):
        source = first.source(train, "train", None if layer is None else [layer], head.reads)
    seeds = [cell.seed for cell in cells]
    specs = [TrialSpec(lr, seed) for seed in seeds for lr in lrs]
    learner = head.learner(source, train, specs)
    what = f"{first.task.task}{suffix}, {first.head_name}: {len(lrs)} learning rates x {len(seeds)} seeds"
    with _phase(cells, "training"):
        return fit(
            learner,
            specs,
            lambda step, micro: head.batch(source, train, step * plan.accumulate + micro),
            lambda k: head.dev(learner.state(k), dev_source, dev),
            plan,
            checkpoint=first.folder / f"training{suffix}-{together[:8]}.pt",
            identity=together + suffix,
            on_state=s3prl_practice.Keeper(cells, specs, together) if _keeps(cells, ood) else None,
            what=what,
        )
