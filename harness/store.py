"""The feature store on disk: arrays by key, a budget, and what `run.py cache` says of it.

    <cache>/features/<fingerprint>/<form>/<xx>/<key>.npy     one array an utterance and condition
    <cache>/features/<fingerprint>/upstream.txt              whose they are, for people

Files are written under a temporary name and renamed: a killed run leaves nothing half-written, and two processes may
share the store. Frames are read memory-mapped.

Each array ends with a checksum of all its bytes (`np.load` reads such a file as any other). One that does not match it,
or has none, is removed and counts as not stored: a feature that changed on disk would move a score without a word.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from harness.errors import UserError
from harness.progress import note

T = TypeVar("T")

NAME = "upstream.txt"
GB = 1 << 30
MARK = b"crc1"
"""After the array, before the four bytes (little-endian) of its CRC-32."""
TAIL = len(MARK) + 4

_verified: dict[str, tuple[int, int]] = {}
"""Memory-mapped files whose checksum this process has compared, with their time of change and size."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds of one upstream: arrays and bytes by form."""

    upstream: str
    fingerprint: str
    arrays: dict[str, int]
    bytes: dict[str, int]


class FeatureStore:
    """Arrays by key under a folder. `budget_gb`: what the frames may take of the disk; without it there is no limit.

    Means and blocks are a hundredth of the frames and always kept."""

    def __init__(self, root: Path, budget_gb: float | None = None):
        self.root, self.budget = root, None if budget_gb is None else round(budget_gb * GB)
        self._used: int | None = None

    def path(self, fingerprint: str, form: str, key: str) -> Path:
        return self.root / fingerprint[:24] / form / key[:2] / f"{key}.npy"

    def has(self, path: Path) -> bool:
        """Is there an array with a checksum? Whether the two agree is seen when it is loaded."""
        try:
            with path.open("rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size >= TAIL:
                    file.seek(-TAIL, os.SEEK_END)
                    if file.read(len(MARK)) == MARK:
                        return True
        except OSError:
            return False
        self._drop(path)
        return False

    def load(self, path: Path, mapped: bool = False) -> np.ndarray | None:
        """The stored array, or None where it is not stored or is damaged (then it is made again, after a line).

        The checksum is compared at every reading, that of a memory-mapped array once in a process."""
        try:
            array = _mapped(path) if mapped else _read(path)
        except (OSError, ValueError, EOFError):
            return None
        if array is None:
            self._drop(path)
        return array

    def _drop(self, path: Path) -> None:
        """Remove what is not to be read, so that the budget has its room again. Arrays written before there were
        checksums go without a line, since they are whole."""
        try:
            size = path.stat().st_size
            if not _from_before(path):
                note(f"{path}: the stored features are damaged (their checksum does not match); they are made again")
            path.unlink()
        except OSError:  # gone already, or not ours to remove
            return
        if self._used is not None:
            self._used -= size

    def room(self) -> int:
        """Bytes left of the budget. Other processes' files count as they were when this one first looked."""
        if self.budget is None:
            return 1 << 62
        if self._used is None:
            self._used = sum(sum(held.bytes.values()) for held in holdings(self.root))
        return self.budget - self._used

    def name(self, fingerprint: str, upstream: str) -> None:
        """Note whose features a folder holds."""
        path = self.root / fingerprint[:24] / NAME
        if not path.exists():
            self._write(path, lambda file: file.write(f"{upstream}\n".encode()))

    def save(self, path: Path, array: np.ndarray) -> None:
        """Raises UserError where the disk is full; nothing half-written stays."""

        def write(file: IO[bytes]) -> None:
            summed = _Summed(file)
            np.save(summed, array, allow_pickle=False)
            file.write(MARK + summed.sum.to_bytes(4, "little"))

        self._write(path, write)
        if self._used is not None:
            self._used += array.nbytes

    def _write(self, path: Path, write: Callable[[IO[bytes]], Any]) -> None:
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                write(file)
            os.replace(temporary, path)
        except OSError as error:
            raise UserError(
                f"could not store features under {self.root}: {error.strerror or error}; free space, or set "
                "POST_SUPERB_CACHE to a folder with room"
            ) from error
        finally:
            if temporary and os.path.exists(temporary):
                os.unlink(temporary)


def from_own_place(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in runs of `size`, from a place in the list that is this process's own, round to it again.

    Neighbouring process ids begin far apart: at multiples of the golden ratio, modulo 1."""
    runs = [items[at : at + size] for at in range(0, len(items), size)]
    start = int(os.getpid() * (math.sqrt(5) - 1) / 2 % 1 * len(runs))
    return runs[start:] + runs[:start]


class _Summed:
    """A file that keeps the CRC-32 of what is written to it."""

    def __init__(self, file: IO[bytes]):
        self.file, self.sum = file, 0

    def write(self, data: bytes) -> int:
        self.sum = zlib.crc32(data, self.sum)
        return self.file.write(data)


def _sound(data: Any) -> bool:
    """Do the bytes end with their own checksum?"""
    tail = bytes(data[-TAIL:])
    return tail[:-4] == MARK and int.from_bytes(tail[-4:], "little") == zlib.crc32(data[:-TAIL])


def _read(path: Path) -> np.ndarray | None:
    """None where the checksum is missing or does not match."""
    data = memoryview(path.read_bytes())
    if not _sound(data):
        return None
    array: np.ndarray = np.load(io.BytesIO(data[:-TAIL]), allow_pickle=False)
    return array


def _mapped(path: Path) -> np.ndarray | None:
    """As `_read`, memory-mapped."""
    name, found = os.fspath(path), path.stat()
    stamp = (found.st_mtime_ns, found.st_size)
    if _verified.get(name) != stamp:
        if found.st_size < TAIL or not _sound(np.memmap(path, np.uint8, "r")):
            return None
        _verified[name] = stamp
    array: np.ndarray = np.load(path, allow_pickle=False, mmap_mode="r")
    return array


def _from_before(path: Path) -> bool:
    """Is this a whole array, without a checksum?"""
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
        return bool(path.stat().st_size == array.offset + array.nbytes)
    except (OSError, ValueError, EOFError):
        return False


def holdings(root: Path) -> list[Held]:
    """What is stored under `root`, by upstream."""
    found = []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        arrays: dict[str, int] = defaultdict(int)
        size: dict[str, int] = defaultdict(int)
        for form in sorted(path for path in folder.glob("*") if path.is_dir()):
            for shelf in os.scandir(form):
                for entry in os.scandir(shelf.path) if shelf.is_dir() else ():
                    if entry.name.endswith(".npy"):
                        arrays[form.name] += 1
                        size[form.name] += entry.stat().st_size
        name = folder / NAME
        label = name.read_text(encoding="utf-8").strip() if name.is_file() else "(not named)"
        found.append(Held(label, folder.name, dict(arrays), dict(size)))
    return found


def clear(root: Path, upstream: str | None = None) -> list[Held]:
    """Remove what is stored, of one upstream or of all; returns what was removed. Raises UserError for a name that
    the store does not know."""
    held = holdings(root)
    chosen = [one for one in held if upstream is None or one.upstream == upstream]
    if upstream is not None and not chosen:
        known = ", ".join(sorted({one.upstream for one in held})) or "nothing"
        raise UserError(f"no features of {upstream!r} are stored under {root}; it holds {known}")
    for one in chosen:
        shutil.rmtree(root / one.fingerprint)
    return chosen
