"""A head by name, as cells and the bench build it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from harness.contracts import Form, Head
from harness.errors import UserError
from harness.registry import resolve


def build_head(name: str, options: Mapping[str, Any], device: str) -> Head:
    """Raises UserError for an unknown head and for options that it does not take."""
    make = resolve("downstreams.catalogue:HEADS").load(name)
    try:
        head: Head = make(dict(options), device)
    except ValidationError as error:
        # a misspelling explains what is missing
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"head {name}, option {where!r}: {first['msg']}; correct the task's YAML") from error
    except ValueError as error:
        raise UserError(f"{error}; correct the task's YAML") from error
    return head


def reads_test(head: Head) -> Form:
    """The form a head reads dev and test in: its own, unless it crops in training alone."""
    form: Form = getattr(head, "reads_test", head.reads)
    return form
