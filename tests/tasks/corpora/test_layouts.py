"""Each corpus module on a miniature of its layout: rows, splits, speakers and labels as SUPERB's own loaders give."""

from __future__ import annotations

import json
import re
import shutil
import sys
import types
from pathlib import Path

import miniature
import pytest

from tasks.corpora import registry
from tasks.corpora.iemocap import folds
from tasks.corpora.speech_commands import part
from tasks.corpora.voxceleb1 import DEV_SPEAKERS, TEST_SPEAKERS
from tasks.folders import Source
from tasks.prepared import Prepared, prepare


def got(name: str, root: Path, tmp_path: Path) -> Prepared:
    return prepare(Source(name, root, registry.load(name)), tmp_path / "manifests")


@pytest.mark.parametrize("name", registry.names())
def test_every_module_says_what_a_user_needs(name: str) -> None:
    corpus = registry.load(name)
    for field in ("title", "page", "licence", "layout", "layout_checked", "seen_by"):
        assert getattr(corpus, field).strip(), field
    assert corpus.splits and {one.split for one in corpus.expected} <= set(corpus.splits)
    assert all(one.evidence and one.files > 0 for one in corpus.expected)
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", split) for split in corpus.splits)


def test_librispeech(trees: Path, tmp_path: Path) -> None:
    found = got("librispeech", trees / "librispeech", tmp_path)
    assert found.gaps == []
    assert {split: one["rows"] for split, one in found.counts.items() if "phones" not in split} == {
        "train-clean-100": 4, "dev-clean": 4, "test-clean": 4, "test-other": 4
    }  # fmt: skip
    first = found.rows[0]
    assert (first.id, first.speaker, first.text) == ("19-198-0000", "ls-19", "HELLO WORLD ONE")
    assert first.phones == "HH AH0 L OW1 | W ER1 L D | W AH1 N"  # the first of two pronunciations
    assert (first.duration, first.rate, first.archive) == (1.0, 16000, None)
    assert Path(first.member) == trees / "librispeech/train-clean-100/19/198/19-198-0000.flac"


def test_a_word_that_the_lexicon_lacks_keeps_its_row_for_letters(tmp_path: Path) -> None:
    root = miniature.librispeech(tmp_path / "ls")
    miniature.text(root / "librispeech-lexicon.txt", "HELLO HH AH0", "ONE W AH1 N", "TWO T UW1", "WORLDS W")
    found = got("librispeech", root, tmp_path)
    assert found.counts["test-clean"]["rows"] == 4 and "test-clean-phones" not in found.counts
    assert any("16 utterances with a word the lexicon lacks, first WORLD" in gap for gap in found.gaps)


def test_voxceleb1(trees: Path, tmp_path: Path) -> None:
    found = got("voxceleb1", trees / "voxceleb1", tmp_path)
    by_id = {u.id: u for u in found.rows}
    assert len(by_id) == 7 * 2 * 3
    assert by_id["id10001-AbCdEfGhIj0-00002"].split == "train iden_dev"
    assert by_id["id10270-CbCdEfGhIj2-00003"].split == "test iden_test"
    assert {u.speaker for u in found.rows if "dev" in u.split.split()} == set(sorted(DEV_SPEAKERS)[:3])
    assert {u.speaker for u in found.rows if "train" in u.split.split()} == {"id10001", "id10002"}


def test_voxceleb1_speakers_are_set_apart() -> None:
    assert len(TEST_SPEAKERS) == len(DEV_SPEAKERS) == 40 and not TEST_SPEAKERS & DEV_SPEAKERS


def test_voxceleb1_trials(trees: Path, tmp_path: Path) -> None:
    found = got("voxceleb1", trees / "voxceleb1", tmp_path)
    speaker = {u.id: u.speaker for u in found.rows}
    test = found.trials("voxceleb1_o", speaker)
    enrol = "id10270-CbCdEfGhIj2-00001"
    assert [(t.target, t.enrol) for t in test][:2] == [(True, enrol), (False, enrol)]
    assert [t.same["gender"] for t in test] == [True, False, True, False]
    dev = found.trials("voxceleb1_dev", speaker)
    assert all(t.target == (speaker[t.enrol] == speaker[t.test]) for t in dev)
    assert all(t.enrol[:-6] != t.test[:-6] for t in dev), "a target of one video is too easy"
    assert {speaker[t.enrol] for t in dev} | {speaker[t.test] for t in dev} == set(sorted(DEV_SPEAKERS)[:3])
    again = prepare(Source("voxceleb1", trees / "voxceleb1", registry.load("voxceleb1")), tmp_path / "other")
    assert again.trials("voxceleb1_dev", speaker) == dev


