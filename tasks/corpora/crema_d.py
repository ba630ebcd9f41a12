"""CREMA-D: 91 actors speak twelve sentences in six emotions, American English.

Public recipes leave out two files: 1076_MTI_SAD_XX, which holds no sound, and 1064_IEO_DIS_MD, a minute of every
emotion, which is called disgust and so in no labelled split. Some have found 1076_MTI_NEU_XX and 1064_TIE_SAD_XX nearly
empty: `validate --full` names what would stop a run.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

LABELS = {"NEU": "neu", "HAP": "hap", "SAD": "sad", "ANG": "ang"}
TEXTS = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
SILENT = "1076_MTI_SAD_XX"
"""Holds no sound, as the corpus's page says."""
POINTER = 200
"""Bytes: a Git LFS pointer is smaller, a clip is not."""


def rows(tree: Tree) -> Iterator[Row]:
    pointers = 0
    for file, found in tree.matching(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_([A-Z]{1,2})"):
        name, sentence = found[0].rpartition("/")[2].upper(), found[2].upper()
        if file.size < POINTER and "git-lfs" in tree.text(file):
            pointers += 1
        elif name != SILENT:
            label = LABELS.get(found[3].upper(), "")
            split = "all labelled" if label else "all"
            yield Row(file, name, split, f"crema-d-{found[1]}", label, TEXTS.get(sentence, ""))
    if pointers:
        tree.gap(f"{counted(pointers, 'Git LFS pointer')} and no audio; run `git lfs pull` in the clone")


CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    page="https://github.com/CheyneyComputerScience/CREMA-D (folder AudioWAV; the clone needs Git LFS)",
    licence="ODbL-1.0 (database), DbCL-1.0 (its contents)",
    layout="AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav, 1001_DFA_ANG_XX.wav … (or AudioMP3/*.mp3)",
    layout_checked="TensorFlow Datasets audio/crema_d.py (file names, labels) and the repository's page and "
    "docs/README.md (counts, sentences, licence)",
    splits={"all": "all clips but the silent one", "labelled": "the four classes of `er`: disgust, fear left out"},
    rows=rows,
    expected=[
        Expected("all", 7441, speakers=91, evidence="the repository's page: 7,442 clips, of which one is silent"),
        Expected("labelled", 4899, speakers=91,
                 evidence="1,271 a class, 1,087 neutral, as papers count them; a sad clip is silent"),
    ],  # fmt: skip
    archives=[
        Archive(r"CREMA-D-(master|main)\.zip", "pointers of Git LFS", r"AudioWAV/\d{4}_[A-Z]{3}_[A-Z]{3}_[A-Z]{1,2}",
                ("all",), 7441, instead="no audio is in it; clone the repository with Git LFS installed")
    ],  # fmt: skip
    labels=LABELS,
    seen_by="no self-supervised backbone names it; some emotion models train on it. The twelve sentences are shared "
    "between all speakers. The label is what the actor was asked for, not what listeners heard",
)
