"""Names to things, lazily: "module:attr" strings are imported when asked for, never when listed."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable
from typing import Any

from harness.errors import UserError

NAME = re.compile(r"^[a-z0-9][a-z0-9_.+@:-]*$", re.IGNORECASE)


def resolve(target: str) -> Any:
    """Import "module:attr". Only ever called with strings of our own catalogues, never with a user's."""
    module, _, attr = target.partition(":")
    return getattr(importlib.import_module(module), attr)


def suggest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' or the empty string."""
    lowered = {one.lower(): one for one in sorted(known)}
    near = [lowered[one] for one in difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.5)]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name nobody registered."""
    names = sorted(known)
    near = suggest(name, names)
    return UserError(
        f"unknown {kind} {name!r}{near}" if near else f"unknown {kind} {name!r}; known: {', '.join(names)}"
    )


class Registry:
    """A catalogue of one kind of thing. A duplicate name is an error; a wrong one gets a suggestion."""

    def __init__(self, kind: str, targets: dict[str, str] | None = None):
        self.kind = kind
        self._targets: dict[str, str] = {}
        for name, target in (targets or {}).items():
            self.register(name, target)

    def register(self, name: str, target: str) -> None:
        if name in self._targets:
            raise ValueError(f"{self.kind} {name!r} is registered twice: {self._targets[name]} and {target}")
        self._targets[name] = target

    def names(self) -> list[str]:
        return sorted(self._targets)

    def load(self, name: str) -> Any:
        """The thing itself. Raises UserError for an unknown name."""
        if name not in self._targets:
            raise unknown(self.kind, name, self._targets)
        return resolve(self._targets[name])
