"""From a task's YAML to a `Task`: what a YAML may say beyond the fields of the model.

    folds: [fold1, fold2]       # a task a fold, `<name>_fold1` …; `{fold}` in every text becomes the fold's name
    presets_from: superb        # heads also have the preset `superb` of the task of the same name in that suite
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.config import Task, parse, read_yaml
from harness.errors import UserError
from harness.registry import NAME
from tasks.condition_ops import OPS


def folds(path: Path) -> list[str]:
    """The names of a YAML's folds, [] where it has none. Raises UserError for a bad file."""
    found = read_yaml(path).get("folds", [])
    if not isinstance(found, list) or not all(isinstance(fold, str) and NAME.match(fold) for fold in found):
        raise UserError(f"{path.name}: folds: a list of names wanted, found {found!r}")
    return found


def read_task(path: Path, fold: str | None = None) -> Task | None:
    """The task in a YAML, None where that is something else. Raises UserError for a bad one."""
    data = read_yaml(path)
    if "task" not in data:
        return None
    if fold is not None:
        data = _of_fold({key: value for key, value in data.items() if key != "folds"}, fold)
        data["task"] = f"{data['task']}_{fold}"
    if "presets_from" in data:
        data = _with_presets(data, path)
    task: Task = parse(Task, data, path.name)
    if task.kind == "frames":
        _keeps_time(task, path.name)
    return task


def _of_fold(value: Any, fold: str) -> Any:
    if isinstance(value, dict):
        return {key: _of_fold(one, fold) for key, one in value.items()}
    if isinstance(value, list):
        return [_of_fold(one, fold) for one in value]
    return value.replace("{fold}", fold) if isinstance(value, str) else value


def _with_presets(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a head lacks comes from the head of the same name in the other suite."""
    suite = data["presets_from"]
    if not isinstance(suite, str) or not NAME.match(suite):
        raise UserError(f"{path.name}: presets_from: the name of a suite wanted, found {suite!r}")
    theirs = read_yaml(path.parent.parent / suite / path.name).get("heads", {})
    heads = data.get("heads")
    if isinstance(heads, dict) and isinstance(theirs, dict):
        heads = {name: _joined(head, theirs.get(name), suite) for name, head in heads.items()}
    return {key: value for key, value in data.items() if key != "presets_from"} | {"heads": heads}


def _joined(head: Any, other: Any, suite: str) -> Any:
    """`head` with the preset named like the suite, where `other` has one and it has none."""
    if not isinstance(head, dict) or not isinstance(other, dict):
        return head
    own, more = head.get("presets"), other.get("presets")
    if not isinstance(own, dict) or not isinstance(more, dict) or suite not in more:
        return head
    return {**head, "presets": {suite: more[suite], **own}}


def _keeps_time(task: Task, where: str) -> None:
    """Raises UserError for a condition after which a phone is no longer where the manifest says it is."""
    for name, spec in (("front_end", task.front_end), *((split.name, split.condition) for split in task.ood)):
        for op in (str(entry.get("op")) for entry in spec):
            if op in OPS and not OPS[op].KEEPS_LENGTH:
                raise UserError(
                    f"{where}: {name}: ops that keep the length wanted, as kind frames is scored by time, found {op}; "
                    "leave it out"
                )
