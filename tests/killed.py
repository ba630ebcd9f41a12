"""Ctrl-C at a chosen moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness import train


@contextmanager
def in_training(at: int) -> Iterator[None]:
    """Whatever trains in here is interrupted before this update, and the interruption is expected."""
    update = train._Run.update

    def killed(self: Any, step: int, *args: Any) -> None:
        if step == at:
            raise KeyboardInterrupt
        update(self, step, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Run, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            yield
