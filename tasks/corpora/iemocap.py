"""IEMOCAP: ten actors in five sessions of two; SUPERB's four classes, a fold a session.

Fold k tests session k. SUPERB draws dev at random from the other four, a fifth of them, in an order that its copy of
the folder decided; here the hash of fold and id decides, so that it is the same everywhere. Dev shares its speakers
with train, as SUPERB's does.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

LABELS = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
TESTS = {1: 1085, 2: 1023, 3: 1151, 4: 1031, 5: 1241}
"""Rows of each session."""


def rows(tree: Tree) -> Iterator[Row]:
    labels: dict[str, str] = {}
    texts = {}
    for file, _ in tree.matching(r"EmoEvaluation/Ses0[1-5][MF]_\w+", (".txt",)):
        for line in tree.text(file).splitlines():
            fields = line.split("\t")
            if line.startswith("[") and len(fields) > 2:
                labels[fields[1].strip()] = LABELS.get(fields[2].strip(), "")
    for file, _ in tree.matching(r"transcriptions/Ses0[1-5][MF]_\w+", (".txt",)):
        for line in tree.text(file).splitlines():
            if found := re.match(r"(Ses\w+) \[[^]]*\]: *(.*)", line):
                texts[found[1]] = found[2].strip()
    if not labels:
        tree.gap("no dialog/EmoEvaluation/*.txt: nothing is labelled; unpack them from the archive")
    labelled = {name[:5] for name in labels}
    seen, bare = set(), Counter[str]()
    for file, found in tree.matching(r"sentences/wav/(Ses0([1-5])[MF]_\w+)/(\1_([MF])\w\d+)"):
        seen.add(found[3])
        if labels and (session_name := f"Ses0{found[2]}") not in labelled:
            bare[session_name] += 1
        if label := labels.get(found[3], ""):
            session, speaker = int(found[2]), f"iemocap-{found[2]}{found[4].upper()}"
            yield Row(file, found[3], folds(found[3], session), speaker, label, texts.get(found[3], ""))
    for name, turns in sorted(bare.items()):
        where = f"Session{name[-1]}/dialog/EmoEvaluation"
        tree.gap(f"no {where}/*.txt: its {counted(turns, 'turn')} have no label, so fold{name[-1]} has no test and the "
                 "others train on less; unpack them from the archive")  # fmt: skip
    lost = sorted(name for name, label in labels.items() if label and name not in seen)
    if lost:
        tree.gap(f"{len(lost):,} labelled turns without a sentence file, first {lost[0]}; finish the copy")


def folds(name: str, session: int) -> str:
    """'all fold1_test fold2_train fold3_dev …'"""
    found = ["all"]
    for fold in TESTS:
        draw = int(hashlib.sha256(f"{fold}|{name}".encode()).hexdigest()[:8], 16) / 2**32
        found.append(f"fold{fold}_{'test' if fold == session else 'dev' if draw < 0.2 else 'train'}")
    return " ".join(found)


CORPUS = Corpus(
    name="iemocap",
    title="IEMOCAP",
    page="https://sail.usc.edu/iemocap/iemocap_release.htm",
    licence="USC SAIL licence, on request",
    layout="IEMOCAP_full_release/Session{1..5}/sentences/wav/<dialogue>/<turn>.wav and "
    "Session{1..5}/dialog/{EmoEvaluation,transcriptions}/<dialogue>.txt",
    layout_checked="s3prl 0.4.18 downstream/emotion/IEMOCAP_preprocess.py and dataio/corpus/iemocap.py",
    splits={
        "all": "the four classes, excited as happy",
        **{f"fold{k}_{part}": f"{part} of fold {k}" for k in TESTS for part in ("train", "dev", "test")},
    },
    rows=rows,
    expected=[
        Expected("all", 5531, speakers=10, evidence="s3prl's metadata"),
        *(Expected(f"fold{k}_test", n, speakers=2, evidence="s3prl's metadata") for k, n in TESTS.items()),
    ],
    archives=[
        Archive(r"iemocap_full_release(_withoutvideos)?\.(tar\.gz|tgz|tar|zip)", "all five sessions",
                r"Session[1-5]/sentences/wav/Ses0[1-5][MF]_\w+/\w+", ("all",), 5531)
    ],
    session=lambda u: u.id.rpartition("_")[0],
    classes=dict.fromkeys(("all", *(f"fold{k}_test" for k in TESTS)), frozenset(LABELS.values())),
    labels=LABELS,
    seen_by="a VIB emotion stage trained on a random split of it; no self-supervised backbone names it",
)
