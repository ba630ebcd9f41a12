"""What two splits share, and the assertion that they share nothing they must not.

    disjoint({"train": …, "dev": …, "test": …}, {"speaker": [["train", "dev", "test"]], "recording": "all"})
    overlap({"train": …, "test": …})      # a table of counts, for a report

A speaker's name stands for one person wherever it occurs, across corpora too, and "-" for none; a channel is a
microphone or a voice pack; a recording is the sha256 of its file, so two cuts of one recording are one; a text is
compared without case, punctuation and spacing.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd

from harness.contracts import Utterance
from harness.errors import UserError
from harness.wording import counted

Policy = Mapping[str, str | Sequence[Sequence[str]]]


def disjoint(rows_by_split: Mapping[str, Sequence[Utterance]], policy: Policy) -> None:
    """Raise UserError, naming what overlaps, unless the splits of each group of the policy share nothing.

    The policy maps "speaker", "channel", "recording" or "text" to groups of splits, or to "all". A row without a
    speaker cannot be proven disjoint and is an error; a row without a text has none to share.
    """
    for kind, groups in policy.items():
        if kind not in KEYS:
            raise UserError(f"unknown disjointness policy {kind!r}; known are {', '.join(KEYS)}")
        if isinstance(groups, str) and groups != "all":
            raise UserError(f"disjointness policy {kind}: wanted 'all' or groups of splits, found {groups!r}")
        for group in [list(rows_by_split)] if isinstance(groups, str) else groups:
            missing = sorted(set(group) - set(rows_by_split))
            if missing or len(group) < 2 or isinstance(group, str):
                raise UserError(
                    f"disjointness policy {kind}: wanted groups of two or more of the splits "
                    f"{', '.join(rows_by_split)}, found {group}"
                )
            for one, other in itertools.combinations(group, 2):
                _assert_disjoint(kind, one, rows_by_split[one], other, rows_by_split[other])


def overlap(rows_by_split: Mapping[str, Sequence[Utterance]]) -> pd.DataFrame:
    """One row a pair of splits: split_a, split_b, and the number of speakers, channels, recordings and texts they
    share."""
    keys = {
        kind: {split: {key(row) for row in rows} - {""} for split, rows in rows_by_split.items()}
        for kind, key in KEYS.items()
    }
    table = [
        {"split_a": a, "split_b": b, **{f"{kind}s": len(keys[kind][a] & keys[kind][b]) for kind in KEYS}}
        for a, b in itertools.combinations(rows_by_split, 2)
    ]
    return pd.DataFrame(table, columns=["split_a", "split_b", *(f"{kind}s" for kind in KEYS)])


def remove(rows: Sequence[Utterance], field: str, values: Collection[str]) -> list[Utterance]:
    """The rows without those whose `field` is one of `values`. A value that removes nothing is a UserError: a
    list of banned names in another spelling would otherwise be ignored in silence."""
    found = {str(getattr(row, field)) for row in rows}
    idle = sorted(set(values) - found)
    if idle:
        raise UserError(
            f"asked to remove {field} {idle[0]} ({len(idle)} such), found no row with it; check the spelling"
        )
    return [row for row in rows if getattr(row, field) not in values]


def _text(row: Utterance) -> str:
    kept = (
        c if unicodedata.category(c)[0] in "LNM" else " " for c in unicodedata.normalize("NFKC", row.text).casefold()
    )
    return " ".join("".join(kept).split())


KEYS: dict[str, Callable[[Utterance], str]] = {
    "speaker": lambda row: row.speaker.removeprefix("-"),
    "channel": lambda row: row.channel,
    "recording": lambda row: row.sha256,
    "text": _text,
}


def _assert_disjoint(kind: str, a: str, rows_a: Sequence[Utterance], b: str, rows_b: Sequence[Utterance]) -> None:
    key = KEYS[kind]
    if kind == "speaker":
        nameless = [row.id for row in (*rows_a, *rows_b) if not row.speaker]
        if nameless:
            found = counted(len(nameless), "row")
            raise UserError(f"splits {a} and {b}: {found} without a speaker, first {nameless[0]}; name them")
    first: dict[str, str] = {}
    for row in rows_a:
        first.setdefault(key(row), row.id)
    shared = sorted({(key(row), row.id) for row in rows_b if key(row) and key(row) in first})
    if shared:
        names = sorted({name for name, _ in shared})
        listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise UserError(
            f"splits {a} and {b} share {counted(len(names), kind)}: {listed} "
            f"(rows {first[shared[0][0]]} and {shared[0][1]}); move or remove them"
        )
