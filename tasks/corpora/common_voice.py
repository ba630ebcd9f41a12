"""Common Voice: sentences read by volunteers, any language.

Options: `language`, as Mozilla writes it (en, bn, zh-CN …); `accent`, a part of what speakers say of their accent
("India and South Asia"), or none; `splits`, which of train, dev and test to read: a whole train set takes long.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Row
from tasks.corpora.tree import File, Tree
from tasks.transcripts import DIGITS, split_of

PARTS = ("train", "dev", "test")


def rows(tree: Tree) -> Iterator[Row]:
    language, accent = tree.options["language"], tree.options["accent"].lower()
    wanted: dict[str, tuple[str, str, str]] = {}
    others = 0
    for part in tree.options["splits"].split():
        listing = _listing(tree, language, part)
        if listing is None:
            tree.gap(f"no {language}/{part}.tsv: no {part}; unpack the archive of {language} again")
            continue
        # sentences may hold a lone quotation mark: nothing is quoted in these files
        for line in csv.DictReader(tree.text(listing).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
            said = (line.get("accents") or line.get("accent") or "").lower()
            split = split_of(part, line["sentence"] or "")
            if accent not in said:
                others += 1
            elif split:
                name = line["path"].rpartition("/")[2].removesuffix(".mp3").lower()
                wanted[name] = split, f"cv-{line['client_id'][:32]}", line["sentence"].strip()
    for file, found in tree.matching(rf"(common_voice_{language}_\d+)"):
        if row := wanted.pop(found[1].lower(), None):
            split, speaker, text = row
            yield Row(file, found[1].lower(), split, speaker, text=text, language=language.partition("-")[0])
    if wanted:
        tree.gap(f"{counted(len(wanted), 'clip')} not there, first {min(wanted)}; finish the copy")
    if accent and others:
        tree.gap(f"{counted(others, 'clip')} without the accent asked for: left out", harmless=True)


def _listing(tree: Tree, language: str, part: str) -> File | None:
    """The list in the language's folder; where that has another name, the only such list there is, if it is of the
    language."""
    found = [file for file, _ in tree.matching(part, (".tsv",))]
    own = [file for file in found if f"/{file.path}".lower().endswith(f"/{language.lower()}/{part}.tsv")]
    if not own and len(found) == 1 and f"common_voice_{language}_" in tree.text(found[0]):
        return found[0]
    return own[0] if own else None


CORPUS = Corpus(
    name="common_voice",
    title="Common Voice",
    page="https://commonvoice.mozilla.org/datasets",
    licence="CC0-1.0",
    layout="cv-corpus-<release>/<language>/{train,dev,test}.tsv and clips/common_voice_<language>_<number>.mp3",
    layout_checked="lhotse 1.33 recipes/commonvoice.py and torchaudio 2.11 datasets/commonvoice.py",
    splits={
        **{part: f"its own {part} set" for part in PARTS},
        **{f"{part}{DIGITS}": f"those of {part} whose text has digits" for part in PARTS},
    },
    rows=rows,
    archives=[
        Archive(r"(?:cv-corpus-[\w.-]+-)?{language}\.tar\.gz", "clips and lists",
                r"{language}/clips/common_voice_{language}_\d+")
    ],  # fmt: skip
    options={"language": "en", "accent": "", "splits": "test"},
    language="",
    seen_by="XLS-R, MMS and other multilingual backbones train on it, and Whisper may; wav2vec 2.0, HuBERT and WavLM "
    "do not name it. Its three sets share no speakers; a sentence may be in several sets of the early releases",
    suits=("Z", "R", "C"),
)
