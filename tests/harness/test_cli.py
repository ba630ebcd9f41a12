"""The command line as a user meets it: one clear line for bad input, no traceback, and the verbs' output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.paths import ROOT


def error_line(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 2
    whole = capsys.readouterr().err.strip()
    captured = whole.splitlines()[-1]  # what is to be encoded is told before it
    assert captured.startswith("error: ") and "Traceback" not in whole
    return captured.splitlines()[-1]


def run_tiny(*more: str) -> int:
    return main(["-u", "fbank", "-d", "asv_ood", "--suite", "tiny", *more])


def only_run(tmp_path: Path) -> Path:
    (result,) = (tmp_path / "runs").rglob("result.json")
    return result.parent


def test_a_cell_prints_its_table_and_writes_the_csvs(tiny: Path, tmp_path: Path, capsys) -> None:
    assert run_tiny() == 0
    out = capsys.readouterr().out
    for word in ("test", "ID", "band", "C", "others", "R", "speakers", "EER"):
        assert word in out
    for name in ("leaderboard.csv", "ood.csv"):
        assert "fbank" in (tmp_path / "runs" / name).read_text()


def test_in_domain_only_shows_less(tiny: Path, capsys) -> None:
    assert main(["-u", "fbank", "-d", "asv", "--suite", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "test" in out and "others" not in out


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["-u", "fbnk", "-d", "asv", "--suite", "tiny"], "fbank"),
        (["-u", "fbank", "-d", "asw", "--suite", "tiny"], "did you mean asv"),
        (["-u", "fbank", "-d", "asv", "--suite", "mni"], "unknown suite 'mni'"),
        (["-u", "../../x", "-d", "asv", "--suite", "tiny"], "letters, digits"),
        (["-u", "fbank", "-d", "asv", "--suite", "tiny", "--preset", "huge"], "no preset 'huge'; it has tiny"),
        (["-u", "fbank", "-d", "asv", "--suite", "tiny", "--seeds", "one"], "whole numbers"),
        (["-u", "fbank", "-d", "asv", "--suite", "tiny", "--device", "tpu9"], "device 'tpu9'"),
        (["-u", "fbank"], "-d/--downstream"),
        (["-u", "fbank", "-d", "asv", "--hed", "cosine"], "--hed"),
        (["lst", "tasks"], "did you mean list"),
        (["score", "nowhere"], "no result in nowhere"),
        (["describe", "whisper_tny", "--suite", "tiny"], "did you mean whisper_tiny"),
    ],
)
def test_bad_input_is_one_line(tiny: Path, capsys, argv: list[str], wanted: str) -> None:
    assert wanted in error_line(capsys, *argv)


def test_one_failing_cell_of_several_fails_the_command_and_keeps_the_other(tiny: Path, tmp_path: Path, capsys) -> None:
    assert main(["-u", "fbank,fbnk", "-d", "asv", "--suite", "tiny"]) == 2
    captured = capsys.readouterr()
    assert "1 of 2 cells failed" in captured.err and "fbank on asv" in captured.out
    assert only_run(tmp_path).exists()


def test_score_agrees_and_notices_a_changed_figure(tiny: Path, tmp_path: Path, capsys) -> None:
    run_tiny()
    folder = only_run(tmp_path)
    assert main(["score", str(folder)]) == 0
    assert "same" in capsys.readouterr().out
    saved = json.loads((folder / "result.json").read_text())
    saved["splits"]["test"]["metrics"]["eer"] += 1
    (folder / "result.json").write_text(json.dumps(saved))
    assert "disagree on test eer" in error_line(capsys, "score", str(folder))


def test_status_tells_done_failed_and_interrupted(tiny: Path, tmp_path: Path, capsys) -> None:
    run_tiny()
    folder = only_run(tmp_path)
    main(["status"])
    assert "done" in capsys.readouterr().out
    (folder / "result.json").unlink()
    main(["status"])
    assert "interrupted" in capsys.readouterr().out
    (folder / "failed.txt").write_text("the disk was full\n")
    main(["status"])
    assert "the disk was full" in capsys.readouterr().out


def test_a_full_disk_is_one_line_and_loses_nothing(tiny: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    import errno

    from harness import results

    run_tiny()
    before = (only_run(tmp_path) / "result.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results.os, "fsync", full)
    assert "No space left" in error_line(capsys, "-u", "mfcc", "-d", "asv", "--suite", "tiny")
    assert (only_run(tmp_path) / "result.json").read_bytes() == before
    assert not list((tmp_path / "runs").rglob("*.tmp"))


def test_list_and_describe(capsys) -> None:
    assert main(["list", "tasks"]) == 0 and main(["list", "upstreams"]) == 0
    out = capsys.readouterr().out
    assert "asv_ood" in out and "whisper_tiny" in out and "icl_speaker" in out
    assert main(["describe", "whisper_tiny"]) == 0
    assert "MIT" in capsys.readouterr().out


def test_it_runs_as_a_script_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "harness" / "run.py"), "describe", "nothing_like_it"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_describe_tells_what_is_wrong_with_a_card(monkeypatch, tmp_path: Path, capsys) -> None:
    from upstreams import catalogue

    (tmp_path / "zz.yaml").write_text("family: backbones\nlicens: MIT\n")
    monkeypatch.setattr(catalogue, "CARDS", tmp_path)
    line = error_line(capsys, "describe", "zz")
    assert "unknown key 'licens'; did you mean licence" in line


def test_an_out_folder_that_cannot_be_made_is_one_line(tiny: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("not a folder")
    line = error_line(capsys, "-u", "fbank", "-d", "asv", "--suite", "tiny", "--out", str(tmp_path / "file" / "x"))
    assert "results cannot go to" in line and "--out" in line


def test_a_locale_without_unicode_prints_what_it_can() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    script = [sys.executable, str(ROOT / "harness" / "run.py"), "list", "upstreams"]
    done = subprocess.run(script, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "icl_speaker" in done.stdout, done.stderr


def test_a_broken_task_fails_the_list_and_all_of_them(monkeypatch, capsys):
    monkeypatch.setattr("tasks.catalogue.unreadable", lambda suite: [UserError(f"{suite}.yaml is not readable YAML")])
    assert main(["list", "tasks"]) == 2 and "asv_ood" in capsys.readouterr().out
    assert main(["-u", "fbank", "-d", "all"]) == 2
    assert "all wants every task of mini: mini.yaml is not readable YAML; mend it" in capsys.readouterr().err
