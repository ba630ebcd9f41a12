"""Speech Commands v0.02 with its test archive: the same twelve classes by more speakers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tasks.corpora.contract import Expected, Row
from tasks.corpora.speech_commands import of_version, rows_of
from tasks.corpora.tree import Tree


def rows(tree: Tree) -> Iterator[Row]:
    return rows_of(tree, "0.02")


CORPUS = replace(
    of_version("0.02", "speech_commands_v2"),
    rows=rows,
    expected=[Expected("test", 4890, evidence="the archive as TensorFlow Datasets counts it")],
)
