"""The command line that makes a cell again, as its result keeps it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from harness.paths import ROOT
from harness.results import SplitResult

if TYPE_CHECKING:
    from harness.cell import Cell


def command(cell: Cell, test: SplitResult) -> str:
    """To be run in the repository's root; `test` is the cell's in-domain split."""
    parts = ["python", "harness/run.py", "-u", cell.name.upstream, "-d", f"{cell.task.task}_ood"]
    parts += ["--suite", cell.name.suite, "--head", cell.head_name, "--preset", cell.preset_name]
    parts += ["--seed", str(cell.seed), "--recipe-seed", str(cell.recipe_seed)]
    for option, path in (("-k", cell.runtime.folder), ("--checkpoint", cell.runtime.checkpoint)):
        if path is not None:
            parts += [option, shown(path)]
    return shlex.join(parts + ["--s3prl-practice"] * (test.as_s3prl is not None))


def shown(path: Path) -> str:
    """A path by which another machine may have the file too: from the root where it lies in it, else from the user's
    home (~/…, as `run.py` reads it), else absolute."""
    whole = path.expanduser().absolute()
    for folder, prefix in ((ROOT, Path()), (Path.home(), Path("~"))):
        if whole.is_relative_to(folder):
            return str(prefix / whole.relative_to(folder))
    return str(whole)
