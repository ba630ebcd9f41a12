"""A progress bar for long work; silent where the output is not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int | None = None, *, initial: int = 0) -> Iterator[T]:
    """Iterate over `items`, showing how far along `what` is: of several processes the first alone."""
    hide = True if os.environ.get("RANK", "0") != "0" else None
    yield from tqdm(
        items, desc=what, total=total, initial=initial, file=sys.stderr, disable=hide, leave=False, dynamic_ncols=True
    )


def note(line: str) -> None:
    """A line on the standard error stream, above a running bar where there is one."""
    tqdm.write(line, file=sys.stderr)
