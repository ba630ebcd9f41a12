"""Speech Commands v0.01 with its test archive: ten words, other words, silence.

Train and dev are those of SUPERB: SHA-1 of the speaker's code, below 10 % dev, from 10 to 20 % nothing, else train; the
test set is the archive's folders. Silence is cut from the background noises, a second each: SUPERB draws it anew from
the same six recordings in train and dev, here one recording is dev's alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace

from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

WORDS = frozenset({"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"})
UNKNOWN, SILENCE = "_unknown_", "_silence_"
DEV_NOISE = "running_tap"
_LARGEST = 2**27 - 1


def part(code: str) -> str:
    """'train', 'dev' or '' of a speaker's code, after TensorFlow's `which_set`."""
    percent = (int(hashlib.sha1(code.encode()).hexdigest(), 16) % (_LARGEST + 1)) * (100.0 / _LARGEST)
    return "dev" if percent < 10 else "" if percent < 20 else "train"


def rows_of(tree: Tree, version: str) -> Iterator[Row]:
    other = {"0.01": "0.02", "0.02": "0.01"}[version]
    tested = noises = False
    for file, found in tree.matching(r"(\w+)/([^/]+)"):
        folder, stem = found[1].lower(), found[2]
        whole = f"{tree.root.name}/{file.path}".lower()
        if f"v{other}" in whole.rpartition("/")[0]:
            continue
        code = re.search(r"([0-9a-f]{8})_nohash_\d+", stem)
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", stem)
        if "test_set" in whole:
            tested = True
            label = folder if folder in WORDS | {SILENCE} else UNKNOWN
            speaker = f"gsc-{code[1]}" if code else "-"
            yield Row(file, f"test-{folder}-{safe}", "test", speaker, label)
        elif folder == "_background_noise_":
            noises = True
            own = "dev" if stem.lower() == DEV_NOISE else "train"
            yield Row(file, f"noise-{safe}", own, "-", SILENCE, recording=f"noise-{safe}", every=1.0)
        elif code and (own := part(code[1])):
            label = folder if folder in WORDS else UNKNOWN
            yield Row(file, f"{folder}-{safe}", f"{own} {own}_words", f"gsc-{code[1]}", label)
    if not tested:
        tree.gap(f"no folder speech_commands_test_set_v{version}: no test; unpack its archive into {tree.root}")
    if not noises:
        tree.gap("no folder _background_noise_: no silence to train on; unpack the archive again")


def rows(tree: Tree) -> Iterator[Row]:
    return rows_of(tree, "0.01")


def archives(version: str, rows: int | None, tested: int) -> list[Archive]:
    """Neither packs a folder of its own. `rows` of the speakers that SUPERB trains and selects on."""
    top, test = f"speech_commands_v{version}", f"speech_commands_test_set_v{version}"
    dotted = version.replace(".", r"\.")
    word, clip = r"[a-z_]+/", r"[0-9a-f]{8}_nohash_\d+"
    return [
        Archive(rf"speech_commands_v{dotted}\.tar\.gz", "words and background noises", word + clip,
                ("train_words", "dev_words"), rows, rf"speech_commands_v{dotted}/(?P<at>{word}{clip})", top),
        Archive(rf"speech_commands_test_set_v{dotted}\.tar\.gz", "the test set", rf"{word}[^/]+", ("test",), tested,
                rf"speech_commands_test_set_v{dotted}/(?P<at>{word}[^/]+)", test),
    ]  # fmt: skip


_TF = "TensorFlow's split of the release; test: the archive as Hugging Face's superb/ks counts it"
CORPUS = Corpus(
    name="speech_commands",
    title="Speech Commands v0.01",
    page="http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz and speech_commands_test_set_v0.01.tar.gz",
    licence="CC-BY-4.0",
    layout="one folder with speech_commands_v0.01/{<word>,_background_noise_}/*.wav and "
    "speech_commands_test_set_v0.01/{<word>,_unknown_,_silence_}/*.wav",
    layout_checked="s3prl 0.4.18 downstream/speech_commands and dataio/corpus/speech_commands.py",
    splits={
        "train": "words and silence to train on",
        "dev": "words and silence to select on",
        "train_words": "train without silence",
        "dev_words": "dev without silence",
        "test": "the test archive",
    },
    rows=rows,
    expected=[
        Expected("train_words", 51088, evidence=_TF),
        Expected("dev_words", 6798, evidence=_TF),
        Expected("test", 3081, evidence=_TF),
    ],
    archives=archives("0.01", 51088 + 6798, 3081),
    classes=dict.fromkeys(("train", "dev", "test"), WORDS | {UNKNOWN, SILENCE}),
    labels={**{word: word for word in sorted(WORDS)}, "any other word": UNKNOWN, "_background_noise_": SILENCE},
    seen_by="no self-supervised backbone names it; Whisper is unknown",
)


def of_version(version: str, name: str) -> Corpus:
    return replace(
        CORPUS,
        name=name,
        title=f"Speech Commands v{version}",
        page=CORPUS.page.replace("0.01", version),
        layout=CORPUS.layout.replace("0.01", version),
    )
