"""MSWC (Multilingual Spoken Words Corpus): words cut from Common Voice by forced alignment, fifty languages.

The classes are SUPERB's ten words and `_unknown_` out of all others; nothing in it is silence, and its makers' code
takes words of three letters and more, so `no`, `up`, `on` and `go` may be missing. A language has far more
clips than a test needs: of each class the CLIPS whose names hash lowest are taken, so the choice does not change with
how much of the corpus is there otherwise. Options: `language` (en, de, fr …) and `words`, the ten classes in that
language, with commas between (ja,nein,links …): the labels are then these words.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from harness.errors import UserError
from tasks.corpora.contract import Archive, Corpus, Row
from tasks.corpora.speech_commands import UNKNOWN, WORDS
from tasks.corpora.tree import File, Tree

CLIPS = {"train": 1000, "dev": 100, "test": 300}
"""Of a class."""
CANDIDATES = 30_000
"""Of a class, lowest hashes first: a tenth of them is test, ten times what is wanted, and memory stays small."""


def rows(tree: Tree) -> Iterator[Row]:
    language = tree.options["language"]
    classes = {word.strip() for word in tree.options["words"].split(",")}
    near: dict[str, list[tuple[int, int, str, File]]] = defaultdict(list)
    clips = tree.matching(rf"([^/]+?)[/_](common_voice_{language}_\d+(?:__\d+)?)")
    for number, (file, found) in enumerate(clips):
        word = found[1].lower()
        name = f"{word}/{found[2].lower()}"
        place = -int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        kept = near[word if word in classes else UNKNOWN]
        # a heap whose first is the highest hash of those kept
        change = heapq.heappush if len(kept) < CANDIDATES else heapq.heappushpop
        change(kept, (place, -number, name, file))
    listed = _listed(tree, language, {name for kept in near.values() for _, _, name, _ in kept})
    tested = set()
    for label, kept in sorted(near.items()):
        taken: Counter[str] = Counter()
        chosen: set[str] = set()
        for _, _, name, file in sorted(kept, reverse=True):
            part, speaker = listed.get(name, ("", ""))
            if part and (name in chosen or taken[part] < CLIPS[part]):
                taken[part] += name not in chosen
                chosen.add(name)
                # a word may have any letters: its hash stands for it
                word, clip = name.split("/")
                id = f"{clip}-{hashlib.sha256(word.encode()).hexdigest()[:8]}"
                yield Row(file, id, part, speaker, label, language=language.partition("-")[0])
        tested |= {label} if taken["test"] else set()
    if lost := sorted(classes - tested):
        missing = f"no test clips of {', '.join(lost)}: those classes are not tested"
        tree.gap(f"{missing}; unpack these folders if they are there")


def _listed(tree: Tree, language: str, names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Part and speaker of those of the names that are valid clips."""
    whole = tree.named(f"{language}_splits.csv")
    parts = {part: tree.named(f"{language}_{part}.csv", f"{part}.csv") for part in CLIPS}
    found: dict[str, tuple[str, str]] = {}
    for part, file in ({"": whole} if whole else parts).items():
        for line in _lines(tree, file) if file else ():
            clip, own = line["LINK"].lower().removesuffix(".opus"), part or line["SET"].lower()
            if clip in names and own in CLIPS and line["VALID"].strip().lower() == "true":
                speaker = line["SPEAKER"].strip()
                found[clip] = own, "-" if speaker.lower() in ("", "nan") else f"cv-{speaker[:32]}"
    if not whole and not any(parts.values()):
        tree.gap(f"no {language}_splits.csv: who is in test is not known; it is the second archive of the language")
    return found


def _lines(tree: Tree, file: File) -> Iterator[dict[str, str]]:
    """Line by line: English has seven million."""
    path = tree.root / file.path
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
            yield from csv.DictReader(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); restore it") from None


CORPUS = Corpus(
    name="mswc",
    title="MSWC",
    page="https://mlcommons.org/datasets/multilingual-spoken-words/ (audio and splits of a language)",
    licence="CC-BY-4.0",
    layout="<language>/clips/<word>/common_voice_<language>_<number>.opus and <language>_splits.csv (or "
    "<language>_{train,dev,test}.csv); the folders of the ten words and of some hundred others are enough",
    layout_checked="public loaders of the lists (SET,LINK,WORD,VALID,SPEAKER,GENDER) and descriptions of the archives; "
    "the mirror huggingface.co/datasets/MLCommons/ml_spoken_words for flat names",
    splits={
        part: f"of its own {part} set, up to {count} clips of each of the ten words and of all others together"
        for part, count in CLIPS.items()
    },
    rows=rows,
    archives=[
        Archive(r"{language}\.tar\.gz", "audio", r"{language}/clips/[^/]+/common_voice_{language}_\d+(?:__\d+)?"),
        Archive(r"{language}\.tar\.gz", "lists", r"{language}_(?:splits|train|dev|test)", files=1),
    ],
    labels={**{word: word for word in sorted(WORDS)}, "any other word": UNKNOWN},
    options={"language": "en", "words": ",".join(sorted(WORDS))},
    language="",
    seen_by="it is cut from Common Voice, which XLS-R, Whisper and multilingual backbones train on; English ones of "
    "SUPERB do not name it",
    suits=("Z", "R", "C"),
)
