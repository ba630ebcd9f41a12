"""RAVDESS: 24 actors speak two sentences in eight emotions, North American English."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

LABELS = {"01": "neu", "03": "hap", "04": "sad", "05": "ang"}
TEXTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}


def rows(tree: Tree) -> Iterator[Row]:
    """A file's name says it all: modality, speech or song, emotion, intensity, sentence, repetition, actor. Whoever has
    the songs or the videos' sound beside them has other names there, which are no rows."""
    for file, found in tree.matching(r"03-01-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)"):
        emotion, *_, sentence, repetition, actor = found.groups()
        name, label = f"03-01-{emotion}-{found[2]}-{sentence}-{repetition}-{actor}", LABELS.get(emotion, "")
        split = "speech labelled" if label else "speech"
        yield Row(file, name, split, f"ravdess-{actor}", label, TEXTS.get(sentence, ""))


_PAGE = "the corpus's page: 60 clips by each of 24 actors"
CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS",
    page="https://zenodo.org/record/1188976 (Audio_Speech_Actors_01-24.zip)",
    licence="CC-BY-NC-SA-4.0",
    layout="Actor_{01..24}/03-01-<emotion>-<intensity>-<sentence>-<repetition>-<actor>.wav",
    layout_checked="names and counts: zenodo.org/record/1188976 and huggingface.co/datasets/narad/ravdess",
    splits={
        "speech": "all spoken clips",
        "labelled": "the four classes of `er`: calm, fear, disgust, surprise left out",
    },
    rows=rows,
    expected=[
        Expected("speech", 1440, speakers=24, evidence=_PAGE),
        Expected("labelled", 672, speakers=24, evidence=f"{_PAGE}; 96 neutral, 192 of each other emotion"),
    ],
    archives=[
        Archive(r"Audio_Speech_Actors_01-24\.zip", "all spoken clips", r"Actor_\d\d/03-01-(?:\d\d-){4}\d\d",
                ("speech",), 1440)
    ],  # fmt: skip
    labels=LABELS,
    seen_by="no self-supervised backbone names it; some emotion models train on it. Every actor says the same two "
    "sentences, so texts are shared between all speakers",
)
