"""The log of a training: one CSV row a figure, and the same to TensorBoard where it is installed and asked for.

    step,trial,lr,what,value

`what` is loss, rate, dev_metric, dev_loss or a name that the learner's `terms()` gives. Rows are written at each
evaluation, with the checkpoint; a resumed run first drops those after the update that it goes on from.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.results import atomic_write

HEADER = ["step", "trial", "lr", "what", "value"]


class TrainingLog:
    """Rows of one training; `path` None keeps nothing. Raises UserError for a file that is no such log."""

    def __init__(self, path: Path | None, start: int = 0, tensorboard: bool = False):
        self.path, self._rows = path, []  # type: Path | None, list[list[str]]
        if path is not None and path.exists() and start:
            self._rows = [row for row in self._read(path) if int(row[0]) <= start]
        self._board = _board(path) if tensorboard and path is not None else None

    def add(self, step: int, trial: int, lr: float, what: str, value: float) -> None:
        """`step` counts finished updates."""
        if self.path is None:
            return
        self._rows.append([str(step), str(trial), repr(lr), what, repr(value)])
        if self._board is not None:
            self._board.add_scalar(f"{what}/trial{trial}", value, step)

    def write(self) -> None:
        if self.path is None:
            return
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEADER, *self._rows])
        atomic_write(self.path, text.getvalue().encode())
        if self._board is not None:
            self._board.flush()

    @staticmethod
    def _read(path: Path) -> list[list[str]]:
        try:
            rows = list(csv.reader(path.read_text().splitlines()))
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); remove it to begin anew") from error
        if not rows or rows[0] != HEADER or not all(len(row) == len(HEADER) and row[0].isdigit() for row in rows[1:]):
            raise UserError(f"{path}: a log with columns {','.join(HEADER)} wanted; remove it to begin anew")
        return rows[1:]


def _board(path: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("--tensorboard wants the package tensorboard: pip install tensorboard") from error
    return SummaryWriter(str(path.with_suffix("")))
