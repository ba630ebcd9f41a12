"""The figure that s3prl's own practice gives for speaker verification, on request and beside ours.

s3prl's `sv_voxceleb1/test_expdir.sh` scores every saved checkpoint on the test trials and reports the smallest EER;
published SUPERB figures are made so. Here dev selects, and this figure is for comparison with those alone: it is never
ranked and enters no drop. The head of every evaluation is kept in the cell's folder while it trains, scored on the test
trials once dev's choice is frozen, and removed then.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from harness import metrics
from harness.cell_head import reads_test
from harness.config import Runtime, Task
from harness.contracts import Head, TrialSpec
from harness.errors import NotApplicable, UserError
from harness.evaluate import reference_table
from harness.progress import progress
from harness.results import BestCheckpoint, Selection, SplitResult, atomic_write
from harness.selection import Sealed
from harness.train import Outcome

if TYPE_CHECKING:
    from harness.cell import Cell

STATES = "states"
"""In a cell's folder: the heads of a finished training. `states-HASH` is of one under way."""
POINTS = "points.json"


def check(runtime: Runtime, task: Task, head: Head) -> None:
    """Raises NotApplicable where the figure is asked for and s3prl has none such."""
    if runtime.s3prl_practice and (task.kind != "verification" or not head.trainable):
        wanted = "--s3prl-practice wants a trained head of a verification task"
        raise NotApplicable(f"{wanted}, found head {head.name} of task {task.task} ({task.kind}); leave the flag out")


def lacks_states(cell: Cell) -> bool:
    """Is the figure wanted, and are there no checkpoints to take it from?"""
    return cell.lacks_practice() and not (cell.folder / STATES).is_dir()


class Keeper:
    """Keeps the head of every evaluation of a training, each in its own cell's folder: `fit`'s `on_state`."""

    def __init__(self, cells: Sequence[Cell], specs: Sequence[TrialSpec], together: str):
        self.specs = specs
        self.folders = {cell.seed: _under_way(cell, together) for cell in cells}

    def __call__(self, k: int, step: int, state: dict[str, Tensor]) -> None:
        spec = self.specs[k]
        atomic_write(self.folders[spec.seed] / _file(spec.lr, step), save_tensors(state))


def complete(cell: Cell, outcomes: Sequence[Outcome], chosen: Selection, together: str) -> None:
    """Make the heads of a training that is over ready to be scored, and remove those of any other. `outcomes` are the
    cell's own, `together` is what tells the training from others.

    Raises UserError where a head is missing, and where a training repeated for the figure diverged elsewhere."""
    found = {(one.spec.lr, step): score.metric for one in outcomes for step, score in one.curve}
    stored = {(trial.lr, point.step): point.metric for trial in chosen.trials for point in trial.curve}
    if found.keys() != stored.keys():
        lr, step = min(found.keys() ^ stored.keys())
        raise UserError(
            f"{cell.folder.name}, trained again, differs at learning rate {lr:g}, step {step}: it diverged in one of "
            "the two; run it with --s3prl-practice from the start, in another --out"
        )
    heads = _under_way(cell, together)
    if not all((heads / _file(*point)).is_file() for point in found):
        raise UserError(f"{cell.folder} lacks heads of its training; remove its training*.pt and run it again")
    apart = max(abs(found[point] - stored[point]) for point in found)
    atomic_write(heads / POINTS, json.dumps({"apart": apart, "points": sorted(found)}).encode())
    heads.rename(cell.folder / STATES)
    for left in cell.folder.glob(f"{STATES}-*"):
        shutil.rmtree(left, ignore_errors=True)


def add(cell: Cell, result: SplitResult, chosen: Selection, sealed: Sealed) -> SplitResult:
    """The in-domain test split with the figure. Dev's own checkpoint counts with the EER that `result` gives it, so the
    figure is never larger. Raises RuntimeError before dev's choice is frozen."""
    data = sealed.open("test")
    folder = cell.folder / STATES
    kept = json.loads((folder / POINTS).read_text())
    with cell.watch.phase("features"):
        layers = None if chosen.layer is None else [chosen.layer]
        source = cell.source(data, "test", layers, reads_test(cell.head))
    references = reference_table(data)
    tried: list[tuple[float, bool, int, float]] = []
    with cell.watch.phase("scoring"):
        for lr, step in progress(kept["points"], f"{cell.task.task}, checkpoints on test", len(kept["points"])):
            eer, another = result.metrics["eer"], (lr, step) != (chosen.lr, chosen.step)
            if another:
                rows = cell.head.predict(_load(folder / _file(lr, step)), source, data)
                eer = metrics.score("verification", {row["id"]: row for row in rows}, references)["eer"]
            tried.append((eer, another, step, lr))
    eer, _, step, lr = min(tried)
    best = BestCheckpoint(eer_best_checkpoint=eer, lr=lr, step=step, checkpoints=len(tried), dev_apart=kept["apart"])
    return result.model_copy(update={"as_s3prl": best})


def forget(folder: Path) -> None:
    """Remove the heads that a cell's folder still holds."""
    for left in (path for path in folder.glob(f"{STATES}*") if path.is_dir()):
        shutil.rmtree(left, ignore_errors=True)


def _under_way(cell: Cell, together: str) -> Path:
    folder: Path = cell.folder
    return folder / f"{STATES}-{together[:8]}"


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read; remove {path.parent} and run the cell again") from error


def _file(lr: float, step: int) -> str:
    return f"{lr!r}-{step}.safetensors"
