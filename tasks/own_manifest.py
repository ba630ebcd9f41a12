"""A user's own recordings: a CSV beside the audio, with as few columns as will do.

    file,split,speaker,text
    monday/a.wav,test,anna,good morning

`file` and `split` must be there; any other column of a manifest may (`tasks/manifest.py`). What a task reads it must
have: `label`, `text` or `speaker`. Rate and length come from the audio, the id from the file's name. A CSV with every
column of a manifest is read as one, hashes and all.
"""

from __future__ import annotations

import csv
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import audio, headers
from harness.contracts import Utterance
from harness.errors import UserError
from harness.registry import suggest
from harness.wording import counted
from tasks.csv_rows import Inside, records
from tasks.manifest import COLUMNS, read_manifest

FILE = "file"
MUST = (FILE, "split")
MAY = tuple(name for name in COLUMNS if name not in ("archive", "member", "corpus", "split", "sha256"))
DEFAULTS = {"start": "0", "speaker": "-", "speaker_known": "sure", "source": "the user's own"}
SHOWN = 5
"""Rows with something wrong that an error names."""
READERS = 8


def read_own(path: Path, corpus: str) -> list[Utterance]:
    """The rows of a user's CSV, their corpus named `corpus` where it is no whole manifest.

    Raises UserError, with file and row number (the header is row 1), for a missing or unknown column, an empty `file`
    or `split`, an id that occurs twice, a file that is missing or no audio, a rate that is not the file's, and a cut
    that goes beyond its end; up to five rows are named at once."""
    path, raw = _raw(path)
    header = _header(raw)
    if FILE not in header and {"member", "sha256"} & set(header):
        return read_manifest(path)
    for name in header:
        if name not in (*MUST, *MAY):
            raise UserError(f"{path} row 1: unknown column {name!r}{suggest(name, [*MUST, *MAY])}")
    if missing := [name for name in MUST if name not in header]:
        raise UserError(f"{path} row 1: column {missing[0]} wanted, found {', '.join(header) or 'nothing'}; add it")
    inside, seen, wrong, rows = Inside(path.parent), dict[str, int](), list[str](), list[Utterance]()
    listed = list(records(raw, path, header))
    with ThreadPoolExecutor(READERS) as pool:
        lengths = list(pool.map(_length, [path.parent / record[FILE] for _, record in listed]))
    for (number, record), length in zip(listed, lengths, strict=True):
        place = f"{path} row {number}"
        try:
            row = _row(record, place, inside, corpus, length)
            if row.id in seen:
                raise UserError(f"{place}: id {row.id} is also row {seen[row.id]}; give a column `id`")
            seen[row.id] = number
            rows.append(row)
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        more = f"; and {counted(len(wrong) - SHOWN, 'row')} more" if len(wrong) > SHOWN else ""
        raise UserError("; ".join(wrong[:SHOWN]) + more)
    if not rows:
        raise UserError(f"manifest {path} has a header and no rows; add utterances")
    return rows


def columns(path: Path) -> list[str]:
    """The header of a CSV of `read_own`. Raises UserError for one that cannot be read."""
    return _header(_raw(path)[1])


def _raw(path: Path) -> tuple[Path, bytes]:
    path = path / "manifest.csv" if path.is_dir() else path
    try:
        return path, path.read_bytes()
    except OSError as error:
        raise UserError(f"manifest {path} cannot be read ({error.strerror}); check the path") from None


def _header(raw: bytes) -> list[str]:
    line = raw.decode("utf-8-sig", "replace").partition("\n")[0]
    return [name.strip() for name in next(csv.reader([line]), [])]


def _length(path: Path) -> tuple[int, int] | str:
    try:
        return headers.length(path)
    except UserError as error:
        return str(error)


def _row(
    record: dict[str, str], place: str, inside: Inside, corpus: str, length: tuple[int, int] | str
) -> Utterance:
    for name in MUST:
        if not record[name].strip():
            raise UserError(f"{place}: wanted {name} to be filled, found nothing")
    member = str(inside.path(record[FILE], place))
    if isinstance(length, str):
        raise UserError(f"{place}: {length}")
    frames, rate = length
    given = {name: record.get(name, "").strip() or DEFAULTS.get(name, "") for name in MAY}
    if given["rate"] not in ("", str(rate)):
        raise UserError(f"{place}: {record[FILE]} has {rate} Hz, the column says {given['rate']}; correct one of them")
    start = _number(given["start"], place, "start")
    whole = round(frames / rate - start, 6)
    duration = _number(given["duration"], place, "duration") if given["duration"] else whole
    if whole <= 0 or duration <= 0 or duration > whole + audio.SHORT_SECONDS:
        raise UserError(
            f"{place}: a cut from {start:g} s of {duration:g} s wanted, {record[FILE]} has {frames / rate:.2f} s"
        )
    if given["speaker_known"] not in ("sure", "doubtful"):
        raise UserError(f"{place}: wanted speaker_known sure or doubtful, found {given['speaker_known']!r}")
    id = given["id"] or re.sub(r"[^A-Za-z0-9_.-]+", "-", str(Path(record[FILE]).with_suffix("")))
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", id):
        raise UserError(f"{place}: wanted id of letters, digits, '_', '.', '-', found {id!r}")
    stamp = audio.stamp(corpus, record[FILE], frames, rate)
    return Utterance(
        corpus=corpus, split=record["split"].strip(), archive=None, member=member, sha256=stamp,
        **{**given, "id": id, "start": start, "duration": duration, "rate": rate},  # type: ignore[arg-type]
    )  # fmt: skip


def _number(text: str, place: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"{place}: wanted {name} in seconds, found {text!r}")
    return value
