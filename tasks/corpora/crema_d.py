"""CREMA-D: 91 actors speak twelve sentences in six emotions, American English."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.corpora.contract import Corpus, Expected, Row
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
        if file.size < POINTER:
            pointers += 1
        elif name != SILENT:
            label = LABELS.get(found[3].upper(), "")
            split = "all labelled" if label else "all"
            yield Row(file, name, split, f"crema-d-{found[1]}", label, TEXTS.get(sentence, ""))
    if pointers:
        tree.gap(f"{pointers:,} files are Git LFS pointers and no audio; run `git lfs pull` in the clone")


CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    page="https://github.com/CheyneyComputerScience/CREMA-D (folder AudioWAV; the clone needs Git LFS)",
    licence="ODbL-1.0 (database), DbCL-1.0 (its contents)",
    layout="AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav, 1001_DFA_ANG_XX.wav … (or AudioMP3/*.mp3)",
    layout_checked="TensorFlow Datasets audio/crema_d.py (file names, labels) and the repository's README (sentences)",
    splits={"all": "all clips but the silent one", "labelled": "the four classes of `er`: disgust, fear left out"},
    rows=rows,
    expected=[
        Expected("all", 7441, speakers=91, evidence="the repository's README: 7,442 clips, of which one is silent"),
        Expected("labelled", 4899, speakers=91, evidence="1,271 a class, 1,087 neutral; a sad clip is silent"),
    ],
    labels=LABELS,
    seen_by="no self-supervised backbone names it; some emotion models train on it. The twelve sentences are shared "
    "between all speakers. The label is what the actor was asked for, not what listeners heard",
)
