"""The column for comparison with published figures: the EER of the checkpoint that is best on test, as s3prl has it.

It is shown where a row has it and enters no rank, difference or drop. Published predictions are those of the checkpoint
that dev picked, so it cannot be computed again; what it must agree with is checked.
"""

from __future__ import annotations

import math

from harness.errors import UserError
from harness.metrics import metric_named
from harness.results import RunResult

COLUMN = "eer_best_checkpoint"
HEADING = "EER, best checkpoint on test (s3prl's practice)"
NOTE = (
    "The smallest test EER over all checkpoints and learning rates of the training, as s3prl's own recipe and so the "
    "published SUPERB figures have it; for comparison with those alone. It is not ours, because test trials picked it: "
    "it enters no rank, difference or drop."
)


def check(result: RunResult, name: str, where: str) -> None:
    """Raises UserError where the figure of a split cannot be: not under a trained head of verification in-domain, above
    the test EER (dev's own checkpoint is among those tried), or of another training than the selection is from."""
    split = result.splits[name]
    best = split.as_s3prl
    if best is None:
        return
    if split.kind != "ID" or metric_named(result.metric).kind != "verification" or result.selection.lr is None:
        raise UserError(f"{where}: as_s3prl is for the in-domain split under a trained head of verification; remove it")
    value, eer = best.eer_best_checkpoint, split.metrics["eer"]
    if value > eer + 1e-9:
        raise UserError(f"{where}: {COLUMN} of at most the test EER, {eer}, wanted, found {value}; run the cell again")
    tried = {(trial.lr, point.step) for trial in result.selection.trials for point in trial.curve}
    at = (best.lr, best.step)
    if best.checkpoints != len(tried) or at not in tried:
        raise UserError(
            f"{where}: {COLUMN} over the {len(tried)} checkpoints of the training wanted, found one over "
            f"{best.checkpoints} at learning rate {best.lr:g}, step {best.step}; run the cell again"
        )
    if at == (result.selection.lr, result.selection.step) and not math.isclose(value, eer, rel_tol=1e-9, abs_tol=1e-9):
        raise UserError(f"{where}: {COLUMN} at dev's own choice, so {eer}, wanted, found {value}; run the cell again")


def told(result: RunResult, name: str) -> list[str]:
    """What a finished run says of the figure below its table; nothing without one."""
    best = result.splits[name].as_s3prl
    if best is None:
        return []
    line = (
        f"{HEADING}: {best.eer_best_checkpoint:.2f}, the smallest of {best.checkpoints} (learning rate {best.lr:g}, "
        f"step {best.step}); for comparison with published figures, not ours: test trials picked it"
    )
    if best.dev_apart:
        line += f"; trained again for it, which moved dev by up to {best.dev_apart:.2f}"
    return [line]
