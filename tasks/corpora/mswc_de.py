"""MSWC in German: ten words that no head has met, for a new one to learn (kind R)."""

from __future__ import annotations

from dataclasses import replace

from tasks.corpora import mswc
from tasks.corpora.speech_commands import UNKNOWN

WORDS = "nein,oben,unten,links,rechts,halt,eins,zwei,drei,vier"

CORPUS = replace(
    mswc.CORPUS,
    name="mswc_de",
    title="MSWC, German",
    layout=mswc.CORPUS.layout.replace("<language>", "de"),
    labels={**{word: word for word in sorted(WORDS.split(","))}, "any other word": UNKNOWN},
    options={"language": "de", "words": WORDS},
    suits=("R",),
)
