"""CSV files read strictly, and the paths in them kept inside their folder: what manifests and trial lists
share."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from harness.errors import UserError


class Inside:
    """Paths of a manifest, made absolute and kept inside its folder. Each distinct archive is resolved
    once."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        self.known: dict[str, Path] = {}

    def path(self, name: str, place: str) -> Path:
        if name not in self.known:
            check_relative(name, place)
            path = (self.root / name).resolve()
            if not path.is_relative_to(self.root):
                raise UserError(f"{place}: {name} is a symbolic link out of {self.root}; keep files inside the folder")
            self.known[name] = self.root / name
        return self.known[name]


def check_relative(name: str, place: str) -> None:
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if not parts or plain.startswith("/") or ":" in parts[0] or ".." in parts or "\0" in name:
        raise UserError(
            f"{place}: wanted a path inside the manifest's folder, found {name!r}; no '..', no absolute path"
        )


def relative(path: Path, root: Path, place: str) -> str:
    whole = path if path.is_absolute() else root / path
    try:
        return whole.relative_to(root).as_posix()
    except ValueError:
        pass
    try:  # the folder itself may have been reached through a link
        return (whole.parent.resolve() / whole.name).relative_to(root).as_posix()
    except ValueError:
        raise UserError(f"{place}: {path} lies outside {root}; write the manifest beside its files") from None


def records(raw: bytes, path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(row number, fields) of a CSV with exactly these columns, in any order; the header is row 1."""
    try:
        reader = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        header = next(reader, [])
        missing, unknown = sorted(set(columns) - set(header)), sorted(set(header) - set(columns))
        if missing or unknown or len(header) != len(columns):
            found = f"missing {missing}, unknown {unknown}" if missing or unknown else "a column twice"
            raise UserError(f"{path} row 1: wanted the columns {','.join(columns)}; found {found}")
        for number, values in enumerate(reader, start=2):
            if len(values) != len(header):
                raise UserError(f"{path} row {number}: wanted {len(header)} fields, found {len(values)}; quote commas")
            yield number, dict(zip(header, values, strict=True))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8 CSV") from None
    except csv.Error as error:
        raise UserError(f"{path} row {reader.line_num}: not valid CSV ({error}); fix the quoting") from None


def few(values: set[str]) -> str:
    return ", ".join(sorted(values)[:8]) + (" …" if len(values) > 8 else "")
