"""Common Voice in Bengali, all three sets: a recognition head is trained on it anew (kind R).

The texts keep their letters and the vowel signs and conjuncts on them (`harness.text.normalise`, NFKC). Sentences with
Bengali digits are in splits of their own, as numbers are read in more than one way.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.corpora import common_voice

CORPUS = replace(
    common_voice.CORPUS,
    name="common_voice_bn",
    title="Common Voice, Bengali",
    layout=common_voice.CORPUS.layout.replace("<language>", "bn"),
    options={"language": "bn", "accent": "", "splits": "train dev test"},
    language="bn",
    suits=("R",),
)
