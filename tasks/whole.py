"""How whole a user's corpora are: counts against what a complete copy holds, and on demand every byte.

    for state in states("superb"): print(state.name, state.verdict, state.lines)
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness import audio
from harness.config import Task
from harness.contracts import Utterance
from harness.errors import UserError
from harness.paths import corpora_file
from harness.progress import progress
from harness.registry import unknown
from harness.results import atomic_write
from harness.wording import counted
from tasks import catalogue
from tasks.corpora import registry
from tasks.corpora.contract import NOT_CHECKED, Corpus
from tasks.folders import Source, sources
from tasks.prepared import READERS, NothingFound, Prepared, prepare
from tasks.transcripts import DIGITS

Verdict = Literal["complete", "usable, with gaps", "missing"]
HOURS = 0.02
"""How far the hours may be from the published ones, which are rounded."""


STOPS = "would stop a run"


@dataclass
class State:
    """One corpus, as a user has it. `lines` say what is short or odd and what to do."""

    name: str
    tasks: list[str]
    verdict: Verdict
    lines: list[str] = field(default_factory=list)
    rows: int = 0
    speakers: int = 0
    hours: float = 0.0
    checksum: str = ""
    """Of the list of rows: the same for every complete copy, in any folder and lossless format."""
    stops: bool = False
    """A file was read that a run would stop at."""


def needed(suite: str) -> dict[str, list[str]]:
    """By corpus that a suite's tasks ask for and that is not embedded, those tasks; a task's OOD splits count for
    `<task>_ood`."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in catalogue.names(suite):
        if name.endswith(catalogue.OOD):
            continue
        task = catalogue.whole(name, suite)
        for rows, asked in _asked(task, name):
            if not (catalogue.HERE / suite / "data" / rows).is_dir():
                found[rows].add(asked)
    return {name: sorted(asked) for name, asked in sorted(found.items())}


def _asked(task: Task, name: str) -> list[tuple[str, str]]:
    own = [(rows.corpus, name) for part in (task.train, task.dev, task.test) for rows in part.rows]
    for split in task.ood:
        parts = [split.rows, *(part.rows for part in (split.train, split.dev) if part)]
        own += [(rows.corpus, name + catalogue.OOD) for part in parts for rows in part]
    return own


def states(suite: str, full: bool = False, of: Sequence[str] = (), corpora: Sequence[str] = ()) -> list[State]:
    """Every corpus that the suite asks for or the user's file names; those that the tasks `of` ask for and `corpora`
    alone, where some are given. `full` reads and hashes every file. Raises UserError for an unknown corpus."""
    tasks, known = needed(suite), sources()
    if of or corpora:
        every = sorted({*tasks, *known, *registry.names()})
        if strange := [name for name in corpora if name not in every]:
            raise unknown("corpus", strange[0], every)
        asked = {*of, *(name.removesuffix(catalogue.OOD) for name in of)}
        tasks = {name: by if name in corpora else [one for one in by if one in asked] for name, by in tasks.items()}
        every = [name for name in every if tasks.get(name) or name in corpora]
    else:
        every = [*tasks, *sorted(set(known) - set(tasks))]
    return [state(name, tasks.get(name, []), known.get(name), full) for name in every]


def state(name: str, tasks: list[str], source: Source | None, full: bool) -> State:
    if source is None:
        return State(name, tasks, "missing", [_where_to_put(name)])
    try:
        prepared = prepare(source)
        rows = prepared.rows
    except NothingFound as error:
        return State(name, tasks, "missing", error.lines)
    except UserError as error:
        return State(name, tasks, "missing", [str(error)])
    short = [] if source.corpus is None else [*prepared.packed, *_short(source.corpus, prepared)]
    if source.corpus is not None and not source.corpus.expected:
        # no counts say that what is missing was not wanted
        short += [gap for gap in prepared.gaps if gap not in prepared.harmless]
    read = read_all(prepared) if full else []
    short += read
    said = [*short, *(gap for gap in prepared.gaps if gap not in short), *_not_asked(source)]
    found = State(name, tasks, "usable, with gaps" if short else "complete", said)
    if source.corpus is not None and source.corpus.layout_checked == NOT_CHECKED:
        found.lines.append(f"its expected layout was {NOT_CHECKED}: a line here may be ours to mend")
    found.stops = any(line.startswith(STOPS) for line in read)
    found.rows, found.speakers = len(rows), len({u.speaker for u in rows} - {"", "-"})
    found.hours = sum(u.duration for u in rows) / 3600
    lines = "".join(f"{u.id}|{u.sha256}\n" for u in rows)
    found.checksum = hashlib.sha256(lines.encode()).hexdigest()[:12]
    return found


def _where_to_put(name: str) -> str:
    add = f"add `{name}: FOLDER` under `corpora:` in {corpora_file()}"
    if name not in registry.names():
        return f"{add}, with `corpus:` naming one of {', '.join(registry.names())}"
    corpus = registry.load(name)
    return f"get it from {corpus.page}; lay it out as {corpus.layout}; {add}"


