"""Manifests and trial lists: CSV in, `Utterance` and `Trial` out, strictly.

    rows = read_manifest("tasks/mini/data/kokoro_asv")     # a folder with manifest.csv, or the CSV itself
    dev = select(rows, split="dev")
    trials = read_trials("…/trials_test.csv.gz", {row.id for row in rows})

Every field is text until it is checked, so a speaker called "nan" or "NA" stays one. Paths in a manifest are
relative to its folder and stay inside it. A row with an empty `archive` names a plain file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import os
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from harness.contracts import Trial, Utterance
from harness.errors import UserError
from harness.wording import counted
from tasks.csv_rows import Inside, check_relative, few, records, relative
from tasks.splits import disjoint, overlap, remove

__all__ = [
    "COLUMNS",
    "TRIAL_COLUMNS",
    "disjoint",
    "overlap",
    "read_manifest",
    "read_trials",
    "remove",
    "select",
    "trial_table",
    "verify_checksums",
    "write_manifest",
]

COLUMNS = tuple(field.name for field in fields(Utterance))
TRIAL_COLUMNS = ("trial", "enrol", "test", "target", "same_language", "same_channel", "same_gender")

_ID = re.compile(r"[A-Za-z0-9_.-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_manifest(folder_or_csv: str | Path) -> list[Utterance]:
    """The rows of a manifest, in its order. Archives, and the members of rows without one, come back as
    absolute paths.

    Raises UserError, in one line with file and row number (the header is row 1), for missing or unknown
    columns, a duplicate id, a field out of its range, and a path that leaves the manifest's folder, by `..`
    or by a symbolic link.
    """
    path = Path(folder_or_csv)
    path = path / "manifest.csv" if path.is_dir() else path
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"manifest {path} cannot be read ({error.strerror}); check the path") from None
    paths = Inside(path.parent)
    rows: list[Utterance] = []
    first_seen: dict[str, int] = {}
    for number, record in records(raw, path, COLUMNS):
        row = _utterance(record, f"{path} row {number}", paths)
        if row.id in first_seen:
            raise UserError(f"{path} row {number}: id {row.id} is also row {first_seen[row.id]}; ids must be unique")
        first_seen[row.id] = number
        rows.append(row)
    if not rows:
        raise UserError(f"manifest {path} has a header and no rows; add utterances")
    return rows


def write_manifest(rows: Iterable[Utterance], path: str | Path) -> None:
    """Write rows, in the order given, as a manifest beside their archives: the same rows give the same bytes,
    and `read_manifest` gives the same rows. Raises UserError as `read_manifest` would; then nothing is
    written."""
    path = Path(path)
    root = path.parent.resolve()
    paths = Inside(path.parent)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        place = f"{path} row {number}"
        record = {name: str(getattr(row, name)) for name in COLUMNS}
        record["archive"] = "" if row.archive is None else relative(row.archive, root, place)
        if row.archive is None:
            record["member"] = relative(Path(row.member), root, place)
        _utterance(record, place, paths)
        if row.id in seen:
            raise UserError(f"{place}: id {row.id} occurs twice; ids must be unique")
        seen.add(row.id)
        writer.writerow(record)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(out.getvalue().encode("utf-8"))
        os.replace(part, path)
    except OSError as error:
        raise UserError(
            f"manifest {path} cannot be written ({error.strerror}); free the disk or choose a folder"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def trial_table(csv_gz: str | Path) -> pd.DataFrame:
    """A trial list as a table: `trial`, `enrol`, `test` text, `target` bool, `same_*` nullable boolean (empty
    = unknown).

    Raises UserError for a trial or a pair listed twice, an utterance against itself, a `target` other than 0
    or 1, and a list without targets or without non-targets.
    """
    path = Path(csv_gz)
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"trial list {path} cannot be read ({error}); check the path or restore the file") from None
    trials: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    listed: list[dict[str, str]] = []
    for number, record in records(raw, path, TRIAL_COLUMNS):
        place, pair = f"{path} row {number}", (record["enrol"], record["test"])
        _check_trial(record, place)
        if record["trial"] in trials or pair in pairs:
            raise UserError(
                f"{place}: trial {record['trial']} ({pair[0]} against {pair[1]}) is listed twice; remove one"
            )
        trials.add(record["trial"])
        pairs.add(pair)
        listed.append(record)
    if len({record["target"] for record in listed}) != 2:
        found = counted(len(listed), "trial")
        raise UserError(f"trial list {path}: wanted targets and non-targets, found {found} of one class")
    table = pd.DataFrame(listed, columns=list(TRIAL_COLUMNS), dtype=object)
    table["target"] = table["target"] == "1"
    for name in TRIAL_COLUMNS[4:]:
        table[name] = table[name].map({"1": True, "0": False, "": pd.NA}).astype("boolean")
    return table


def read_trials(csv_gz: str | Path, known_ids: Collection[str]) -> list[Trial]:
    """The trials of a list, in its order. Raises UserError as `trial_table` does, and for an id not in
    `known_ids`."""
    table = trial_table(csv_gz)
    known = set(known_ids)
    unknown = sorted((set(table["enrol"]) | set(table["test"])) - known)
    if unknown:
        raise UserError(
            f"trial list {csv_gz}: utterances of the manifest wanted, found {counted(len(unknown), 'other')}, first "
            f"{unknown[0]}; the list and the manifest must be of one version"
        )
    return [
        Trial(str(trial), str(enrol), str(test), bool(target), _shared(same))
        for trial, enrol, test, target, *same in table[list(TRIAL_COLUMNS)].itertuples(index=False)
    ]


def select(rows: Sequence[Utterance], **equals: str) -> list[Utterance]:
    """The rows whose fields equal the values, in order. Raises UserError for an unknown field and when none
    is left."""
    unknown = sorted(set(equals) - set(COLUMNS))
    if unknown:
        raise UserError(f"cannot select by {unknown[0]}: no such manifest column; the columns are {', '.join(COLUMNS)}")
    chosen = [row for row in rows if all(getattr(row, name) == value for name, value in equals.items())]
    if not chosen:
        wanted = ", ".join(f"{name}={value}" for name, value in equals.items())
        found = "; ".join(f"{name}: {few({str(getattr(row, name)) for row in rows})}" for name in equals)
        raise UserError(f"no row has {wanted}; found {found or 'no rows'}")
    return chosen


def verify_checksums(folder: str | Path) -> list[str]:
    """Compare every file named in the folder's SHA256SUMS (`sha256sum` format) with its bytes; return the
    names.

    Raises UserError for a missing list, a malformed line, a path that leaves the folder, a missing file, a
    mismatch.
    """
    root = Path(folder)
    listing = root / "SHA256SUMS"
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"checksum list {listing} cannot be read ({error}); restore it") from None
    paths, names = Inside(root), []
    for number, line in enumerate(lines, start=1):
        digest, name = line[:64], line[66:]
        if not _SHA256.fullmatch(digest) or line[64:66] not in ("  ", " *") or not name:
            raise UserError(f"{listing} row {number}: wanted a sha256, two spaces and a name, found {line[:80]!r}")
        path = paths.path(name, f"{listing} row {number}")
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(f"{path} is in {listing} and cannot be read ({error.strerror}); restore it") from None
        if found != digest:
            raise UserError(f"{path}: wanted sha256 {digest}, found {found}; restore the file")
        names.append(name)
    if not names:
        raise UserError(f"checksum list {listing} is empty; generate it again")
    return names


def _utterance(record: Mapping[str, str], place: str, paths: Inside) -> Utterance:
    def fail(name: str, wanted: str) -> UserError:
        return UserError(f"{place}: wanted {name} {wanted}, found {record[name]!r}")

    def number(name: str) -> float:
        try:
            value = float(record[name])
        except ValueError:
            raise fail(name, "a number") from None
        if not math.isfinite(value):
            raise fail(name, "a finite number")
        return value

    if not _ID.fullmatch(record["id"]):
        raise fail("id", "of letters, digits, '_', '.', '-'")
    for name in ("corpus", "split", "member"):
        if not record[name].strip():
            raise fail(name, "to be filled")
    if (start := number("start")) < 0:
        raise fail("start", "of at least 0 s")
    if (duration := number("duration")) <= 0:
        raise fail("duration", "above 0 s")
    if not re.fullmatch(r"[1-9][0-9]{0,6}", record["rate"]):
        raise fail("rate", "a whole number of Hz")
    if record["speaker_known"] not in ("sure", "doubtful"):
        raise fail("speaker_known", "sure or doubtful")
    if not _SHA256.fullmatch(record["sha256"]):
        raise fail("sha256", "of 64 lower-case hexadecimal digits")
    check_relative(record["member"], place)
    archive = paths.path(record["archive"], place) if record["archive"] else None
    member = record["member"] if archive else str(paths.path(record["member"], place))
    values = {
        "archive": archive,
        "member": member,
        "start": start,
        "duration": duration,
        "rate": int(record["rate"]),
    }
    return Utterance(**{**record, **values})  # type: ignore[arg-type]


def _shared(same: Sequence[Any]) -> dict[str, bool]:
    names = (column.removeprefix("same_") for column in TRIAL_COLUMNS[4:])
    return {name: bool(value) for name, value in zip(names, same, strict=True) if not pd.isna(value)}


def _check_trial(record: Mapping[str, str], place: str) -> None:
    if not all(record[name] for name in ("trial", "enrol", "test")):
        raise UserError(f"{place}: wanted trial, enrol and test to be filled, found {dict(record)}")
    if record["enrol"] == record["test"]:
        raise UserError(f"{place}: trial {record['trial']} compares {record['enrol']} with itself; remove it")
    if record["target"] not in ("0", "1"):
        raise UserError(f"{place}: wanted target 0 or 1, found {record['target']!r}")
    for name in TRIAL_COLUMNS[4:]:
        if record[name] not in ("0", "1", ""):
            raise UserError(f"{place}: wanted {name} 0, 1 or empty, found {record[name]!r}")
