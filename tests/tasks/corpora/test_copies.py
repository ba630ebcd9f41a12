"""The ways in which people's copies differ: the same rows where that is possible, and a line to read where not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import miniature
import pytest
from test_layouts import got

from harness.errors import UserError


def names(root: Path, tmp_path: Path, corpus: str = "voxceleb1") -> list[tuple[str, str, str]]:
    return [(u.id, u.split, u.sha256) for u in got(corpus, root, tmp_path).rows]


@pytest.fixture
def whole(trees: Path, tmp_path: Path) -> list[tuple[str, str, str]]:
    return names(trees / "voxceleb1", tmp_path)


def test_an_extra_level(trees: Path, tmp_path: Path, whole: list[tuple[str, str, str]]) -> None:
    shutil.copytree(trees / "voxceleb1", tmp_path / "more" / "corpora" / "vox")
    assert names(tmp_path / "more", tmp_path) == whole


def test_one_level_less(trees: Path, tmp_path: Path, whole: list[tuple[str, str, str]]) -> None:
    """dev and test in one folder: who is a test speaker is known by name."""
    for part in ("dev", "test"):
        shutil.copytree(trees / "voxceleb1" / part / "wav", tmp_path / "flat", dirs_exist_ok=True)
    for name in ("iden_split.txt", "veri_test.txt", "vox1_meta.csv"):
        shutil.copy(trees / "voxceleb1" / name, tmp_path / name)  # beside the folder
    assert names(tmp_path / "flat", tmp_path) == whole


def test_flac_for_wav_is_the_same_data(tmp_path: Path, whole: list[tuple[str, str, str]]) -> None:
    assert names(miniature.voxceleb1(tmp_path / "flac", ".flac"), tmp_path) == whole


def test_wav_for_flac(trees: Path, tmp_path: Path) -> None:
    wav = names(miniature.librispeech(tmp_path / "wav", ".wav"), tmp_path, "librispeech")
    assert wav == names(trees / "librispeech", tmp_path, "librispeech")


def test_other_case(trees: Path, tmp_path: Path) -> None:
    shutil.copytree(trees / "librispeech", tmp_path / "LIBRI")
    for split in list((tmp_path / "LIBRI").iterdir()):
        if split.is_dir():
            split.rename(split.with_name(split.name.upper()))
    assert names(tmp_path / "LIBRI", tmp_path, "librispeech") == names(trees / "librispeech", tmp_path, "librispeech")


def test_links(trees: Path, tmp_path: Path, whole: list[tuple[str, str, str]]) -> None:
    root = tmp_path / "linked"
    root.mkdir()
    (root / "dev").symlink_to(trees / "voxceleb1" / "dev")
    (root / "test").symlink_to(trees / "voxceleb1" / "test")
    (root / "again").symlink_to(root)  # a loop
    (root / "gone").symlink_to(tmp_path / "nothing")
    for name in ("iden_split.txt", "veri_test.txt"):
        shutil.copy(trees / "voxceleb1" / name, root / name)
    assert names(root, tmp_path) == whole
    assert any("gone is a link to nothing" in gap for gap in got("voxceleb1", root, tmp_path).gaps)


def test_a_duplicated_tree_counts_once(trees: Path, tmp_path: Path, whole: list[tuple[str, str, str]]) -> None:
    shutil.copytree(trees / "voxceleb1", tmp_path / "two")
    shutil.copytree(tmp_path / "two" / "test", tmp_path / "two" / "dev", dirs_exist_ok=True)
    found = got("voxceleb1", tmp_path / "two", tmp_path)
    assert [(u.id, u.split, u.sha256) for u in found.rows] == whole
    assert any("12 files there twice, first " in gap for gap in found.gaps)


def test_m4a_is_named_with_what_to_do(tmp_path: Path) -> None:
    root = tmp_path / "vox"
    (root / "dev" / "aac" / "id10001" / "AbCdEfGhIj0").mkdir(parents=True)
    (root / "dev" / "aac" / "id10001" / "AbCdEfGhIj0" / "00001.m4a").write_bytes(b"\0" * 64)
    with pytest.raises(UserError, match=r"nothing .*\(1 file in a format that is not read here, first dev/aac.*ffmpeg"):
        got("voxceleb1", root, tmp_path)


def test_the_command_for_m4a_survives_blanks_and_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an ffmpeg that copies its input, a wav by another name here."""
    root = miniature.voxceleb1(tmp_path / "vox celeb")
    for path in list(root.glob("test/wav/**/*.wav")):
        path.rename(path.with_suffix(".m4a"))
    gaps = got("voxceleb1", root, tmp_path / "m").gaps
    assert "12 files in a format that is not read here, first test/" in gaps[0]
    assert "of the identification list not there" in "; ".join(gaps[1:])
    (tmp_path / "bin").mkdir()
    ffmpeg = tmp_path / "bin" / "ffmpeg"
    ffmpeg.write_text('#!/bin/sh\n[ "$1 $2" = "-nostdin -i" ] && cp "$3" "$8"\n')
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    subprocess.run(["bash", "-c", gaps[0].split("`")[1]], check=True)
    for path in list(root.rglob("*.m4a")):
        path.unlink()
    assert not any("not there" in gap for gap in got("voxceleb1", root, tmp_path / "m").gaps)


