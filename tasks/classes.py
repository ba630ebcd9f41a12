"""What a classification task must have among its classes, told from the rows before anything is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.config import Rows, Task
from harness.contracts import SplitData
from harness.errors import UserError
from harness.progress import note
from harness.wording import counted
from tasks.csv_rows import few


def check(task: Task, data: Any, with_ood: bool) -> None:
    """Raises UserError where a head would be trained or chosen on fewer than two classes, and for a class of a split of
    kind Z that the in-domain test lacks, whose drop could not be told. Where the in-domain test lacks a class that is
    trained, a line says so: the score is of clips of the others. `data`: a `tasks.catalogue:Data`."""
    if task.kind != "classification":
        return
    for name in ("train", "dev"):
        _several(task, data, name, data.named(name), getattr(task, name).rows)
    trained, inside = _classes(data.named("train")), _classes(data.named("test"))
    if lost := trained - inside:
        scored = f"the score is of clips of the other {len(trained) - len(lost)}; {_mend(task, data)}"
        where = f"{len(lost)} of {len(trained)} classes ({few(lost)}) are not in the test ({_of(task.test.rows)})"
        note(f"{task.task}: {where}, so {scored}")
    if not with_ood:
        return
    for split in task.ood:
        if split.kind == "R" and split.train and split.dev:
            for name, part in (("train", split.train), ("dev", split.dev)):
                _several(task, data, f"{split.name} {name}", data.split(name, part), part.rows)
        elif split.kind == "Z" and (more := sorted(_classes(data.named(split.name)) - inside)):
            which = f"class {more[0]!r}" if len(more) == 1 else f"classes {', '.join(map(repr, more))}"
            raise UserError(
                f"task {task.task}: split {split.name} ({_of(split.rows)}) has {which}, which the in-domain test "
                f"({_of(task.test.rows)}) lacks; {_mend(task, data)}, or run `-d {task.task}`, without the OOD splits"
            )


def _several(task: Task, data: Any, name: str, split: SplitData, rows: Sequence[Rows]) -> None:
    found = _classes(split)
    if len(found) < 2:
        only = f"{min(found)!r} alone ({counted(len(split.utterances), 'row')})" if found else "no row"
        raise UserError(
            f"task {task.task}: two classes or more wanted in {name} ({_of(rows)}), found {only}; {_mend(task, data)}"
        )


def _classes(split: SplitData) -> set[str]:
    return set(split.references.values())


def _of(rows: Sequence[Rows]) -> str:
    return " and ".join(f"{one.corpus} {one.split or one.ids}" for one in rows)


def _mend(task: Task, data: Any) -> str:
    if (data.root / "data").is_dir():
        return "correct its rows"
    return f"complete it (`run.py validate --suite {task.suite} -d {task.task}` says what a corpus lacks)"
