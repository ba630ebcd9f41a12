"""EmoDB (Berlin Database of Emotional Speech): ten actors speak ten German sentences in seven emotions.

The 535 utterances are those that listeners knew in 80 % of cases. A second edition by audEERING adds 281 that they did
not: it has 816, and `validate` says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

LABELS = {"N": "neu", "F": "hap", "T": "sad", "W": "ang"}
"""Neutral, Freude, Trauer, Wut."""
TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def rows(tree: Tree) -> Iterator[Row]:
    """03a01Fa: speaker 03, sentence a01, Freude, version a."""
    for file, found in tree.matching(r"(0[389]|1[0-6])([ab]\d\d)([WLEAFTN])([a-z])"):
        speaker, sentence, emotion = found[1], found[2].lower(), found[3].upper()
        label = LABELS.get(emotion, "")
        name = f"{speaker}{sentence}{emotion}{found[4].lower()}"
        split = "all labelled" if label else "all"
        yield Row(file, name, split, f"emodb-{speaker}", label, TEXTS.get(sentence, ""))


_CLASSES = "127 angry, 71 happy, 62 sad and 79 neutral of the 535, as papers count them (not checked)"
_SOURCE = "the description of the database: ten speakers, and 535 of some 800 sentences; 816 is the second edition"
CORPUS = Corpus(
    name="emodb",
    title="EmoDB",
    page="http://emodb.bilderbar.info/download/download.zip",
    licence="free for research; its page says more (the licence was not checked)",
    layout="wav/03a01Fa.wav …",
    layout_checked="github.com/DagsHub/audio-datasets EMODB/README.md, a copy of the description (names, speakers, "
    "sentences, emotions)",
    splits={"all": "all clips", "labelled": "the four classes of `er`: boredom, disgust, fear left out"},
    rows=rows,
    expected=[
        Expected("all", 535, speakers=10, evidence=_SOURCE),
        Expected("labelled", 339, speakers=10, evidence=_CLASSES),
    ],
    archives=[
        Archive(r"download\.zip", "wav/ and the labels", r"(?:0[389]|1[0-6])[ab]\d\d[WLEAFTN][a-z]", ("all",), 535)
    ],
    labels=LABELS,
    language="de",
    seen_by="no self-supervised backbone names it; some emotion models train on it. The ten sentences are shared "
    "between all speakers",
)
