"""The adapter from lhotse's manifests: what a row becomes, and what is left out with a line that says why."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import miniature_ood as made
import pytest
from test_layouts import got
from test_ood_layouts import counts, option

from harness.config import Rows
from harness.errors import UserError
from harness.text import normalise
from tasks import catalogue
from tasks.prepared import prepared

needed = pytest.mark.skipif(find_spec("lhotse") is None, reason="the extra `corpora` is not installed")


@needed
def test_recordings_and_supervisions_become_rows(tmp_path: Path) -> None:
    root = made.lhotse(tmp_path / "m", tmp_path / "audio")
    found = option("lhotse", root, tmp_path, label="emotion", labels="angry=ang,happy=hap")
    assert found.gaps == [] and counts(found) == {"test": 2, "test_digits": 1, "test_labelled": 2}
    first, whole, cut = found.rows
    assert first.id.startswith("a_b-1-") and (whole.id, cut.id) == ("c-1", "c-2")
    assert (whole.speaker, whole.language, whole.text, whole.label) == ("tiny-S1", "en", "Hello there.", "ang")
    assert (cut.start, cut.duration, cut.rate, cut.label) == (0.5, 1.0, 16000, "")
    assert whole.sha256 == cut.sha256 != first.sha256 and whole.member == str(tmp_path / "audio" / "c.wav")


@needed
def test_a_changed_recording_is_seen(tmp_path: Path) -> None:
    root = made.lhotse(tmp_path / "m", tmp_path / "audio")
    assert len(option("lhotse", root, tmp_path).rows) == 3
    (tmp_path / "audio" / "c.wav").write_bytes(b"RIFF")
    found = option("lhotse", root, tmp_path)
    assert len(found.rows) == 1 and any("1 file cannot be read and left out" in gap for gap in found.gaps)


@needed
def test_relative_paths_begin_where_the_option_says(tmp_path: Path) -> None:
    root = made.lhotse(tmp_path / "m", tmp_path / "audio", absolute=False)
    with pytest.raises(UserError, match="left out: no audio at a_b.wav"):
        option("lhotse", root, tmp_path)
    assert len(option("lhotse", root, tmp_path, audio=str(tmp_path / "audio")).rows) == 3
    assert len(option("lhotse", root, tmp_path, audio="../audio").rows) == 3, "relative to the manifests"


@needed
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"type": "file", "channels": [1], "source": "x.wav"}, "of several channels"),
        ({"type": "file", "channels": [0, 1], "source": "x.wav"}, "of several channels"),
        ({"type": "command", "channels": [0], "source": "cat x"}, "is no plain file"),
        ({"type": "file", "channels": [0], "source": "/no/such.wav"}, "no audio at /no/such.wav"),
    ],
)
def test_what_is_no_row_is_said(source: dict[str, object], why: str, tmp_path: Path) -> None:
    root = made.lhotse(tmp_path / "m", tmp_path / "audio", sources=[source], channel_ids=source["channels"])
    with pytest.raises(UserError, match=f"nothing of it found .*3 supervisions left out: .*{why}"):
        option("lhotse", root, tmp_path)


@needed
def test_several_corpora_in_a_folder(tmp_path: Path) -> None:
    root = made.lhotse(made.lhotse(tmp_path / "m", tmp_path / "audio"), tmp_path / "audio", prefix="libritts")
    with pytest.raises(UserError, match=r"found libritts, tiny; .* options: \{prefix: libritts\}"):
        option("lhotse", root, tmp_path)
    assert {u.speaker for u in option("lhotse", root, tmp_path, prefix="libritts").rows} == {"ls-S1"}


@needed
def test_half_a_pair_and_a_file_that_is_no_manifest(tmp_path: Path) -> None:
    root = made.lhotse(tmp_path / "m", tmp_path / "audio")
    (root / "tiny_recordings_dev.jsonl").write_text("")
    assert any("split dev: recordings without the other" in gap for gap in option("lhotse", root, tmp_path).gaps)
    (root / "tiny_supervisions_TEST.jsonl.gz").unlink()
    (root / "tiny_supervisions_TEST.jsonl").write_text(json.dumps({"what": 1}) + "\n")
    with pytest.raises(UserError, match="a manifest that lhotse .* reads wanted"):
        option("lhotse", root, tmp_path)


def test_without_lhotse_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(UserError, match=r"lhotse wanted for its manifests.*pip install -e '\.\[corpora\]'"):
        option("lhotse", made.lhotse(tmp_path / "m", tmp_path / "audio"), tmp_path)


@needed
def test_a_stanza_each_is_enough(tmp_path: Path, folders: Callable[..., Path]) -> None:
    """What a user writes: an entry in corpora.yaml, and in a task's YAML the rows of that name."""
    root = made.lhotse(tmp_path / "m", tmp_path / "audio")
    folders(my_calls=f"{{corpus: lhotse, root: {root}, options: {{language: en}}}}")
    assert prepared("my_calls").counts["test"]["rows"] == 2
    rows = catalogue.Corpora(tmp_path).rows([Rows(corpus="my_calls", split="test")])
    assert [u.text for u in rows] == ["Hello there."] * 2


@needed
def test_l2_arctic_by_lhotse_s_recipe_is_ours(tmp_path: Path) -> None:
    from lhotse.recipes.l2_arctic import prepare_l2_arctic

    root = made.l2_arctic(tmp_path / "l2")
    ours = got("l2_arctic", root, tmp_path)
    (root / "librispeech-lexicon.txt").unlink()  # the recipe takes every .txt for a transcript
    prepare_l2_arctic(root, tmp_path / "manifests of lhotse")
    theirs = option("lhotse", tmp_path / "manifests of lhotse", tmp_path)
    read = [u for u in theirs.rows if u.split in ("read", "read_digits")]
    assert {(u.id.upper(), u.text, u.duration) for u in read} == {(u.id.upper(), u.text, u.duration) for u in ours.rows}
    assert {u.split for u in theirs.rows} == {"read", "read_digits", "suitcase"} and theirs.rows[0].language == "en"


@needed
def test_tedlium_s_segments_and_texts_are_those_of_lhotse_s_recipe(tmp_path: Path) -> None:
    """Its reader of transcripts alone: for sphere files the recipe wants a program."""
    from lhotse.recipes.tedlium import _parse_stm_file

    root = made.tedlium3(tmp_path / "ted")
    listing = next(root.rglob("test/stm/*.stm"))
    theirs = [one for one in _parse_stm_file(listing, "kaldi") if "1984" not in one.text]
    ours = [u for u in got("tedlium3", root, tmp_path).rows if u.split == "test"]
    assert [(u.start, u.duration, normalise(u.text)) for u in ours] == [
        (one.start, one.duration, normalise(one.text)) for one in theirs
    ]
