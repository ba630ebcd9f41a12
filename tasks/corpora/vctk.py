"""VCTK 0.92: 110 readers of English in many accents, two microphones at once in one room.

TensorFlow Datasets reads every file of a microphone, as this module does, and its catalogue counts them: p280 and p315
have none by microphone 2, which is the 582 files between the two counts, and p315 has no texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from harness.contracts import Trial, Utterance
from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree
from tasks.transcripts import DIGITS, split_of
from tasks.trial_making import balanced

MIC1, MIC2 = 44_455, 43_873
"""Files by each microphone."""
SHARED = 24
"""Sentences that everyone reads: the elicitation paragraph and the rainbow passage; from 25 on newspapers."""
SHORTEST = 3.0
"""Seconds of speech wanted on either side of a trial."""


def rows(tree: Tree) -> Iterator[Row]:
    texts = {found[2].lower(): file for file, found in tree.matching(r"([ps]\d+)/(\1_\d{3})", (".txt",))}
    wordless, old = 0, False
    for file, found in tree.matching(r"([ps]\d+)/(\1_(\d{3}))(?:_mic([12]))?"):
        speaker, name, number = found[1].lower(), found[2].lower(), int(found[3])
        old = old or not found[4]
        mic = f"mic{found[4] or 1}"
        text = tree.text(texts[name]).strip() if name in texts else ""
        wordless += not text
        splits = [mic, split_of("words", text) if mic == "mic1" else ""]
        if mic == "mic2":
            splits.append("sid_test" if number <= SHARED else "")
        elif number > SHARED:
            splits.append("sid_dev" if hashlib.sha256(name.encode()).digest()[0] < 26 else "sid_train")
        split = " ".join(filter(None, splits))
        yield Row(file, f"{name}_{mic}", split, f"vctk-{speaker}", text=text, channel=f"vctk-{mic}")
    if old:
        tree.gap("version 0.80, with one microphone: no sid_test and no trials; get 0.92")
    if wordless > 2 * 200:  # p315 has no texts in the release
        tree.gap(f"{counted(wordless, 'file')} without a text in txt/: not in `words`; unpack the archive again")


def _genders(tree: Tree) -> dict[str, str]:
    text = tree.wanted_text("trials are not kept to one gender; it is in the archive", "speaker-info.txt") or ""
    fields = [line.split() for line in text.splitlines()[1:]]
    return {f"vctk-{one[0].lower() if one[0][0].isalpha() else 'p' + one[0]}": one[2] for one in fields if len(one) > 2}


def across_microphones(tree: Tree, utterances: Sequence[Utterance]) -> Iterator[Trial]:
    """One side by each microphone, other sentences, both sides of one gender, as many targets as non-targets for each
    speaker; p280 and p315, who have one microphone, are in non-targets of others alone. All of a speaker is one session
    in one room: these are easy trials."""
    yield from balanced(utterances, gender=_genders(tree), shortest=SHORTEST, across=True)


_CATALOGUE = "the catalogue of TensorFlow Datasets (vctk 1.0.0)"
CORPUS = Corpus(
    name="vctk",
    title="VCTK 0.92",
    page="https://datashare.ed.ac.uk/handle/10283/3443",
    licence="CC-BY-4.0",
    layout="VCTK-Corpus-0.92/wav48_silence_trimmed/<speaker>/<speaker>_<sentence>_mic{1,2}.flac, "
    "txt/<speaker>/<speaker>_<sentence>.txt and speaker-info.txt",
    layout_checked="torchaudio 2.11 datasets/vctk.py, lhotse 1.33 recipes/vctk.py, TensorFlow Datasets audio/vctk.py",
    splits={
        "mic1": "all recordings of microphone 1",
        "mic2": "all recordings of microphone 2",
        "words": "of microphone 1, those with a text",
        f"words{DIGITS}": "of microphone 1, those whose text has digits",
        "sid_train": "identification: newspaper sentences by microphone 1",
        "sid_dev": "a tenth of these",
        "sid_test": "the sentences that everyone reads, by microphone 2",
    },
    rows=rows,
    expected=[
        Expected("mic1", MIC1, speakers=110, evidence=_CATALOGUE),
        Expected("mic2", MIC2, speakers=108, evidence=f"{_CATALOGUE}; without p280 and p315"),
    ],
    archives=[
        Archive(r"VCTK-Corpus-0\.92\.zip|DS_10283_3443\.zip", "both microphones, texts and speaker-info.txt",
                r"wav48_silence_trimmed/[ps]\d+/[ps]\d+_\d+_mic[12]", ("mic1", "mic2"), MIC1 + MIC2)
    ],  # fmt: skip
    trials={"vctk_mics": across_microphones},
    version=2,
    seen_by="trains many synthesisers and voice converters, whose speech ASVspoof and others hold; no self-supervised "
    "backbone names it. Its first 24 sentences are the same for all speakers",
    suits=("Z", "R"),
)
