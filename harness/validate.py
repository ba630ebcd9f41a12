"""`run.py validate`: are the user's corpora there, and whole?"""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from harness.paths import corpora_file
from harness.registry import resolve

HEADERS = ["corpus", "state", "rows", "speakers", "hours", "list", "asked for by"]


def report(suite: str, full: bool = False) -> tuple[str, bool]:
    """The table and, below it, what each corpus lacks and what to do; whether none is missing that an in-domain task
    wants. Raises UserError for an unknown suite or a bad file of folders."""
    found: list[Any] = resolve("tasks.whole:states")(suite, full)
    if not found:
        return f"suite {suite} needs no corpus of yours, and {corpora_file()} names none", True
    text = tabulate(resolve("tasks.whole:table")(found), headers=HEADERS, tablefmt="simple", disable_numparse=True,
                    colalign=("left", "left", "right", "right", "right", "left", "left"),
                    maxcolwidths=[None, None, None, None, None, None, 40])  # fmt: skip
    for state in found:
        if state.lines:
            text += f"\n\n{state.name}: {state.verdict}" + "".join(f"\n  - {line}" for line in state.lines)
    wanted = [state for state in found if not all(name.endswith("_ood") for name in state.tasks)]
    return text, all(state.verdict != "missing" for state in wanted)
