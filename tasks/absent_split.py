"""What to do where a corpus of the user's has no rows of a split that a task asks for."""

from __future__ import annotations

from harness.config import Rows
from harness.paths import corpora_file
from tasks.prepared import prepared

SHOWN = 2
"""Gaps that are said to explain it."""


def remedy(wanted: Rows) -> str:
    """The end of an error's line: from what a split is made, or why it is not read."""
    found, split = prepared(wanted.corpus), str(wanted.split)
    corpus, options = found.source.corpus, found.source.options
    if corpus is None:
        return f"; write it into the column `split` of {found.source.root}, or correct the task's YAML"
    if "splits" in options and split not in options["splits"].split() and split in corpus.splits:
        wider = f"{{splits: {options['splits']} {split}}}"
        return f"; option `splits: {options['splits']}` reads no other: write `options: {wider}` in {corpora_file()}"
    why = [*found.packed, *(gap for gap in found.gaps if gap not in found.harmless)][:SHOWN]
    if not found.packed and (names := corpus.archives_of(split)):
        why.append(f"get {', '.join(names)} from {corpus.page}")
    return f"; {'; '.join(why) or 'complete the copy, of which `run.py validate` says what it lacks'}"
