"""`--dry-run` says the work and does none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cell import CellName, run_cell
from harness.cli import main
from harness.config import Runtime


def test_it_says_what_would_be_done_and_does_nothing(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["-u", "fbank", "-d", "asv_ood", "--suite", "tiny", "--seeds", "0,1", "--out", str(tmp_path / "runs")]
    assert main([*line, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "fbank on asv (tiny), xvector, preset tiny" in text
    for part in ("train", "dev", "test", "band", "others train", "others dev", "others"):
        assert any(row.startswith(f"{part}  ") for row in text.splitlines()), part
    assert "training: 6 updates of 2 micro-batches, 2 learning rates x 2 seeds together, 2 heads:" in text
    assert "passes: 0.01 h of audio once through fbank" in text and "in all about" in text
    assert not (tmp_path / "runs").exists() and not list((tmp_path / "cache").rglob("*.npy"))


def test_clips_of_two_splits_and_of_the_store_are_encoded_once(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["-u", "fbank", "--suite", "tiny", "--out", str(tmp_path / "runs")]
    assert main([*line, "-d", "asv_ood", "--dry-run"]) == 0
    rows = {row.split("  ")[0]: row.split() for row in capsys.readouterr().out.splitlines() if row}
    assert rows["train"][1:4:2] == ["9", "9"]
    assert rows["others"][1:4:2] == ["27", "0"], "its rows are those of test"
    run_cell(CellName("tiny", "asv", "fbank"), Runtime(out=tmp_path / "runs", cache=tmp_path / "cache"))
    assert main([*line, "-d", "asv_ood", "--dry-run"]) == 0
    rows = {row.split("  ")[0]: row.split() for row in capsys.readouterr().out.splitlines() if row}
    assert rows["train"][3] == "0" and rows["band"][3] == "27"
    assert main([*line, "-d", "asv", "--dry-run"]) == 0
    assert "done; it is only read" in capsys.readouterr().out


def test_what_does_not_fit_the_disk_is_said(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-u", "fbank", "-d", "asv", "--suite", "tiny", "--cache-gb", "0", "--dry-run"]) == 0
    assert "of frames do not fit and are encoded at every reading" in capsys.readouterr().out


def test_what_would_stop_the_run_stops_it_now(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-u", "fbank", "-d", "asv", "--suite", "tiny", "--head", "nosuch", "--dry-run"]) == 2
    assert "no head 'nosuch'" in capsys.readouterr().err
    assert main(["-u", "fbank", "-d", "asv,take", "--suite", "tiny", "--head", "xvector", "--dry-run"]) == 2
    said = capsys.readouterr()
    assert "fbank on take: cannot run: task take has no head 'xvector'" in said.out
    assert "fbank on asv (tiny), xvector" in said.out and "1 of 2 cells cannot run" in said.err
