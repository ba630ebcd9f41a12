"""Archives in or beside a user's folder that hold what the corpus lacks there: which, what they give, and the command.

    left, done = packed(corpus, tree, counts)

A corpus's contract names its archives. How much of one is unpacked is told by the rows that are there, else by the list
in a zip file; of a compressed tar only the first members are read, so this takes a second at most.
"""

from __future__ import annotations

import io
import lzma
import os
import re
import shlex
import shutil
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from harness.wording import counted
from tasks.corpora.contract import Archive, Corpus
from tasks.corpora.tree import Tree

LOOK = 32 * 2**20
"""Bytes of a tar that are read, unpacked, to see how deep it packs."""
READ = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
UNNAMED = 8
"""Archives of other names that are looked into."""
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


@dataclass
class _Found:
    """One archive as it lies there: a file, or its pieces in order, `wanting` those that are missing."""

    archive: Archive
    pieces: list[Path]
    wanting: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The whole file, which pieces are still to be joined to."""
        if len(self.pieces) == 1 and not self.archive.parts:
            return self.pieces[0]
        return self.pieces[0].with_name(self.archive.name.replace("\\", ""))

    @property
    def is_zip(self) -> bool:
        return self.path.suffix.lower() == ".zip"


@dataclass
class _Inside:
    """What was seen of an archive. `prefix`: folders above the corpus's own, None where none of its files were met.
    `names`: its files that `shows` matches, from there on, and `others` what its other files are called: of a tar as
    far as it was read, `whole` where it was read to its end."""

    prefix: str | None = None
    names: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    whole: bool = False


class _Joined(io.RawIOBase):
    """Pieces of a file as one."""

    def __init__(self, paths: Sequence[Path]):
        self.files = [path.open("rb") for path in paths]
        self.sizes = [path.stat().st_size for path in paths]
        self.at = 0

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, sum(self.sizes))[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        start = self.at
        for file, size in zip(self.files, self.sizes, strict=True):
            if start < size:
                file.seek(start)
                read = file.readinto(buffer)
                self.at += read
                return read
            start -= size
        return 0


def packed(corpus: Corpus, tree: Tree, counts: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[str]]:
    """Lines on archives of which something is not unpacked, or may not be; and on those that are not needed any more.
    `counts`: rows by split, as `tasks/prepared.py` counts them; empty where there are none."""
    left: list[str] = []
    done: list[str] = []
    alike: dict[tuple[str, Path, int], list[_Found]] = defaultdict(list)
    for found in _archives(corpus, tree):
        archive = found.archive
        rows = sum(int(counts.get(split, {}).get("rows", 0)) for split in archive.splits)
        if archive.files is not None and rows >= archive.files:
            done.append(f"{found.path.name} is unpacked: it is not needed any more")
            continue
        name = f"{found.path.name} ({archive.gives})"
        if archive.instead:
            left.append(f"{name}: {archive.instead}")
            continue
        if found.wanting:
            here = f"{counted(len(found.pieces), 'part')} of {len(archive.parts)}"
            left.append(f"{name} is not whole, {here}: download {', '.join(found.wanting)}")
            continue
        try:
            inside = _look(found.pieces, _ends(archive.shows, tree))
        except _BROKEN as error:
            left.append(f"{name} cannot be opened ({str(error)[:60]}): download it again")
            continue
        further = _further(corpus, tree, inside)
        if inside.whole and not inside.names and not further:
            continue  # of the same name, and something else
        on_disk = _on_disk(found, tree)
        own = {key for key, _ in on_disk if not inside.whole or key in inside.names}
        met = rows if archive.splits else len(own)
        of = len(inside.names) if inside.whole and inside.names else archive.files
        if (inside.names and inside.whole and inside.names <= own) or (of and met >= of) or further == "there":
            done.append(f"{found.path.name} is unpacked: it is not needed any more")
            continue
        into, strip = _target(found, inside, tree, on_disk[0][1] if on_disk else None)
        if not own and not met:
            alike[archive.name, into, strip].append(found)
        elif of:
            part = f"{len(own):,} of {counted(of, 'file')}" if inside.whole else f"{met:,} of {counted(of, 'row')}"
            left.append(f"{name} is unpacked in part, {part}: {_command([found], into, strip)}")
        else:
            left.append(
                f"{name}: {counted(max(len(own), met), 'file')} of it are there, whether all is not known; "
                f"{_command([found], into, strip)}, or move it away if all of it is unpacked"
            )
    left += [_not_unpacked(several, into, strip) for (_, into, strip), several in alike.items()]
    return left, done


def of_corpus(corpus: Corpus, tree: Tree) -> set[str]:
    """Paths, in the tree, of the archives that `packed` speaks of."""
    pieces = [piece for found in _archives(corpus, tree) for piece in found.pieces]
    return {piece.relative_to(tree.root).as_posix() for piece in pieces if piece.is_relative_to(tree.root)}


def _not_unpacked(several: Sequence[_Found], into: Path, strip: int) -> str:
    archive = several[0].archive
    files = "" if archive.files is None else f", {counted(archive.files, 'row')}"
    command = _command(several, into, strip)
    if len(several) == 1:
        return f"{several[0].path.name} ({archive.gives}{files}) is not unpacked: {command}"
    first = several[0].path.name
    return f"{counted(len(several), 'archive')} ({archive.gives}), first {first}, are not unpacked: {command}"


def _archives(corpus: Corpus, tree: Tree) -> Iterator[_Found]:
    """Those that the contract names, in the tree, then in the folder it lies in; then others in the tree that begin
    with such files as they hold."""
    parts = {part.lower() for archive in corpus.archives for part in archive.parts}
    places: dict[str, list[Path]] = defaultdict(list)
    for file in tree.files:
        name = file.path.lower()
        if name.endswith(READ) or (parts and name.rpartition("/")[2] in parts):
            places[name.rpartition("/")[2]].append(tree.root / file.path)
    within = list(dict.fromkeys(path for paths in places.values() for path in paths))
    try:
        with os.scandir(tree.root.parent) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = entry.name.lower()
                if (name.endswith(READ) or name in parts) and name not in places and entry.is_file():
                    places[name].append(Path(entry.path))
    except OSError:
        pass  # only a place more to look at
    named: set[Path] = set()
    for archive in corpus.archives:
        whole = re.compile(_filled(archive.name, tree), re.IGNORECASE)
        met = [path for name in sorted(places) if whole.fullmatch(name) for path in places[name]]
        pieces = [places[name.lower()][0] for name in archive.parts if name.lower() in places]
        named |= {*met, *pieces}
        yield from (_Found(replace(archive, parts=()), [path]) for path in met)
        if pieces and not met:
            yield _Found(archive, pieces, [name for name in archive.parts if name.lower() not in places])
    unnamed = [path for path in within if path not in named and path.name.lower().endswith(READ)]
    for path in unnamed[:UNNAMED]:
        for archive in corpus.archives:
            try:
                inside = _look([path], _ends(archive.shows, tree))
            except _BROKEN:
                break
            if inside.names:
                own = replace(archive, name=path.name, gives="files of the corpus", splits=(), files=None, parts=(),
                              instead="")  # fmt: skip
                yield _Found(own, [path])
                break


def _filled(pattern: str, tree: Tree) -> str:
    for option, value in tree.options.items():
        pattern = pattern.replace("{" + option + "}", re.escape(value))
    return pattern


def _ends(pattern: str, tree: Tree) -> re.Pattern[str]:
    return re.compile(rf"(?:^|/)(?P<from>{_filled(pattern, tree)})\.\w+$", re.IGNORECASE)


def _start(found: re.Match[str]) -> int:
    return found.start("at" if "at" in found.re.groupindex else "from")


def _key(name: str) -> str:
    """What an unpacked file has in common with the packed one: not its format."""
    return name.rpartition(".")[0].lower()


def _on_disk(found: _Found, tree: Tree) -> list[tuple[str, str]]:
    """Of files there that may be the archive's: what they are called in it, and the folders above that."""
    pattern = _ends(found.archive.there or found.archive.shows, tree)
    met = []
    for file in tree.files:
        path = f"{tree.root.name}/{file.path}"
        if hit := pattern.search(path):
            met.append((_key(path[_start(hit) :]), path[: _start(hit)]))
    return met


