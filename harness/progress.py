"""How far along long work is: a bar on a terminal; elsewhere, in a log say, now and then a plain line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

EVERY = 60.0
"""Seconds to the first plain line, and at least that many from one to the next."""

clock = time.monotonic
"""Seconds; a test puts its own in its place."""


def progress(items: Iterable[T], what: str, total: int | None = None, *, initial: int = 0) -> Iterator[T]:
    """Iterate over `items`, showing how far along `what` is: of several processes the first alone.

    `initial` of `total` were done before. Off a terminal, lines go to the standard error stream, the first after a
    minute: "training seed 0: 240 of 500, 3.1 min, about 3.4 min left". Minutes are those of this call.
    """
    if os.environ.get("RANK", "0") != "0":
        yield from items
    elif sys.stderr.isatty():
        yield from tqdm(
            items, desc=what, total=total, initial=initial, file=sys.stderr, leave=False, dynamic_ncols=True
        )
    else:
        yield from _lines(items, what, total, initial)


def _lines(items: Iterable[T], what: str, total: int | None, initial: int) -> Iterator[T]:
    if total is None and isinstance(items, Sized):
        total = initial + len(items)
    start = last = clock()
    for done, item in enumerate(items):
        now = clock()
        if now - last >= EVERY:
            last = now
            print(_line(what, done, now - start, total, initial), file=sys.stderr, flush=True)
        yield item


def _line(what: str, done: int, seconds: float, total: int | None, initial: int) -> str:
    """`done`: items of this call, in so many seconds. Without a total or a first item nothing is foretold."""
    line = f"{what}: {initial + done:,}"
    line += f", {seconds / 60:.1f} min" if total is None else f" of {total:,}, {seconds / 60:.1f} min"
    if total is None or not done:
        return line
    return f"{line}, about {seconds / done * max(0, total - initial - done) / 60:.1f} min left"


def note(line: str) -> None:
    """A line on the standard error stream, above a running bar where there is one."""
    tqdm.write(line, file=sys.stderr)
