"""Where a user's corpora lie: one YAML file, `corpora.yaml` in the working folder or what POST_SUPERB_CORPORA names.

    corpora:
      librispeech: /data/LibriSpeech
      mswc_de: {corpus: mswc, root: /data/mswc, options: {language: de}}
      my_calls: {manifest: calls/manifest.csv}      # a CSV with the columns of `tasks/manifest.py`, beside its audio

The names on the left are those that a task's YAML asks for by `corpus`. Relative folders are relative to the file; `~`
and `$VARIABLE` stand for what they stand for in a shell.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from harness.config import TWICE, Strict, parse, read_yaml
from harness.errors import UserError
from harness.paths import corpora_file, corpora_file_named
from harness.registry import NAME, suggest
from tasks.corpora import registry
from tasks.corpora.contract import Corpus


class Entry(Strict):
    """A corpus on disk: `root` of the module `corpus` (by default the entry's own name), or a `manifest`."""

    root: Path | None = None
    manifest: Path | None = None
    corpus: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    leave_out: list[str] = Field(default_factory=list)
    """Ids of rows that shall not be used: a damaged file, say."""

    @model_validator(mode="after")
    def _one_place(self) -> Entry:
        if (self.root is None) == (self.manifest is None):
            raise ValueError("either a folder (root) or a manifest wanted")
        if self.manifest is not None and (self.corpus or self.options):
            raise ValueError("a manifest has no `corpus` and no `options`")
        return self


class Folders(Strict):
    corpora: dict[str, Entry]

    @field_validator("corpora", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """`librispeech: /data/LibriSpeech` for `librispeech: {root: /data/LibriSpeech}`."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            return value
        return {name: {"root": entry} if isinstance(entry, str) else entry for name, entry in value.items()}


HOW = "write `corpora:` and below it, indented, a line `name: FOLDER` for each corpus"


@dataclass(frozen=True)
class Source:
    """An entry with its names resolved. `corpus` is None for a manifest."""

    name: str
    root: Path
    corpus: Corpus | None
    options: dict[str, str] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()


def sources(path: Path | None = None) -> dict[str, Source]:
    """What the user's file names, {} where there is no such file. Raises UserError, naming it, for an unknown key,
    corpus or option."""
    file = path or corpora_file()
    if not file.is_file():
        if path is None and corpora_file_named():
            raise UserError(f"POST_SUPERB_CORPORA names {file}: a file wanted, found "
                            f"{'a folder' if file.exists() else 'nothing'}; correct it, or {HOW}")  # fmt: skip
        return {}
    try:
        data = read_yaml(file)
    except UserError as error:
        raise UserError(str(error) if TWICE in str(error) else f"{error}; {HOW}") from None
    _shaped(data, file)
    folders: Folders = parse(Folders, data, file)
    return {name: _source(name, entry, file) for name, entry in folders.corpora.items()}


def _shaped(data: dict[str, Any], file: Path) -> None:
    """Raises UserError, which says what to write, for what is no mapping of names to folders."""
    for key in (key for key in data if key != "corpora"):
        near = suggest(str(key), ["corpora"]) or "; names of corpora stand indented below `corpora:`"
        raise UserError(f"{file}: unknown key {str(key)!r}{near}")
    if "corpora" not in data:
        raise UserError(f"{file}: no key `corpora`; {HOW}")
    entries = data["corpora"]
    if entries is not None and not isinstance(entries, dict):
        # `name:FOLDER` is one word to YAML
        missed = "; a blank is wanted after the colon" if isinstance(entries, str) and ":" in entries else ""
        raise UserError(f"{file}: corpora: lines `name: FOLDER` wanted, found {str(entries)[:80]!r}{missed}; {HOW}")
    for name, entry in (entries or {}).items():
        if not isinstance(entry, str | dict):
            found = "nothing" if entry is None else repr(entry)[:80]
            raise UserError(f"{file}: corpora.{name}: a folder wanted, found {found}; write `{name}: FOLDER`")
        if isinstance(entry, dict):
            _options_apart(str(name), entry, file)


def _options_apart(name: str, entry: dict[Any, Any], file: Path) -> None:
    """Raises UserError for an option of the corpus that is not under `options`."""
    module = entry.get("corpus", name)
    known = registry.load(module).options if module in registry.names() else {}
    for key in (str(key) for key in entry if key not in Entry.model_fields):
        lowered = {one.lower(): one for one in known}
        if near := difflib.get_close_matches(key.lower(), lowered, n=1, cutoff=0.7):
            option = lowered[near[0]]
            raise UserError(
                f"{file}: corpora.{name}: unknown key {key!r}; an option is written `options: {{{option}: VALUE}}`"
            )


def _expanded(path: Path, place: str) -> Path:
    """With `~` and `$VARIABLE` replaced. Raises UserError for a variable that is not set."""
    found = os.path.expandvars(path.expanduser())
    if (lost := re.search(r"\$\w+|\$\{\w+\}", found)) and not os.path.exists(found):
        raise UserError(f"{place}: variable {lost[0]} in {str(path)!r} is not set; set it, or write the folder out")
    return Path(found)


def _source(name: str, entry: Entry, file: Path) -> Source:
    if not NAME.match(name):
        raise UserError(f"{file}: corpus name {name!r}: letters, digits and _.+- wanted")
    where = file.parent / _expanded(entry.root or entry.manifest or Path(), f"{file}: {name}")
    if entry.manifest is not None:
        return Source(name, where, None, {}, tuple(entry.leave_out))
    try:
        corpus = registry.load(entry.corpus or name)
    except UserError as error:
        hint = "" if entry.corpus else "; a name of your own wants `corpus:` with one of them"
        raise UserError(f"{file}: {error}{hint}") from None
    for option in entry.options:
        if option not in corpus.options:
            near = suggest(option, corpus.options) or f"; it has {', '.join(corpus.options) or 'none'}"
            raise UserError(f"{file}: {name}: unknown option {option!r}{near}")
    return Source(name, where, corpus, {**corpus.options, **entry.options}, tuple(entry.leave_out))


def wanted(name: str, known: dict[str, Source]) -> Source:
    """The source of a corpus that a task asks for. Raises UserError that says what to write where, and what to get."""
    if name in known:
        return known[name]
    file = corpora_file()
    if name in registry.names():
        corpus = registry.load(name)
        hint = f"add `{name}: FOLDER` under `corpora:` in {file}"
        raise UserError(f"corpus {name}: no folder given; {hint}; get it from {corpus.page}")
    near = suggest(name, {*known, *registry.names()})
    raise UserError(f"corpus {name}: no folder given{near}; add it under `corpora:` in {file}")
