"""CN-Celeb1: Chinese celebrities in eleven genres; verification across language and genre.

The official list pairs each of 196 enrolled voices with each of 17,777 test clips. Neither EER nor minDCF depends on
how many non-targets there are to a target, so all targets are kept and of the non-targets those that a hash draws: ten
a clip, or as many as the option `non_targets` says, `all` for the whole list. That the middle number of a
clip's name (id00800-interview-01-002) tells one sitting from another is read from the names; no page says so.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.contracts import Trial, Utterance
from harness.errors import UserError
from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus, Expected, Row
from tasks.corpora.tree import Tree

TRIALS, ENROLLED, TESTED = 3484292, 196, 17777
_TRIAL = re.compile(r"^(?:enroll/)?(id\d+)-enroll\S*\s+(?:test/)?(\S+?)(?:\.\w+)?\s+([01])\s*$", re.MULTILINE)
HELD_OUT = ("drama", "movie", "play", "recitation", "singing", "advertisement")
"""Genres that identification is tested on; it trains on the other five."""


def rows(tree: Tree) -> Iterator[Row]:
    for file, found in tree.matching(r"enroll/(id00[89]\d\d)-enroll"):
        yield Row(file, f"enroll-{found[1].lower()}", "enroll", f"cnceleb-{found[1].lower()}", channel="several")
    for file, found in tree.matching(r"test/((id00[89]\d\d)-([a-z_]+)-\d+-\d+)"):
        name, speaker, genre = (found[n].lower() for n in (1, 2, 3))
        yield Row(file, f"test-{name}", "test", f"cnceleb-{speaker}", channel=genre)
    by_speaker: dict[str, list[Row]] = defaultdict(list)
    for file, found in tree.matching(r"data/(id00[0-7]\d\d)/(([a-z_]+)-\d+-\d+)"):
        speaker, clip, genre = (found[n].lower() for n in (1, 2, 3))
        part = "sid_test" if genre in HELD_OUT else "sid_dev" if _draw(f"{speaker}|{clip}", 10) < 1 else "sid_train"
        row = Row(file, f"{speaker}-{clip}", f"dev {part}", f"cnceleb-{speaker}", channel=genre)
        by_speaker[speaker].append(row)
    for speaker_rows in by_speaker.values():
        parts = {row.split for row in speaker_rows}
        both = {"dev sid_train", "dev sid_test"} <= parts
        for row in speaker_rows:
            yield row if both else Row(row.file, row.id, "dev", row.speaker, channel=row.channel)


def _draw(name: str, of: int) -> int:
    """A number below `of`, always the same for one name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") % of


def sitting(u: Utterance) -> str:
    """A genre and the number that follows it; all of the joined enrolment is one."""
    return u.id.rpartition("-")[0]


def official(tree: Tree, utterances: Sequence[Utterance]) -> Iterator[Trial]:
    """Nothing, with a gap, where the list or one of its files is missing."""
    text = tree.wanted_text("verification cannot be tested; it is in the archive: eval/lists/trials.lst", "trials.lst")
    asked = tree.options.get("non_targets", "10")
    if asked != "all" and not asked.isdecimal():
        raise UserError(f"corpus cn_celeb: option non_targets: a number or all wanted, found {asked!r}")
    keep = ENROLLED if asked == "all" else int(asked)
    known = {u.id for u in utterances}
    lost, seen, found = set(), 0, []
    for line in _TRIAL.finditer(text or ""):
        enrol, test, target = f"enroll-{line[1]}", f"test-{line[2]}", line[3] == "1"
        seen += 1
        lost |= {name for name in (enrol, test) if name not in known}
        if target or _draw(f"{enrol}|{test}", ENROLLED) < keep:
            found.append((enrol, test, target))
    if text and seen != TRIALS:
        tree.gap(f"the trial list has {counted(seen, 'pair')}, {TRIALS:,} wanted")
    if lost:
        missing = f"{counted(len(lost), 'file')} of the trial list not there, first {min(lost)}"
        tree.gap(f"{missing}: no trials; finish the copy")
        return
    for number, (enrol, test, target) in enumerate(found):
        yield Trial(f"t{number:07d}", enrol, test, target)


_COUNTED = "196 and 17,777 as public recipes count the archive"
CORPUS = Corpus(
    name="cn_celeb",
    title="CN-Celeb1",
    page="https://www.openslr.org/82/ (cn-celeb_v2.tar.gz)",
    licence="CC-BY-SA-4.0, as others quote its page (not read there)",
    layout="CN-Celeb_flac/eval/{enroll/id00800-enroll.flac,test/id00800-singing-01-001.flac,lists/trials.lst} and "
    "CN-Celeb_flac/data/<speaker>/<genre>-01-001.flac",
    layout_checked="wespeaker examples/cnceleb/v2/local and kaldi egs/cnceleb/v1/local/make_cnceleb1.sh",
    splits={
        "enroll": "one joined recording of each enrolled speaker",
        "test": "test clips, 200 speakers",
        "dev": "clips of the 800 development speakers",
        "sid_train": "of those, for identification: interview, entertainment, speech, live broadcast and vlog",
        "sid_dev": "a tenth of the same genres",
        "sid_test": f"the genres {', '.join(HELD_OUT)}",
    },
    rows=rows,
    expected=[
        Expected("enroll", ENROLLED, speakers=ENROLLED, evidence=_COUNTED),
        Expected("test", TESTED, speakers=200, evidence=_COUNTED),
    ],
    archives=[
        Archive(r"cn-celeb_v2\.tar\.gz", "eval and data", r"(?:eval/(?:enroll|test)|data/id\d{5})/[^/]+",
                ("enroll", "test"), ENROLLED + TESTED)
    ],  # fmt: skip
    session=sitting,
    trials={"cn_celeb_e": official},
    options={"non_targets": "10"},
    language="zh",
    seen_by="no English self-supervised backbone names it; the Chinese ones and Whisper are unknown",
    suits=("Z", "R"),
)
