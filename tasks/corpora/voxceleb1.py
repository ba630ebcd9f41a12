"""VoxCeleb1: celebrities in interviews; identification (1,251 speakers) and verification (40 unseen test speakers).

For verification SUPERB trains on all 1,211 speakers of dev and selects on test. Here 40 of the 1,211, fixed by the hash
of their name, are set apart, and 20,000 trials among them select: both sides of one gender, targets from two videos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from harness.contracts import Trial, Utterance
from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree
from tasks.trial_making import balanced

PARTS = {"1": "iden_train", "2": "iden_dev", "3": "iden_test"}
TEST_SPEAKERS = frozenset(f"id{n}" for n in range(10270, 10310))
_DEV = [f"id{n}" for n in range(10001, 11252) if not 10270 <= n < 10310]
DEV_SPEAKERS = frozenset(sorted(_DEV, key=lambda name: hashlib.sha256(f"dev|{name}".encode()).hexdigest())[:40])
TRIALS = 37720
DEV_TRIALS_A_SPEAKER = 250
"""Targets, and as many non-targets."""
LISTS = ("voxceleb1_test_v2.txt", "veri_test.txt")
LISTS_PAGE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta"


def rows(tree: Tree) -> Iterator[Row]:
    listed = tree.wanted_text(
        f"identification (task sid) cannot run; put it into the folder, from {LISTS_PAGE}/iden_split.txt",
        "iden_split.txt",
        "veri_test_class.txt",
    )
    parts = {}
    for line in (listed or "").splitlines():
        part, _, path = line.strip().partition(" ")
        if part in PARTS:
            parts[_id(path)] = PARTS[part]
    found_ids = set()
    for row in utterances(tree, parts):
        found_ids.add(row.id)
        yield row
    if lost := sorted(set(parts) - found_ids):
        tree.gap(f"{counted(len(lost), 'file')} of the identification list not there, first {lost[0]}; finish the copy")


def utterances(tree: Tree, parts: Mapping[str, str]) -> Iterator[Row]:
    """Every clip, in its verification split and in that of `parts`, by id, if any."""
    for file, found in tree.matching(r"(id1\d{4})/([\w-]{11})/(\d{5})"):
        speaker = found[1].lower()
        name = f"{speaker}-{found[2]}-{found[3]}"
        own = "test" if speaker in TEST_SPEAKERS else "dev" if speaker in DEV_SPEAKERS else "train"
        yield Row(file, name, f"{own} {parts[name]}" if name in parts else own, speaker)


def _id(path: str) -> str:
    return "-".join(path.strip().rsplit(".", 1)[0].split("/")[-3:])


def _genders(tree: Tree) -> dict[str, str]:
    what = "trials carry no gender and those of dev are not kept to one"
    text = tree.wanted_text(f"{what}; from {LISTS_PAGE}/vox1_meta.csv", "vox1_meta.csv") or ""
    found = [line.replace(",", "\t").split("\t") for line in text.splitlines()]
    return {fields[0].strip(): fields[2].strip().lower() for fields in found if len(fields) > 2}


def _trial(number: int, enrol: str, test: str, target: bool, genders: dict[str, str]) -> Trial:
    a, b = (genders.get(name.split("-", 1)[0], "") for name in (enrol, test))
    return Trial(f"t{number:05d}", enrol, test, target, {"gender": a == b} if a and b else {})


def original(tree: Tree, utterances: Sequence[Utterance]) -> Iterator[Trial]:
    """VoxCeleb1-O as its list says; nothing, with a gap, where the list or one of its files is missing."""
    text = tree.wanted_text(
        f"verification (task asv) cannot be tested; put it into the folder, from {LISTS_PAGE}/veri_test.txt", *LISTS
    )
    yield from listed(tree, utterances, text, TRIALS, "37,611: the cleaned list")


def listed(
    tree: Tree, utterances: Sequence[Utterance], text: str | None, count: int, otherwise: str
) -> Iterator[Trial]:
    """The trials of a list in VoxCeleb's format; nothing, with a gap, where one of its files is missing. `otherwise`:
    what a list of another length than `count` may be."""
    pairs = [line.split() for line in (text or "").splitlines() if line.strip()]
    if pairs and len(pairs) != count:
        tree.gap(f"the trial list has {counted(len(pairs), 'pair')}, {count:,} wanted ({otherwise})")
    known = {u.id for u in utterances}
    lost = sorted({name for _, *two in pairs for name in map(_id, two)} - known)
    if lost:
        tree.gap(f"{counted(len(lost), 'file')} of the trial list not there, first {lost[0]}: no test; finish the copy")
        return
    genders = _genders(tree)
    seen = set()
    for target, *two in pairs:
        enrol, test = map(_id, two)
        if (enrol, test) not in seen:
            seen.add((enrol, test))
            yield _trial(len(seen) - 1, enrol, test, target == "1", genders)


def dev(tree: Tree, utterances: Sequence[Utterance]) -> Iterator[Trial]:
    """Targets from two videos of one speaker, non-targets of two speakers of one gender, as many of each, drawn with a
    fixed seed."""
    rows = [u for u in utterances if "dev" in u.split.split()]
    yield from balanced(rows, session=lambda u: _video(u.id), gender=_genders(tree), a_speaker=DEV_TRIALS_A_SPEAKER)


def _video(name: str) -> str:
    return name[:-6]


_OF_TEST, _OF_DEV = r"id10(?:2[7-9]|30)\d", r"id1(?!0(?:2[7-9]|30)\d/)\d{4}"
ARCHIVES = (
    Archive(r"vox1_dev_wav\.zip", "1,211 speakers", rf"{_OF_DEV}/[\w-]{{11}}/\d{{5}}", ("train", "dev"), 148_642,
            into="dev", parts=tuple(f"vox1_dev_wav_part{end}" for end in ("aa", "ab", "ac", "ad"))),
    Archive(r"vox1_test_wav\.zip", "the 40 test speakers", rf"{_OF_TEST}/[\w-]{{11}}/\d{{5}}", ("test",), 4_874,
            into="test"),
)  # fmt: skip
_PAGE = "counts of the corpus's page"
CORPUS = Corpus(
    name="voxceleb1",
    title="VoxCeleb1",
    page="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
    licence="CC-BY-4.0 (annotations; the videos are their owners')",
    layout="VoxCeleb1/{dev,test}/wav/id1XXXX/<video>/<number>.wav with iden_split.txt, veri_test.txt (or s3prl's names "
    "veri_test_class.txt, voxceleb1_test_v2.txt) and vox1_meta.csv; names like A.J._Buckley are the first release: "
    "get the present one",
    layout_checked="s3prl 0.4.18 downstream/voxceleb1, downstream/sv_voxceleb1 and dataio/corpus/voxceleb1sv.py",
    splits={
        "train": "verification: dev speakers but for 40",
        "dev": "verification: those 40, to select on",
        "test": "verification: the 40 speakers of VoxCeleb1-O",
        "iden_train": "identification, part 1 of the list",
        "iden_dev": "identification, part 2",
        "iden_test": "identification, part 3",
    },
    rows=rows,
    expected=[
        Expected("test", 4874, speakers=40, evidence=_PAGE),
        Expected("iden_train", 138361, speakers=1251, evidence="s3prl's log and list"),
        Expected("iden_dev", 6904, speakers=1251, evidence="s3prl's log and list"),
        Expected("iden_test", 8251, speakers=1251, evidence="s3prl's log and list"),
    ],
    archives=ARCHIVES,
    session=lambda u: _video(u.id),
    trials={"voxceleb1_o": original, "voxceleb1_dev": dev},
    version=2,
    language="",
    seen_by="no self-supervised backbone names it among its data; Whisper is unknown; what is post-trained on "
    "VoxCeleb1 dev has seen the speakers of all splits but `test`, and VoxCeleb1-E and -H are made of them",
)
