"""VoxCeleb1-E and -H: all of VoxCeleb1 as a test. Its speakers are those of VoxCeleb1 dev, so a head trained there, as
SUPERB's is, is refused; it is for what was trained on other speakers (VoxCeleb2 dev) and for heads without training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from harness.contracts import Trial, Utterance
from tasks.corpora import voxceleb1
from tasks.corpora.contract import Corpus, Expected, Row
from tasks.corpora.tree import Tree

LISTS = {"voxceleb1_e": ("list_test_all2.txt", 579_818), "voxceleb1_h": ("list_test_hard2.txt", 550_894)}
"""The cleaned lists, and how many pairs they have."""


def rows(tree: Tree) -> Iterator[Row]:
    for row in voxceleb1.utterances(tree, {}):
        yield replace(row, split="all")


def _reader(name: str) -> Callable[[Tree, Sequence[Utterance]], Iterator[Trial]]:
    file, count = LISTS[name]

    def read(tree: Tree, utterances: Sequence[Utterance]) -> Iterator[Trial]:
        what = f"trials {name} cannot be made; put it into the folder, from {voxceleb1.LISTS_PAGE}/{file}"
        yield from voxceleb1.listed(tree, utterances, tree.wanted_text(what, file), count, "the other list")

    return read


CORPUS = Corpus(
    name="voxceleb1_eh",
    title="VoxCeleb1-E and -H",
    page=voxceleb1.CORPUS.page,
    licence=voxceleb1.CORPUS.licence,
    layout=f"as voxceleb1, with {' and '.join(file for file, _ in LISTS.values())} in the folder",
    layout_checked=voxceleb1.CORPUS.layout_checked,
    splits={"all": "every clip of all 1,251 speakers"},
    rows=rows,
    expected=[Expected("all", 153_516, speakers=1251, evidence="counts of the corpus's page")],
    archives=[replace(one, splits=(), files=None) for one in voxceleb1.ARCHIVES],
    session=voxceleb1.CORPUS.session,
    trials={name: _reader(name) for name in LISTS},
    language="",
    seen_by=voxceleb1.CORPUS.seen_by,
)
