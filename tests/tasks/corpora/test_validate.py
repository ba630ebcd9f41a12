"""`run.py validate`: complete, usable with gaps, or missing and where to put it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import miniature
import miniature_ood
import numpy as np
import pytest
import soundfile

from harness.cli import main
from tasks import whole
from tasks.corpora import registry
from tasks.corpora.contract import Expected


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora of which the miniature is a complete copy."""
    full = registry.load("iemocap")
    mine = replace(full, expected=[Expected("all", 50, evidence="made up", speakers=10, hours=0.0056)])
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: mine if name == "iemocap" else load(name))


def states(full: bool = False) -> dict[str, whole.State]:
    return {state.name: state for state in whole.states("superb", full)}


def test_complete_or_missing(small: None, trees: Path, folders: Callable[..., Path]) -> None:
    file = folders(iemocap=trees / "iemocap")
    found = states()
    assert found["iemocap"].verdict == "complete" and found["iemocap"].lines == []
    assert (found["iemocap"].rows, found["iemocap"].speakers) == (50, 10)
    assert found["librispeech"].verdict == "missing"
    (line,) = found["librispeech"].lines
    assert "openslr.org/12" in line and "train-clean-100" in line
    assert f"add `librispeech: FOLDER` under `corpora:` in {file}" in line
    assert found["librispeech"].tasks == ["asr", "asr_ood", "pr", "pr_ood"]
    assert found["speech_commands_v2"].tasks == ["ks_ood"]


def test_splits_that_need_not_be_there(tmp_path: Path, folders: Callable[..., Path]) -> None:
    """A corpus that was asked for its test alone, one that names its splits itself, and texts without digits."""
    ted = miniature_ood.tedlium3(tmp_path / "ted")
    for path in ted.rglob("*.stm"):
        path.write_text(path.read_text().replace("1984", "then"))
    lhotse = miniature_ood.lhotse(tmp_path / "m", tmp_path / "m" / "audio")
    cv = miniature_ood.common_voice(tmp_path / "cv")
    folders(common_voice=cv, tedlium3=ted, mine=f"{{corpus: lhotse, root: {lhotse}}}")
    found = states()
    assert found["common_voice"].verdict == found["mine"].verdict == "complete"
    assert not any("nothing for" in line for state in found.values() for line in state.lines)
    assert "dev: 3 rows of 507" in found["tedlium3"].lines[0]


def test_less_than_a_complete_copy(small: None, trees: Path, tmp_path: Path, folders: Callable[..., Path]) -> None:
    shutil.copytree(trees / "iemocap", tmp_path / "less")
    shutil.rmtree(tmp_path / "less" / "Session5" / "sentences")
    folders(iemocap=tmp_path / "less")
    state = states()["iemocap"]
    assert state.verdict == "usable, with gaps"
    short = "all: 40 rows of 50, 8 speakers of 10, 0.0 h of 0.0"
    assert state.lines[:2] == ["nothing for fold5_test", short]
    assert "10 labelled turns without a sentence file" in state.lines[2]


def test_the_list_s_checksum_is_that_of_the_corpus(
    small: None, trees: Path, tmp_path: Path, folders: Callable[..., Path]
) -> None:
    folders(iemocap=trees / "iemocap")
    one = states()["iemocap"].checksum
    folders(iemocap=miniature.iemocap(tmp_path / "x" / "copy"))
    assert states()["iemocap"].checksum == one
    next((tmp_path / "x").rglob("*_F000.wav")).unlink()
    assert states()["iemocap"].checksum != one


def test_full_finds_what_headers_hide(small: None, tmp_path: Path, folders: Callable[..., Path]) -> None:
    root = miniature.iemocap(tmp_path / "iemocap")
    folders(iemocap=root)
    assert states(full=True)["iemocap"].verdict == "complete"
    silent, other = sorted(root.rglob("*_F000.wav"))[:2]
    soundfile.write(silent, np.zeros(6400), 16000)
    kept = other.stat()
    raw = bytearray(other.read_bytes())
    raw[-1] ^= 1
    other.write_bytes(raw)
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    found = states(full=True)["iemocap"]
    assert found.stops and found.verdict == "usable, with gaps"
    lines = "\n".join(found.lines)
    assert f"would stop a run: utterance {silent.stem}" in lines and "found silence" in lines
    assert f"content of 2 files changed, first {silent.relative_to(root)}" in lines
    assert states()["iemocap"].verdict == "complete", "headers alone do not show it"
    assert main(["validate", "iemocap", "--suite", "superb"]) == 0
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    assert main(["validate", "iemocap", "--suite", "superb", "--full"]) == 2


