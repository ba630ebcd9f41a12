"""The files of a prepared corpus: manifest and trial lists, written whole and read back fast.

They are our own and were checked when they were made, so the strict checks of `tasks/manifest.py` are not made again.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.contracts import Trial, Utterance
from harness.errors import UserError
from harness.results import atomic_write
from tasks.manifest import COLUMNS, TRIAL_COLUMNS

_SHARED = frozenset(COLUMNS) - {"id", "member", "start", "duration", "text", "phones", "sha256"}
"""Columns with few values: one string of each is kept in memory."""


def write_rows(path: Path, rows: Sequence[Utterance]) -> None:
    """Rows of plain files, their `member` relative to the corpus's folder. Raises UserError for a full disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(COLUMNS)
            for u in rows:
                writer.writerow(["" if name == "archive" else getattr(u, name) for name in COLUMNS])
        os.replace(part, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); free the disk or set POST_SUPERB_CACHE"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def read_rows(path: Path, root: Path) -> Iterator[Utterance]:
    """What `write_rows` wrote, with the paths under `root`."""
    share = [name in _SHARED for name in COLUMNS]
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        reader = csv.reader(lines)
        next(reader)
        for values in reader:
            record: dict[str, Any] = {
                name: sys.intern(value) if one else value
                for name, value, one in zip(COLUMNS, values, share, strict=True)
            }
            record["archive"] = None
            record["member"] = os.path.join(root, record["member"])
            record["start"], record["duration"] = float(record["start"]), float(record["duration"])
            record["rate"] = int(record["rate"])
            yield Utterance(**record)


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Raises UserError for a full disk. The same trials give the same bytes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(TRIAL_COLUMNS)
    for t in trials:
        same: Mapping[str, bool] = t.same
        known = [str(int(same[key])) if key in same else "" for key in ("language", "channel", "gender")]
        writer.writerow([t.id, t.enrol, t.test, int(t.target), *known])
    atomic_write(path, gzip.compress(out.getvalue().encode(), mtime=0))