@pytest.fixture
def librosa(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one function that s3prl's loaders take from a package which is not needed otherwise."""
    util = types.ModuleType("librosa.util")
    util.find_files = lambda folder: sorted(map(str, Path(folder).rglob("*.wav")))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "librosa", types.ModuleType("librosa"))
    monkeypatch.setitem(sys.modules, "librosa.util", util)


def test_iemocap_folds_and_labels_as_s3prl_has_them(librosa: None, trees: Path, tmp_path: Path) -> None:
    from s3prl.downstream.emotion import IEMOCAP_preprocess

    shutil.copytree(trees / "iemocap", tmp_path / "iemocap")
    IEMOCAP_preprocess.main(str(tmp_path / "iemocap"))
    found = got("iemocap", trees / "iemocap", tmp_path)
    for fold in range(1, 6):
        theirs = json.loads((tmp_path / "iemocap" / "meta_data" / f"Session{fold}" / "test_meta_data.json").read_text())
        wanted = {(Path(one["path"]).stem, one["label"]) for one in theirs["meta_data"]}
        assert {(u.id, u.label) for u in found.rows if f"fold{fold}_test" in u.split.split()} == wanted and wanted


def test_speech_commands_splits_as_s3prl_does(librosa: None, trees: Path, tmp_path: Path) -> None:
    from s3prl.dataio.corpus import speech_commands as corpora

    found = got("speech_commands", trees / "speech_commands", tmp_path)
    top = trees / "speech_commands" / "speech_commands_v0.01"
    train, dev = corpora.SpeechCommandsV1.split_dataset(top)
    for split, theirs in (("train_words", train), ("dev_words", dev)):
        ours = {u.member for u in found.rows if split in u.split.split()}
        assert ours == {str(path) for _, path in theirs} and ours


def test_speech_commands_classes_and_silence(trees: Path, tmp_path: Path) -> None:
    found = got("speech_commands", trees / "speech_commands", tmp_path)
    labels = {split: {u.label for u in found.rows if split in u.split.split()} for split in ("train", "dev", "test")}
    assert labels["train"] == labels["dev"] == labels["test"] and len(labels["test"]) == 12
    noise = [u for u in found.rows if u.id.startswith("noise-")]
    assert [(u.start, u.duration) for u in noise if "pink" in u.id] == [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]
    assert {u.split for u in noise if "running_tap" in u.id} == {"dev"}
    assert len({u.sha256 for u in noise}) == 2, "pieces of one recording are one recording"
    assert {u.label for u in found.rows if "/bed/" in u.member} == {"_unknown_"}
    assert part("zzzzzzzz") in ("train", "dev", "")


def test_the_second_release_is_another_corpus(tmp_path: Path) -> None:
    both = miniature.speech_commands(miniature.speech_commands(tmp_path / "gsc"), "0.02")
    for name, version in (("speech_commands", "0.01"), ("speech_commands_v2", "0.02")):
        found = got(name, both, tmp_path)
        assert found.counts["test"]["rows"] == 24 and {f"v{version}" in u.member for u in found.rows} == {True}
        assert found.gaps == []


def test_iemocap(trees: Path, tmp_path: Path) -> None:
    found = got("iemocap", trees / "iemocap", tmp_path)
    assert len(found.rows) == 50 and {u.label for u in found.rows} == {"neu", "hap", "ang", "sad"}
    assert sum(u.label == "hap" for u in found.rows) == 20, "excited counts as happy"
    assert {u.speaker for u in found.rows if "fold2_test" in u.split.split()} == {"iemocap-2F", "iemocap-2M"}
    assert found.rows[0].text == "Excuse me."


def test_iemocap_folds_cover_every_row_once() -> None:
    drawn = {"dev": 0, "train": 0}
    for number in range(500):
        tags = folds(f"Ses01F_impro01_F{number:03d}", 1).split()
        assert tags[:2] == ["all", "fold1_test"] and len(tags) == 6
        drawn["dev"] += sum(tag.endswith("_dev") for tag in tags)
        drawn["train"] += sum(tag.endswith("_train") for tag in tags)
    assert 0.17 < drawn["dev"] / (drawn["dev"] + drawn["train"]) < 0.23


@pytest.mark.parametrize("name", registry.names())
def test_the_table_says_what_the_module_says(name: str) -> None:
    table = (Path(registry.__file__).parents[1] / "superb" / "README.md").read_text().splitlines()
    (row,) = [line for line in table if line.startswith("| ") and f": `{name}` |" in line]
    corpus = registry.load(name)
    assert f"| {corpus.licence} | {corpus.page} | {corpus.layout_checked} |" in row
