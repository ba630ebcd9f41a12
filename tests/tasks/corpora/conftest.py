"""A user's file of folders with the miniatures in it, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import pytest

MAKERS: dict[str, Callable[[Path], Path]] = {
    "librispeech": miniature.librispeech,
    "voxceleb1": miniature.voxceleb1,
    "speech_commands": miniature.speech_commands,
    "iemocap": miniature.iemocap,
}


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four corpora side by side; not to be changed."""
    root = tmp_path_factory.mktemp("trees")
    for name, make in MAKERS.items():
        make(root / name)
    return root


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes corpora.yaml from `name=folder` and puts cache and runs into the test's own folder."""
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POST_SUPERB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("POST_SUPERB_CORPORA", str(tmp_path / "corpora.yaml"))

    def write(**roots: Path | str) -> Path:
        lines = [f"  {name}: {root}\n" for name, root in roots.items()]
        (tmp_path / "corpora.yaml").write_text("corpora:\n" + "".join(lines))
        return tmp_path / "corpora.yaml"

    write()
    return write
