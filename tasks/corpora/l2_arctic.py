"""L2-ARCTIC: 24 speakers of six first languages read the ARCTIC sentences in English."""

from __future__ import annotations

from collections.abc import Iterator

from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.librispeech import lexicon
from tasks.corpora.tree import Tree
from tasks.transcripts import DIGITS, PHONES, phones, split_of

FIRST = {
    "arabic": ("ABA", "SKA", "YBAA", "ZHAA"),
    "chinese": ("BWC", "LXC", "NCC", "TXHC"),
    "hindi": ("ASI", "RRBI", "SVBI", "TNI"),
    "korean": ("HJK", "HKK", "YDCK", "YKWK"),
    "spanish": ("EBVS", "ERMS", "MBMPS", "NJS"),
    "vietnamese": ("HQTV", "PNV", "THV", "TLV"),
}
FILES = {"arabic": 4365, "chinese": 4524, "hindi": 4524, "korean": 4524, "spanish": 4402, "vietnamese": 4528}
_LANGUAGE = {speaker: language for language, speakers in FIRST.items() for speaker in speakers}


def rows(tree: Tree) -> Iterator[Row]:
    """The spontaneous part (suitcase_corpus) is left out: no more than 26 minutes."""
    texts = {}
    for file, found in tree.matching(r"([A-Z]{3,5})/transcript/(arctic_[ab]\d{4})", (".txt",)):
        texts[found[1].upper(), found[2].lower()] = tree.text(file).strip()
    known = lexicon(tree)
    wordless = 0
    for file, found in tree.matching(r"([A-Z]{3,5})/wav/(arctic_[ab]\d{4})"):
        speaker, sentence = found[1].upper(), found[2].lower()
        text = texts.get((speaker, sentence), "")
        if speaker not in _LANGUAGE:
            continue
        split, spoken = split_of("read", text), phones(text, known)
        if not split:
            wordless += 1
            continue
        names = [split, _LANGUAGE[speaker]] if split == "read" else [split]
        names += [f"{name}{PHONES}" for name in names if spoken]
        yield Row(file, f"{speaker}-{sentence}", " ".join(names), f"l2arctic-{speaker}", text=text, phones=spoken)
    if wordless:
        tree.gap(f"{counted(wordless, 'file')} without a text in transcript/: left out; unpack the archive again")


_SHOWS = rf"({'|'.join(_LANGUAGE)})/wav/arctic_[ab]\d{{4}}"
_TABLE = "the corpus's own table of files, as lhotse 1.33 recipes/l2_arctic.py has it"
CORPUS = Corpus(
    name="l2_arctic",
    title="L2-ARCTIC",
    page="https://psi.engr.tamu.edu/l2-arctic-corpus/",
    licence="CC-BY-NC-4.0",
    layout="l2arctic_release_v5.0/<speaker>/{wav/arctic_a0001.wav,transcript/arctic_a0001.txt}, and for task pr a "
    "lexicon beside them (librispeech-lexicon.txt from openslr.org/11)",
    layout_checked="lhotse 1.33 recipes/l2_arctic.py",
    splits={
        "read": "all read sentences",
        f"read{DIGITS}": "those whose text has digits",
        **{language: f"of these, the speakers of {language.title()}" for language in FIRST},
        **{f"{name}{PHONES}": f"those of {name} whose every word the lexicon has" for name in ("read", *FIRST)},
    },
    rows=rows,
    expected=[
        Expected("read", sum(FILES.values()), speakers=24, evidence=_TABLE, also=f"read{DIGITS}"),
        # a language's split is without the sentences that have digits, of which nobody has said how many there are
        *(Expected(name, count, speakers=4, tolerance=0.01, evidence=_TABLE) for name, count in FILES.items()),
    ],
    archives=[
        Archive(r"l2arctic_release_v5\.0\.zip", "an archive a speaker", _SHOWS, ("read", f"read{DIGITS}"),
                sum(FILES.values())),
        Archive(rf"({'|'.join(_LANGUAGE)})\.zip", "a speaker each", _SHOWS),
    ],  # fmt: skip
    seen_by="no self-supervised backbone names it; the sentences are those of CMU ARCTIC, which speech synthesis "
    "trains on, out of books that LibriVox may hold too. All speakers read the same sentences",
    suits=("Z", "C"),
)
