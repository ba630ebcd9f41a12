"""Small recipes."""

from __future__ import annotations

import pytest
from vib_toys import SMALL

from upstreams.vib.settings import PRESETS


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset `mini` in a size for tests."""
    monkeypatch.setitem(PRESETS, "mini", dict.fromkeys(PRESETS["mini"], SMALL))
