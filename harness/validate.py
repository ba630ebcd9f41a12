"""`run.py validate`: are the user's corpora there, and whole?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from harness.paths import corpora_file
from harness.registry import resolve

HEADERS = ["corpus", "state", "rows", "speakers", "hours", "list", "asked for by"]


def report(
    suite: str, full: bool = False, tasks: Sequence[str] = (), corpora: Sequence[str] = ()
) -> tuple[str, bool]:
    """The table and, below it, what each corpus lacks and what to do, of those that the tasks ask for and those named,
    else of all; whether none is missing that an in-domain task wants or that is named, nor has a file that a run would
    stop at (`full`). Raises UserError for an unknown suite, task or corpus and for a bad file of folders."""
    found: list[Any] = resolve("tasks.whole:states")(suite, full, tasks, corpora)
    if not found:
        of = f"of suite {suite}" if not tasks else ", ".join(tasks)
        return f"{of}: no corpus of yours is needed, and {corpora_file()} names none", True
    text = tabulate(resolve("tasks.whole:table")(found), headers=HEADERS, tablefmt="simple", disable_numparse=True,
                    colalign=("left", "left", "right", "right", "right", "left", "left"),
                    maxcolwidths=[None, None, None, None, None, None, 40])  # fmt: skip
    for state in found:
        if state.lines:
            text += f"\n\n{state.name}: {state.verdict}" + "".join(f"\n  - {line}" for line in state.lines)
    inside = [state for state in found if not all(name.endswith("_ood") for name in state.tasks)]
    wanted = [*inside, *(state for state in found if state.name in corpora)]
    return text, all(state.verdict != "missing" and not state.stops for state in wanted)