def _look(pieces: Sequence[Path], pattern: re.Pattern[str]) -> _Inside:
    """What a zip's list, or the beginning of a tar, has of the pattern."""
    stats = [piece.stat() for piece in pieces]
    names, whole = _names(tuple(pieces), tuple((one.st_size, one.st_mtime_ns) for one in stats))
    inside = _Inside(whole=whole)
    for name in names:
        _note(inside, name, pattern)
    return inside


@lru_cache(64)
def _names(pieces: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> tuple[list[str], bool]:
    """Names in an archive, and whether they are all: of a tar those within LOOK bytes. `stamps`: so that a file that
    changed is read again."""
    if pieces[0].suffix.lower() == ".zip" or len(pieces) > 1:
        with _Joined(pieces) as joined, zipfile.ZipFile(joined) as file:
            return file.namelist(), True
    names = []
    with tarfile.open(pieces[0], "r|*") as tar:
        for member in tar:
            names.append(member.name)
            if tar.offset > LOOK:
                return names, False
    return names, True


def _note(inside: _Inside, name: str, pattern: re.Pattern[str]) -> None:
    if hit := pattern.search(name):
        inside.prefix = name[: _start(hit)] if inside.prefix is None else inside.prefix
        inside.names.add(_key(name[_start(hit) :]))
    else:
        inside.others.add(PurePosixPath(name).name.lower())


def _further(corpus: Corpus, tree: Tree, inside: _Inside) -> str:
    """Of an archive of archives: "there" where those in it lie in the folder, "within" where not; else nothing."""
    patterns = [re.compile(_filled(archive.name, tree), re.IGNORECASE) for archive in corpus.archives]
    within = {name for name in inside.others if any(one.fullmatch(name) for one in patterns)}
    if inside.names or not within:
        return ""
    return "there" if within <= {file.name.lower() for file in tree.files} else "within"


def _target(found: _Found, inside: _Inside, tree: Tree, prefix: str | None) -> tuple[Path, int]:
    """The folder to unpack into, and how many of the archive's folders to leave out (of a tar: `unzip` cannot)."""
    archive, folder = found.archive, found.path.parent
    above = [part for part in (inside.prefix or "").split("/") if part not in ("", ".")]
    if prefix is not None and inside.prefix is not None:
        place = tree.root.parent / prefix
    else:
        base = folder if folder.is_relative_to(tree.root) else tree.root
        place = base if not archive.into or base.name.lower() == archive.into.lower() else base / archive.into
    if not found.is_zip:
        return place, len(above)
    ends = place.parts[-len(above) :] if above else ()
    return (place.parents[len(above) - 1] if above and list(ends) == above else place), 0


def _command(several: Sequence[_Found], into: Path, strip: int) -> str:
    made = "" if into.is_dir() else f"mkdir -p {_quoted(into)} && "
    joined = ""
    if several[0].archive.parts:
        pieces = " ".join(_quoted(piece) for piece in several[0].pieces)
        joined = f"cat {pieces} > {_quoted(several[0].path)} && "
    if len(several) == 1:
        return f"`{joined}{made}{_unpack(_quoted(several[0].path), several[0].is_zip, into, strip)}`"
    names = " ".join(_quoted(found.path) for found in several)
    return f'`{made}for a in {names}; do {_unpack(chr(34) + "$a" + chr(34), several[0].is_zip, into, strip)}; done`'


def _unpack(archive: str, is_zip: bool, into: Path, strip: int) -> str:
    if is_zip:
        how = "unzip -q -o" if shutil.which("unzip") else "python -m zipfile -e"
        return f"{how} {archive} {'-d ' if 'unzip' in how else ''}{_quoted(into)}"
    return f"tar -xf {archive} -C {_quoted(into)}" + (f" --strip-components={strip}" if strip else "")


def _quoted(path: Path) -> str:
    return shlex.quote(os.fspath(path))
