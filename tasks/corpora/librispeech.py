"""LibriSpeech: read books; recognition of letters and phones trains on train-clean-100."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts import Utterance
from harness.metrics_sequences import BETWEEN_WORDS
from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

LEXICONS = ("librispeech-lexicon-200k-g2p.txt", "librispeech-lexicon-allothers-g2p.txt", "librispeech-lexicon.txt")
"""s3prl's two (huggingface.co/datasets/s3prl/g2p, folder lexicon), or else OpenSLR's (openslr.org/11)."""
SPLITS = {
    "train-clean-100": (28539, 251, 100.6),
    "dev-clean": (2703, 40, 5.4),
    "dev-other": (2864, 33, 5.3),
    "test-clean": (2620, 40, 5.4),
    "test-other": (2939, 33, 5.1),
}
"""Utterances, speakers, hours."""
PHONES = "-phones"


def rows(tree: Tree) -> Iterator[Row]:
    texts = _transcripts(tree)
    known = lexicon(tree)
    wordless, silent, phoneless, unknown = list[str](), list[str](), 0, ""
    for file, found in tree.matching(rf"({'|'.join(SPLITS)})/(\d+)/(\d+)/(\2-\3-\d+)"):
        split, text = found[1].lower(), texts.get(found[4], "")
        missing = next((word for word in text.split() if word not in known), "")
        if not text:
            (silent if found[4] in texts else wordless).append(file.path)
            continue
        phones = "" if missing else f" {BETWEEN_WORDS} ".join(known[word] for word in text.split())
        if known and missing:
            phoneless, unknown = phoneless + 1, unknown or missing
        yield Row(
            file,
            id=found[4],
            split=f"{split} {split}{PHONES}" if phones else split,
            speaker=f"ls-{found[2]}",
            text=text,
            phones=phones,
        )
    for lost, what in ((wordless, "without a line"), (silent, "without a text in its line")):
        if lost:
            files = f"{counted(len(lost), 'file')} {what} in a .trans.txt"
            tree.gap(f"{files}, first {lost[0]}: left out; unpack the archive again")
    if phoneless:
        tree.gap(f"{counted(phoneless, 'utterance')} with a word the lexicon lacks, first {unknown}: not in {PHONES}")


def chapter(u: Utterance) -> str:
    """A book's chapter is read in one sitting, mostly."""
    return u.id.rpartition("-")[0]


def _transcripts(tree: Tree) -> dict[str, str]:
    """By id; of two, that of the list nearest the root, the first in it."""
    texts: dict[str, str] = {}
    other: dict[str, str] = {}
    for file, _ in tree.matching(r"\d+-\d+\.trans", (".txt",)):
        for line in tree.text(file).splitlines():
            name, _, text = line.partition(" ")
            if texts.setdefault(name, text.strip()) != text.strip():
                other.setdefault(name, file.path)
    if other:
        name, path = next(iter(other.items()))
        tree.gap(f"{counted(len(other), 'id')} with two texts, first {name} in {path}: the first text is used; "
                 "correct the .trans.txt")  # fmt: skip
    return texts


def lexicon(tree: Tree) -> dict[str, str]:
    """The first pronunciation of each word, the files in s3prl's order; empty, with a gap, where there is none."""
    words: dict[str, str] = {}
    files = [file for name in LEXICONS if (file := tree.named(name))]
    if not files:
        first = tree.wanted_text("phone recognition (task pr) cannot run; get it from openslr.org/11", *LEXICONS[::-1])
        texts = [first] if first else []
    else:
        texts = [tree.text(file) for file in files]
    for text in texts:
        for line in text.splitlines():
            word, *phones = line.split()[:1] + line.split()[1:] or [""]
            if word and phones:
                words.setdefault(word.upper(), " ".join(phones))
    return words


CORPUS = Corpus(
    name="librispeech",
    title="LibriSpeech",
    page="https://www.openslr.org/12",
    licence="CC-BY-4.0",
    layout="LibriSpeech/{train-clean-100,dev-clean,test-clean,dev-other,test-other}/<speaker>/<chapter>/*.flac with "
    "*.trans.txt, and for task pr a lexicon beside them (librispeech-lexicon.txt from openslr.org/11)",
    layout_checked="s3prl 0.4.18 dataio/corpus/librispeech.py, downstream/ctc/data.py and dataio/encoder/g2p.py",
    splits={
        **dict.fromkeys(SPLITS, "as published"),
        **{f"{name}{PHONES}": f"those of {name} whose every word the lexicon has" for name in SPLITS},
    },
    rows=rows,
    expected=[
        Expected(
            name,
            files,
            speakers=speakers,
            hours=hours,
            evidence="speakers and hours: Panayotov et al. 2015, table 1; utterances: counted by public loaders",
        )
        for name, (files, speakers, hours) in SPLITS.items()
    ],
    seen_by="wav2vec 2.0, HuBERT, WavLM and most self-supervised backbones train on its 960 h of train sets, not on "
    "dev and test; LibriTTS is cut from the same readings, so what is post-trained on LibriTTS test-clean has seen the "
    "speakers and texts of test-clean",
    archives=[
        Archive(rf"{name}\.tar\.gz", name, rf"{name}/\d+/\d+/[\d-]+", (name,), files)
        for name, (files, *_) in SPLITS.items()
    ],
    session=chapter,
)
