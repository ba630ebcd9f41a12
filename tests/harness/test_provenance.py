"""Which changes make a tree another one than its commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness import provenance


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, for ROOT."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "run.py").write_text("1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for line in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *line], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ((), False),
        (("leaderboard/costs/fbank.json", "leaderboard/analyses/vib/a.csv"), False),
        (("harness/run.py",), True),
        (("leaderboard/costs/fbank.json", "harness/new.py"), True),
        (("leaderboard/build.py",), True),
    ],
)
def test_only_what_nothing_is_computed_from_may_change(tree: Path, changed: tuple[str, ...], dirty: bool) -> None:
    for name in changed:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("2\n")
    head, found = provenance.commit()
    assert found is dirty and len(head) == 40


def test_without_a_repository_nothing_counts_as_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == ("unknown", True)
