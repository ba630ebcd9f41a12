"""Three rooms, and a corpus of four speakers to make babble of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up_sounds import RATE, T60, VOICES, corpus, decay


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    corpus(root / "rooms", {f"room{i}": (f"r{i}", str(t60), decay(t60)) for i, t60 in enumerate(T60)})
    n = np.arange(RATE)
    voices = {
        f"v{i}_{clip}": (f"speaker{i}", "", 0.1 * (i + 1) * np.sin(2 * np.pi * hertz * n / RATE + clip))
        for i, hertz in enumerate(VOICES)
        for clip in range(2)
    }
    corpus(root / "kokoro_asv", voices)
    return root
