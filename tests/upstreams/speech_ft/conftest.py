from __future__ import annotations

from pathlib import Path

import pytest
from made_up_weights import tensors, write


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of a pre-trained model and of one fine-tuned from it."""
    return write(tmp_path / "pre", tensors(0)), write(tmp_path / "fine", tensors(1))