def test_a_web_page_in_place_of_a_list_is_named(tmp_path: Path) -> None:
    root = miniature.voxceleb1(tmp_path / "vox")
    (root / "veri_test.txt").write_text("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>\n")
    found = got("voxceleb1", root, tmp_path / "m")
    with pytest.raises(UserError, match=r"veri_test.txt is a web page \(HTML\) and no list: verification \(task asv\)"):
        found.trials("voxceleb1_o", [])


def test_transcripts_that_are_empty_or_there_twice(tmp_path: Path) -> None:
    root = miniature.librispeech(tmp_path / "ls")
    first = root / "dev-clean" / "21" / "198" / "21-198.trans.txt"
    first.write_text("21-198-0000 HELLO WORLD\n21-198-0001 \n21-198-0000 HELLO ONE\n")
    found = got("librispeech", root, tmp_path / "m")
    lines = "\n".join(found.gaps)
    here = "dev-clean/21/198/21-198"
    assert f"1 file without a text in its line in a .trans.txt, first {here}-0001.flac: left out" in lines
    assert f"1 id with two texts, first 21-198-0000 in {here}.trans.txt: the first text is used" in lines
    assert "without a line" not in lines
    assert {u.id: u.text for u in found.rows if u.speaker == "ls-21"} == {"21-198-0000": "HELLO WORLD"}


def test_missing_lists(tmp_path: Path) -> None:
    found = got("voxceleb1", miniature.voxceleb1(tmp_path / "vox", lists=False), tmp_path)
    assert any(gap.startswith("no iden_split.txt or veri_test_class.txt: ") for gap in found.gaps)
    assert "iden_train" not in found.counts and found.counts["train"]["rows"]
    with pytest.raises(UserError, match="has no trials 'voxceleb1_o': .*no voxceleb1_test_v2.txt or veri_test.txt"):
        found.trials("voxceleb1_o", [])


def test_a_list_that_comes_later_is_seen(trees: Path, tmp_path: Path) -> None:
    root = miniature.voxceleb1(tmp_path / "here" / "vox", lists=False)
    assert "iden_train" not in got("voxceleb1", root, tmp_path).counts
    shutil.copy(trees / "voxceleb1" / "iden_split.txt", root.parent)
    assert "iden_train" in got("voxceleb1", root, tmp_path).counts


def test_a_half_finished_download(trees: Path, tmp_path: Path) -> None:
    root = tmp_path / "half"
    shutil.copytree(trees / "voxceleb1", root)
    shutil.rmtree(root / "test" / "wav" / "id10271")
    broken = root / "dev" / "wav" / "id10001" / "AbCdEfGhIj0"
    (broken / "00001.wav").write_bytes(b"RIFF")
    (broken / "00002.wav").write_bytes(b"")
    (root / "vox1_dev_wav_partaa.part").write_bytes(b"x")
    (root / "vox1_test_wav.zip").write_bytes(b"PK")
    found = got("voxceleb1", root, tmp_path)
    gaps = "\n".join(found.gaps)
    assert "6 files of the identification list not there, first id10271" in gaps
    assert "2 files cannot be read and left out, first dev/wav/id10001/AbCdEfGhIj0/00001.wav" in gaps
    assert "1 unfinished download, first vox1_dev_wav_partaa.part; finish it" in gaps
    assert found.packed[0].startswith("vox1_test_wav.zip (the 40 test speakers) cannot be opened (File is not a zip")
    assert "of the trial list not there, first id10271" in gaps and "no test" in gaps


def test_half_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "ls").mkdir()
    (tmp_path / "ls" / "dev-clean.tar.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"nothing of it .*dev-clean.tar.gz \(dev-clean\) cannot be opened \("):
        got("librispeech", tmp_path / "ls", tmp_path)


def test_a_corpus_in_the_wrong_place(trees: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus librispeech: nothing of it found in .*iemocap; wanted LibriSpeech/"):
        got("librispeech", trees / "iemocap", tmp_path)


def test_missing_labels_and_test_set(tmp_path: Path) -> None:
    root = miniature.speech_commands(tmp_path / "gsc")
    shutil.rmtree(root / "speech_commands_test_set_v0.01")
    shutil.rmtree(root / "speech_commands_v0.01" / "_background_noise_")
    gaps = "\n".join(got("speech_commands", root, tmp_path).gaps)
    assert "no folder speech_commands_test_set_v0.01: no test" in gaps and "no silence to train on" in gaps
    root = miniature.iemocap(tmp_path / "iemocap")
    for session in root.iterdir():
        shutil.rmtree(session / "dialog")
    with pytest.raises(UserError, match="no dialog/EmoEvaluation"):
        got("iemocap", root, tmp_path)