def _short(corpus: Corpus, prepared: Prepared) -> list[str]:
    """What is less, or more, than a complete copy has."""
    none: dict[str, float] = {"rows": 0, "speakers": 0, "hours": 0.0}
    asked = prepared.source.options.get("splits", "").split() or corpus.splits
    absent = [split for split in asked if split not in prepared.counts and not split.endswith(DIGITS)]
    if not set(corpus.splits) & set(prepared.counts):  # the corpus names its splits itself
        absent = []
    lines = [f"nothing for {', '.join(absent)}{_from(corpus, absent)}"] if absent else []
    for split, wanted_classes in corpus.classes.items():
        lacking = sorted(wanted_classes - {u.label for u in prepared.rows if split in u.split.split()})
        if lacking and split in prepared.counts:
            which = f"class {lacking[0]}" if len(lacking) == 1 else f"{len(lacking)} classes, {', '.join(lacking)}"
            lines.append(f"{split}: no row of {which}; complete the copy")
    for wanted in corpus.expected:
        found = dict(prepared.counts.get(wanted.split, none))
        for key in ("rows", "hours"):
            found[key] += prepared.counts.get(wanted.also, none)[key]
        wrong = []
        if abs(found["rows"] - wanted.files) > wanted.tolerance * wanted.files:
            wrong.append(f"{counted(int(found['rows']), 'row')} of {wanted.files:,}")
        if wanted.speakers is not None and found["speakers"] != wanted.speakers:
            wrong.append(f"{counted(int(found['speakers']), 'speaker')} of {wanted.speakers:,}")
        if wanted.hours is not None and abs(found["hours"] - wanted.hours) > (HOURS + wanted.tolerance) * wanted.hours:
            wrong.append(f"{found['hours']:.1f} h of {wanted.hours:.1f}")
        if wrong and found["rows"]:
            lines.append(f"{wanted.split}: {', '.join(wrong)}")
    missing = [name for name in corpus.trials if not (prepared.folder / f"trials-{name}.csv.gz").is_file()]
    return lines + [f"trials {name}: none" for name in missing]


def _not_asked(source: Source) -> list[str]:
    """A line on the splits that an option of the corpus keeps from being read."""
    option = source.options.get("splits")
    if option is None or source.corpus is None:
        return []
    rest = [name for name in source.corpus.splits if name not in option.split() and not name.endswith(DIGITS)]
    return [f"{', '.join(rest)} not read, for the option is `splits: {option}`"] if rest else []


def _from(corpus: Corpus, splits: Sequence[str]) -> str:
    """Which archives hold these splits, and where to get them."""
    names = list(dict.fromkeys(archive for split in splits for archive in corpus.archives_of(split)))
    return f"; from {', '.join(names)} of {corpus.page}" if names else ""


def read_all(prepared: Prepared) -> list[str]:
    """Decode every file and hash its bytes. What a run would stop at is named, and so is a file whose content changed
    since the last such reading though its size and time did not. The hashes are kept beside the manifest."""
    files: dict[str, Utterance] = {}
    for u in prepared.rows:
        files.setdefault(u.member, u)
    with ThreadPoolExecutor(READERS) as pool:
        done = progress(pool.map(_read_one, files.values()), f"{prepared.source.name}, whole files", len(files))
        found = dict(zip(files, done, strict=True))
    bad = [error for _, error in found.values() if error]
    lines = [f"{STOPS}: {error}" for error in bad[:5]]
    if bad:
        lines.append(f"{counted(len(bad), 'such file')}: copy them again, or list the ids under `leave_out:`")
    if prepared.source.corpus is None:  # a manifest has hashes of its own, which reading compared
        return lines
    kept, root = prepared.folder / "sha256.csv", f"{prepared.source.root}/"
    now = {member.removeprefix(root): digest for member, (digest, _) in sorted(found.items())}
    before = _hashes(kept)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(now.items())
    atomic_write(kept, out.getvalue().encode("utf-8", "surrogateescape"))
    other = sorted(name for name, digest in now.items() if before.get(name, digest) != digest)
    return lines + ([f"content of {counted(len(other), 'file')} changed, first {other[0]}"] if other else [])


def _read_one(u: Utterance) -> tuple[str, str]:
    digest = hashlib.sha256()
    try:
        if u.archive is None:
            with Path(u.member).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        audio.read(u)
    except OSError as error:
        return "", f"{u.member} cannot be read ({error.strerror})"
    except UserError as error:
        return digest.hexdigest(), str(error)
    return digest.hexdigest(), ""


def _hashes(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            return {row[0]: row[1] for row in csv.reader(lines)}
    except (OSError, csv.Error, IndexError):
        return {}


def table(found: Sequence[State]) -> list[list[str]]:
    """A row a corpus, for the command line."""
    return [
        [s.name, s.verdict, f"{s.rows:,}" if s.rows else "", f"{s.speakers:,}" if s.rows else "",
         f"{s.hours:,.1f}" if s.rows else "", s.checksum, ", ".join(s.tasks)]
        for s in found
    ]  # fmt: skip
