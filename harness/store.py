"""The feature store on disk: arrays by key, a budget, and what `run.py cache` says of it.

    <cache>/features/<fingerprint>/<form>/<xx>/<key>.npy     one array an utterance and condition
    <cache>/features/<fingerprint>/upstream.txt              whose they are, for people

Files are written under a temporary name and renamed: a killed run leaves nothing half-written, and two processes may
share the store. Frames are read memory-mapped.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.errors import UserError

NAME = "upstream.txt"
GB = 1 << 30


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

    def load(self, path: Path, mapped: bool = False) -> np.ndarray | None:
        """The stored array, or None where it is not stored or cannot be read (then it is made again)."""
        try:
            array: np.ndarray = np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
            return array
        except (OSError, ValueError, EOFError):
            return None

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
        self._write(path, lambda file: np.save(file, array, allow_pickle=False))
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
