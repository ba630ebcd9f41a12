from __future__ import annotations

from pathlib import Path

from harness import paths


def test_the_environment_moves_both_and_a_tilde_is_home(monkeypatch, tmp_path):
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "c"))
    monkeypatch.setenv("POST_SUPERB_RUNS", "~/r")
    assert paths.cache_dir() == tmp_path / "c"
    assert paths.runs_dir() == Path.home() / "r"


def test_defaults(monkeypatch, tmp_path):
    monkeypatch.delenv("POST_SUPERB_CACHE", raising=False)
    monkeypatch.setenv("POST_SUPERB_RUNS", "")
    monkeypatch.chdir(tmp_path)
    assert paths.cache_dir() == Path.home() / ".cache" / "post-superb"
    assert paths.runs_dir() == paths.ROOT / "runs"
    assert (paths.ROOT / "harness" / "paths.py").is_file()
