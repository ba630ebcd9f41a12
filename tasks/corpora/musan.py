"""MUSAN (Snyder, Chen & Povey 2015): noise, music and speech to be added to speech.

Two sources make its noise; the smaller is a split of its own that conditions keep for testing alone. Others read the
folders by lhotse 1.33 recipes/musan.py, which takes every wav of music, noise and speech, and the names by kaldi's
recipes: noise/free-sound/noise-free-sound-0053.wav, speech/us-gov/speech-us-gov-0220.wav.
"""

from __future__ import annotations

from collections.abc import Iterator

from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree
from tasks.noises import TEST_ONLY_SPLIT

COUNTED = "public counts of the archive: 660 music, 426 speech and 930 noise files, 843 of these of Free Sound"


def rows(tree: Tree) -> Iterator[Row]:
    for file, found in tree.matching(r"(music|noise|speech)/[^/]+/(\1-[a-z0-9-]+-\d{4})"):
        kind, name = found[1].lower(), found[2].lower()
        yield Row(file, id=name, split=TEST_ONLY_SPLIT if name.startswith("noise-sound-bible-") else kind, speaker="-")


CORPUS = Corpus(
    name="musan",
    title="MUSAN",
    page="https://www.openslr.org/17/",
    licence="CC-BY-4.0 as a whole; each file's own in the LICENSE files beside it",
    layout="musan/{music,noise,speech}/<source>/<kind>-<source>-0000.wav …",
    layout_checked="lhotse 1.33 recipes/musan.py (folders) and names in public recipes; counts: lhotse 1.33 "
    "recipes/rir_noise.py (Free Sound) and public counts of the archive",
    splits={
        "noise": "noises of Free Sound",
        TEST_ONLY_SPLIT: "noises of Sound Bible, for testing alone",
        "music": "music, with and without singing",
        "speech": "read speech of LibriVox and speech of US government hearings",
    },
    rows=rows,
    seen_by="its speech is partly LibriVox, as LibriSpeech is; models trained with added noise have often met it",
    language="",
    expected=[
        Expected("noise", files=843, evidence=COUNTED),
        Expected(TEST_ONLY_SPLIT, files=87, evidence=COUNTED),
        Expected("music", files=660, evidence=COUNTED),
        Expected("speech", files=426, evidence=COUNTED),
    ],
    archives=[
        Archive(r"musan\.tar\.gz", "music, noise and speech", r"(?:music|noise|speech)/[^/]+/[a-z]+-[a-z-]+-\d{4}",
                ("noise", TEST_ONLY_SPLIT, "music", "speech"), 843 + 87 + 660 + 426)
    ],  # fmt: skip
    suits=("C",),
)
