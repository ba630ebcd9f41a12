"""Speech Commands v0.02 with its test archive: the same twelve classes by more speakers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tasks.corpora.contract import Expected, Row
from tasks.corpora.speech_commands import archives, of_version, rows_of
from tasks.corpora.tree import Tree

TRAIN, DEV = 84_843, 9_981
_COUNTED = "the card of huggingface.co/datasets/google/speech_commands, less its six background noises"


def rows(tree: Tree) -> Iterator[Row]:
    return rows_of(tree, "0.02")


CORPUS = replace(
    of_version("0.02", "speech_commands_v2"),
    rows=rows,
    archives=archives("0.02", TRAIN + DEV, 4890),
    expected=[
        Expected("train_words", TRAIN, evidence=_COUNTED),
        Expected("dev_words", DEV, evidence=_COUNTED),
        Expected("test", 4890, evidence=_COUNTED),
    ],
)
