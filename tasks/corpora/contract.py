"""What a corpus module gives: a description, and the rows that it finds in a list of a folder's files.

A module `tasks/corpora/<name>.py` holds one `CORPUS`. It never opens audio: it is handed a `Tree` of file names, says
by `Row` what each file is, and the engine (`tasks/prepared.py`) reads the headers, drops what cannot be read, counts,
and keeps the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.contracts import Trial, Utterance
from tasks.corpora.tree import File, Tree

NOT_CHECKED = "not checked against a public loader or the corpus's own page"


@dataclass(frozen=True, slots=True)
class Row:
    """One utterance, or with `every` several, before its audio was looked at."""

    file: File
    id: str
    """Unique in the corpus; letters, digits and `_ . -`. The same file in another place or format gives the same id:
    the second one is left out and counted."""
    split: str
    """One or several names of `Corpus.splits`, with spaces between them: a row may be in splits of several tasks."""
    speaker: str
    label: str = ""
    text: str = ""
    phones: str = ""
    """As `harness.metrics_sequences` reads them: `HH AH L OW | W ER L D`."""
    language: str = ""
    """Of this row, where the corpus has several; else `Corpus.language`."""
    channel: str = ""
    speaker_known: Literal["sure", "doubtful"] = "sure"
    start: float = 0.0
    """Seconds into the file."""
    seconds: float | None = None
    """Length of the cut; to the end of the file where None."""
    recording: str = ""
    """What the file is called in leak checks, where several rows are cut from one; else the row's id."""
    every: float | None = None
    """Cut the file into consecutive pieces of so many seconds, `<id>-0000` and on; a shorter rest is left out."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How much a complete copy holds under one split name (files, speakers, hours: what is known)."""

    split: str
    files: int
    """Rows, where one file is cut into several."""
    evidence: str
    """Where the figures are from."""
    speakers: int | None = None
    hours: float | None = None
    tolerance: float = 0.0
    """Relative, of files; hours may differ by 2 % more than that."""
    also: str = ""
    """A split whose rows count with this one's: those whose text has digits, say."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file that the corpus is downloaded as, so that `tasks/packed.py` knows one that nobody unpacked. Names and
    paths are met in any case; in a regular expression an option of the corpus may stand, as {language}."""

    name: str
    """A regular expression of its whole name."""
    gives: str
    """What is in it, in words."""
    shows: str
    """A regular expression over the end of the path, without suffix, of the audio in it, from the folder on that the
    corpus's layout begins with, or from its group `at` on: what comes before is how deep the archive packs it."""
    splits: tuple[str, ...] = ()
    """Splits that its rows are in, each row in one of them."""
    files: int | None = None
    """How many rows those are in a complete copy, where it is known; without `splits`, how many such files."""
    there: str = ""
    """As `shows`, of the files once unpacked, where the archive lacks a folder that the layout has."""
    into: str = ""
    """The folder that it is unpacked into where nothing of it is there yet."""
    parts: tuple[str, ...] = ()
    """Names of the pieces that it is downloaded as, in order."""
    instead: str = ""
    """What to do where unpacking it would not help."""


@dataclass(frozen=True)
class Corpus:
    """All that is known of a corpus. `rows` walks the names; everything else is said in words."""

    name: str
    title: str
    page: str
    """Where to get it."""
    licence: str
    layout: str
    """What lies where under the user's folder, as printed when something is missing."""
    layout_checked: str
    """The public loader or page that the layout was checked against, or NOT_CHECKED."""
    splits: Mapping[str, str]
    """By name, what each one is. The names are what a task's YAML asks for."""
    rows: Callable[[Tree], Iterable[Row]]
    seen_by: str
    """Whose training data its speakers or texts may be in (backbones, recipes)."""
    language: str = "en"
    """ISO 639-1; empty where each row says it."""
    expected: Sequence[Expected] = ()
    archives: Sequence[Archive] = ()
    """What it is downloaded as."""
    classes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By split, the labels that a complete copy has rows of there."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The corpus's own label to ours; a label that is absent is left out of the label splits."""
    norm_version: int = 1
    """Of what the module does to texts before `harness.text.normalise`, if anything."""
    version: int = 1
    """Raised with every change of what `rows` or `trials` give: manifests are then made again."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What a user may set beside the folder (a language, an accent), with defaults; `tree.options` has them."""
    trials: Mapping[str, Callable[[Tree, Sequence[Utterance]], Iterable[Trial]]] = field(default_factory=dict)
    """By name, verification trials over the corpus's rows: a task's YAML asks by `trials: <name>`."""
    session: Callable[[Utterance], str] | None = None
    """What recordings of one sitting have in common, where ids tell it: trials that are made pair two sessions."""
    suits: tuple[Literal["Z", "R", "C"], ...] = ("Z",)
    """Kinds of OOD split it can serve as."""

    def archives_of(self, split: str) -> list[str]:
        """Names of the archives that hold rows of a split; in words those that have several names."""
        of = [archive for archive in self.archives if split in archive.splits and not archive.instead]
        several = set("()[]|?*{")
        return [f"the archive ({one.gives})" if several & set(one.name) else one.name.replace("\\", "") for one in of]