def test_the_command(trees: Path, folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folders(**{path.name: path for path in trees.iterdir()})
    assert main(["validate", "--suite", "superb"]) == 0, "what only an OOD split wants may be missing"
    said = capsys.readouterr().out
    assert "speech_commands_v2: missing\n  - get it from http" in said
    assert "librispeech: usable, with gaps\n" in said and "train-clean-100: 4 rows of 28,539" in said
    folders(iemocap=trees / "iemocap")
    assert main(["validate", "--suite", "superb"]) == 2
    assert main(["validate", "--suite", "mini"]) == 0


def test_of_a_task_or_a_corpus_alone(
    trees: Path, folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folders(iemocap=trees / "iemocap", speech_commands=trees / "speech_commands")
    assert main(["validate", "-d", "er,ks_ood"]) == 0, "mswc and the second release are wanted by OOD splits alone"
    said = capsys.readouterr().out
    listed = [line.split("  ")[0] for line in said.splitlines()[2:] if line and not line.startswith(" ")]
    assert listed[:5] == ["iemocap", "mswc", "mswc_de", "speech_commands", "speech_commands_v2"]
    assert "librispeech" not in said and "er_fold1_ood" not in said
    assert main(["validate", "-d", "asr"]) == 2
    assert main(["validate", "speech_commands"]) == 0
    assert [(one.name, one.tasks) for one in whole.states("superb", of=["asr"], corpora=["iemocap", "mswc"])] == [
        ("iemocap", [f"er_fold{k}" for k in range(1, 6)]), ("librispeech", ["asr"]), ("mswc", ["ks_ood"])
    ]  # fmt: skip
    assert main(["validate", "speech_commands", "emodb"]) == 2, "one that is named has to be there"
    assert "emodb: missing" in capsys.readouterr().out
    assert main(["validate", "emo_db"]) == 2
    assert "unknown corpus 'emo_db'; did you mean emodb" in capsys.readouterr().err
    assert main(["validate", "-d", "asv_odd"]) == 2
    assert "unknown task 'asv_odd'; did you mean asv_ood" in capsys.readouterr().err


def test_a_class_without_a_row(tmp_path: Path, folders: Callable[..., Path]) -> None:
    root = miniature.speech_commands(tmp_path / "sc")
    folders(speech_commands=root)
    assert not any("no row of" in line for line in states()["speech_commands"].lines)
    shutil.rmtree(root / "speech_commands_test_set_v0.01" / "_silence_")
    for path in root.glob("speech_commands_v0.01/*/*"):
        if path.name[:8] in miniature.codes("dev", 1):
            path.unlink()
    lines = states()["speech_commands"].lines
    assert "test: no row of class _silence_; complete the copy" in lines
    assert any(line.startswith("dev: no row of 11 classes, _unknown_, down, go, left,") for line in lines)
    assert any(line.startswith("nothing for dev_words; from speech_commands_v0.01.tar.gz of http") for line in lines)


def test_a_session_without_labels(tmp_path: Path, folders: Callable[..., Path]) -> None:
    root = miniature.iemocap(tmp_path / "iemocap")
    shutil.rmtree(root / "Session3" / "dialog" / "EmoEvaluation")
    folders(iemocap=root)
    lines = states()["iemocap"].lines
    assert lines[0].startswith("nothing for fold3_test")
    assert any("no Session3/dialog/EmoEvaluation/*.txt: its 14 turns have no label, so fold3 has no test" in line
               for line in lines)  # fmt: skip


def test_splits_that_the_option_leaves_out_are_said(tmp_path: Path, folders: Callable[..., Path]) -> None:
    folders(common_voice=miniature_ood.common_voice(tmp_path / "cv"))
    state = states()["common_voice"]
    assert state.verdict == "complete" and "train, dev not read, for the option is `splits: test`" in state.lines
