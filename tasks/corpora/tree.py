"""The files under a folder by name, size and time of change, and ways of finding some among them.

People's copies have a level more or less, other case, flac where wav is published, links, archives never unpacked. So
modules ask by patterns over the end of a path and not by fixed places.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness.errors import UserError
from harness.wording import counted

AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aiff")
"""What libsndfile reads, and so a row may name."""
UNREAD = (".m4a", ".aac", ".mp4", ".wma")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".rar", ".7z")
UNFINISHED = (".part", ".partial", ".crdownload", ".aria2", ".download", ".tmp", ".filepart")
_PAGE = re.compile(r"\s*<(!doctype\s+html|html|head)\b", re.IGNORECASE)
_SKIPPED = frozenset({"__MACOSX", "lost+found", "@eaDir"})


@dataclass(frozen=True, slots=True)
class File:
    """`path` is relative to the tree's root, with `/`; `size` in bytes, `mtime` in nanoseconds."""

    path: str
    size: int
    mtime: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def suffix(self) -> str:
        dot = self.name.rpartition(".")
        return f".{dot[2].lower()}" if dot[1] else ""


@dataclass
class Tree:
    """Files in order of depth, then name: of two that stand for the same, the one nearer the root is met first."""

    root: Path
    files: list[File]
    options: Mapping[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    """What is missing or odd, a line each, filled while rows are made."""

    harmless: list[str] = field(default_factory=list)
    """Those of `gaps` that take nothing away."""

    beside: set[str] = field(default_factory=set)
    """Files outside the folder that were looked for."""

    def gap(self, line: str, *, harmless: bool = False, first: bool = False) -> None:
        """`first`: it explains those that were said before."""
        if line not in self.gaps:
            self.gaps.insert(0 if first else len(self.gaps), line)
            self.harmless += [line] if harmless else []

    def matching(self, pattern: str, suffixes: Sequence[str] = AUDIO) -> Iterator[tuple[File, re.Match[str]]]:
        """Files whose path without its suffix ends in the pattern (a regular expression, any case), a folder or name
        beginning where it does: r"(dev|test)/wav/(id\\d+)/([^/]+)/(\\d+)" finds x/Dev/wav/id10001/abc/00001.flac."""
        find = re.compile(rf"(?:^|/)(?:{pattern})$", re.IGNORECASE)
        for file in self.files:
            if file.suffix in suffixes and (found := find.search(file.path[: -len(file.suffix)])):
                yield file, found

    def named(self, *names: str) -> File | None:
        """The first file with one of these names in any case, the first name preferred."""
        return next((self._by_name[name.lower()] for name in names if name.lower() in self._by_name), None)

    @cached_property
    def _by_name(self) -> dict[str, File]:
        found: dict[str, File] = {}
        for file in self.files:
            found.setdefault(file.name.lower(), file)
        return found

    def text(self, file: File, what: str = "") -> str:
        """A small text file, UTF-8 or else Latin-1; nothing, with a gap that says `what` for, where a web page was
        saved in its place. Raises UserError where it cannot be read."""
        path = self.root / file.path
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); restore it") from None
        try:
            found = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            found = raw.decode("latin-1")
        if _PAGE.match(found):
            self.gap(f"{file.path} is a web page (HTML) and no list: {what or 'download it again'}")
            return ""
        return found

    def wanted_text(self, what: str, *names: str) -> str | None:
        """The text of a list that the corpus needs, from the folder or the one it lies in; None, with a gap that says
        `what` for, where none of the names is there."""
        file = self.named(*names)
        if file is not None:
            return self.text(file, what)
        for name in names:
            beside = self.root.parent / name
            self.beside.add(os.fspath(beside))
            if beside.is_file():
                return self.text(File(os.fspath(beside), 0, 0), what)
        self.gap(f"no {' or '.join(names)}: {what}")
        return None


def scan(root: Path, options: Mapping[str, str] | None = None) -> Tree:
    """List a folder, links followed and each real folder visited once; hidden files are no part of it. Raises UserError
    where the folder cannot be read."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise UserError(f"{root}: a folder wanted, found {found}; correct the path")
    files: list[File] = []
    seen: set[tuple[int, int]] = set()
    gaps: list[str] = []
    waiting = [(os.fspath(root), "")]
    while waiting:
        place, prefix = waiting.pop()
        here, folders = _entries(place, prefix, seen, gaps)
        files += here
        waiting += folders
    files.sort(key=lambda file: (file.path.count("/"), file.path))
    return Tree(root, files, dict(options or {}), gaps)


def _entries(
    place: str, prefix: str, seen: set[tuple[int, int]], gaps: list[str]
) -> tuple[list[File], list[tuple[str, str]]]:
    files: list[File] = []
    folders: list[tuple[str, str]] = []
    try:
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            return [], []
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _SKIPPED:
                    continue
                try:
                    if entry.is_dir():
                        folders.append((entry.path, f"{prefix}{entry.name}/"))
                        continue
                    status = entry.stat()
                except OSError:
                    gaps.append(f"{prefix}{entry.name} is a link to nothing; restore what it points to")
                    continue
                files.append(File(f"{prefix}{entry.name}", status.st_size, status.st_mtime_ns))
    except OSError as error:
        if not prefix:
            raise UserError(f"{place} cannot be listed ({error.strerror}); check its rights") from None
        gaps.append(f"{prefix} cannot be listed ({error.strerror}); check its rights")
    return files, sorted(folders, reverse=True)


def oddities(tree: Tree, used: set[str]) -> list[str]:
    """What lies in the tree and was not used, though its name says that it should be: archives never unpacked,
    unfinished downloads, audio in a form that is not read, empty files. A line each, with what to do."""
    kinds: dict[str, list[File]] = {"archive": [], "unfinished": [], "unread": [], "empty": []}
    for file in tree.files:
        name = file.name.lower()
        if file.path in used:
            continue
        if name.endswith(UNFINISHED):
            kinds["unfinished"].append(file)
        elif name.endswith(ARCHIVES):
            kinds["archive"].append(file)
        elif file.suffix in UNREAD:
            kinds["unread"].append(file)
        elif file.size == 0 and file.suffix in AUDIO:
            kinds["empty"].append(file)
    advice = {
        "archive": ("archive", "", "unpack it if its files are not in the folder yet"),
        "unfinished": ("unfinished download", "", "finish it"),
        "unread": ("file", " in a format that is not read here", _convert(tree, kinds["unread"])),
        "empty": ("empty audio file", "", "copy it again"),
    }
    lines = {kind: (len(found), found[0].path, *advice[kind]) for kind, found in kinds.items() if found}
    return [f"{counted(n, noun)}{of}, first {first}; {todo}" for n, first, noun, of, todo in lines.values()]


def _convert(tree: Tree, files: Sequence[File]) -> str:
    """A command that survives blanks in names; ffmpeg would otherwise read the list of names as its own input."""
    kinds = sorted({file.suffix for file in files})
    tests = " -o ".join(f"-iname '*{kind}'" for kind in kinds)
    found = rf"find {shlex.quote(os.fspath(tree.root))} -type f \( {tests} \) -print0"
    each = 'ffmpeg -nostdin -i "$f" -ac 1 -ar 16000 "${f%.*}.wav"'
    return f"convert, in bash: `{found} | while IFS= read -r -d '' f; do {each}; done`"
