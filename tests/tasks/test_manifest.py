"""Manifests, trial lists and splits: what is read back, and one line with file and row for what is wrong."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.contracts import Utterance
from harness.errors import UserError
from tasks import manifest

SHA = "ab" * 32
GOOD = {
    "id": "u1",
    "corpus": "c",
    "split": "train",
    "archive": "audio.zip",
    "member": "a/1.flac",
    "start": "0.0",
    "duration": "1.5",
    "rate": "16000",
    "speaker": "s1",
    "speaker_known": "sure",
    "language": "en",
    "channel": "studio",
    "text": "Hello, you",
    "phones": "",
    "label": "",
    "source": "made",
    "licence": "CC0-1.0",
    "sha256": SHA,
}


def write(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = manifest.COLUMNS) -> Path:
    lines = [",".join(columns)]
    for row in rows:
        lines.append(",".join('"' + row.get(name, "").replace('"', '""') + '"' for name in columns))
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def utterance(**changes: Any) -> Utterance:
    values: dict[str, Any] = {
        **GOOD,
        "archive": None,
        "start": 0.0,
        "duration": 1.5,
        "rate": 16_000,
        **changes,
    }
    return Utterance(**values)


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_every_column_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (row,) = manifest.read_manifest(tmp_path)
    assert row == manifest.read_manifest(path)[0]
    assert row == utterance(archive=tmp_path.resolve() / "audio.zip")
    assert list(manifest.COLUMNS) == list(GOOD)


@pytest.mark.parametrize("name", ["nan", "NA", "None", "null", "007", "1e5", "TRUE"])
def test_text_stays_text(tmp_path: Path, name: str) -> None:
    write(tmp_path, {**GOOD, "speaker": name, "label": name, "text": name})
    (row,) = manifest.read_manifest(tmp_path)
    assert (row.speaker, row.label, row.text) == (name, name, name)


def test_a_row_without_archive_is_a_file_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, "archive": ""})
    (row,) = manifest.read_manifest(tmp_path)
    assert row.archive is None and row.member == str(tmp_path.resolve() / "a/1.flac")


def test_columns_may_come_in_any_order_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, columns=manifest.COLUMNS[::-1])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert manifest.read_manifest(path)[0].id == "u1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "a b"}, ["id", "'a b'"]),
        ({"id": ""}, ["id"]),
        ({"id": "../x"}, ["id"]),
        ({"id": "u1\n"}, ["id"]),
        ({"start": "x"}, ["start", "'x'"]),
        ({"start": "-1"}, ["start", "'-1'"]),
        ({"start": "nan"}, ["start", "finite"]),
        ({"duration": ""}, ["duration"]),
        ({"duration": "0"}, ["duration", "above 0"]),
        ({"duration": "-2"}, ["duration"]),
        ({"duration": "inf"}, ["duration", "finite"]),
        ({"rate": "16k"}, ["rate", "'16k'"]),
        ({"rate": "0"}, ["rate"]),
        ({"rate": "16000.0"}, ["rate"]),
        ({"speaker_known": "maybe"}, ["speaker_known", "sure or doubtful"]),
        ({"sha256": ""}, ["sha256"]),
        ({"sha256": "xyz"}, ["sha256"]),
        ({"split": ""}, ["split"]),
        ({"member": ""}, ["member"]),
        ({"member": "../1.flac"}, ["'../1.flac'"]),
        ({"member": "a/../../1.flac"}, ["'..'"]),
        ({"member": "/etc/passwd"}, ["absolute"]),
        ({"archive": "", "member": "/etc/passwd"}, ["absolute"]),
        ({"archive": "../audio.zip"}, ["'../audio.zip'"]),
        ({"archive": "/audio.zip"}, ["absolute"]),
        ({"archive": "..\\audio.zip"}, ["'..'"]),
        ({"archive": "C:\\audio.zip"}, ["absolute"]),
    ],
)
def test_a_bad_field_names_file_and_row(tmp_path: Path, change: dict[str, str], words: list[str]) -> None:
    path = write(tmp_path, GOOD, {**GOOD, "id": "u2", **change})
    refused(lambda: manifest.read_manifest(path), f"{path} row 3", *words)


def test_duplicate_id(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, {**GOOD, "id": "u2"}, GOOD)
    refused(lambda: manifest.read_manifest(path), f"{path} row 4", "id u1 is also row 2")


def test_missing_unknown_and_repeated_columns(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, columns=manifest.COLUMNS[1:])
    refused(lambda: manifest.read_manifest(path), f"{path} row 1", "missing ['id']")
    path = write(tmp_path, GOOD, columns=(*manifest.COLUMNS, "speker"))
    refused(lambda: manifest.read_manifest(path), f"{path} row 1", "unknown ['speker']")
    path = write(tmp_path, GOOD, columns=(*manifest.COLUMNS, "id"))
    refused(lambda: manifest.read_manifest(path), f"{path} row 1", "twice")


def test_ragged_row_bad_quoting_bad_bytes_and_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    good = path.read_bytes()
    path.write_bytes(good + b"u2,c\n")
    refused(lambda: manifest.read_manifest(path), f"{path} row 3", "found 2")
    path.write_bytes(good + b'"u2"x,c\n')
    refused(lambda: manifest.read_manifest(path), f"{path} row 3", "not valid CSV")
    path.write_bytes(good + b"\xff\xfe")
    refused(lambda: manifest.read_manifest(path), "UTF-8")
    write(tmp_path)
    refused(lambda: manifest.read_manifest(path), "no rows")
    path.write_bytes(b"")
    refused(lambda: manifest.read_manifest(path), "row 1", "missing")


def test_missing_manifest(tmp_path: Path) -> None:
    refused(lambda: manifest.read_manifest(tmp_path), str(tmp_path / "manifest.csv"), "No such file")


def test_symbolic_links_may_not_leave_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "audio.zip").write_bytes(b"")
    (inside / "audio.zip").symlink_to(outside / "audio.zip")
    (inside / "far").symlink_to(outside, target_is_directory=True)
    path = write(inside, GOOD)
    refused(lambda: manifest.read_manifest(path), "row 2", "symbolic link")
    write(inside, {**GOOD, "archive": "", "member": "far/x.wav"})
    refused(lambda: manifest.read_manifest(path), "row 2", "symbolic link")
    (inside / "real.zip").write_bytes(b"")
    (inside / "near.zip").symlink_to(inside / "real.zip")
    write(inside, {**GOOD, "archive": "near.zip"})
    assert manifest.read_manifest(path)[0].archive == inside.resolve() / "near.zip"


def test_write_then_read_is_the_same_and_bytes_repeat(tmp_path: Path) -> None:
    archive = tmp_path.resolve() / "audio.zip"
    rows = [
        utterance(archive=archive, start=0.1, duration=1 / 3, text='say "nan", is\nit'),
        utterance(id="u2", member=str(tmp_path.resolve() / "b.wav"), speaker="NA", text="ça va ? 日本"),
    ]
    path = tmp_path / "manifest.csv"
    manifest.write_manifest(rows, path)
    first = path.read_bytes()
    assert manifest.read_manifest(path) == rows
    manifest.write_manifest(iter(rows), path)
    assert path.read_bytes() == first
    assert b"\r" not in first and first.startswith(b"id,corpus,split,archive,member,start,duration,rate,speaker,")
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.csv"]


def test_write_refuses_what_read_would_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text("before")
    archive = tmp_path / "audio.zip"
    refused(lambda: manifest.write_manifest([utterance(archive=archive)] * 2, path), "row 3", "u1")
    refused(lambda: manifest.write_manifest([utterance(archive=archive, duration=0.0)], path), "duration")
    refused(lambda: manifest.write_manifest([utterance(archive=Path("/else/audio.zip"))], path), "outside")
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


TRIALS = "trial,enrol,test,target,same_language,same_channel,same_gender"


def trial_list(folder: Path, *lines: str) -> Path:
    path = folder / "trials.csv.gz"
    path.write_bytes(gzip.compress("\n".join([TRIALS, *lines, ""]).encode()))
    return path


def test_trials_are_read_in_order(tmp_path: Path) -> None:
    path = trial_list(tmp_path, "t2,a,b,1,1,0,", "t1,a,NA,0,,1,0")
    trials = manifest.read_trials(path, {"a", "b", "NA", "c"})
    assert [(t.id, t.enrol, t.test, t.target) for t in trials] == [
        ("t2", "a", "b", True),
        ("t1", "a", "NA", False),
    ]
    table = manifest.trial_table(path)
    assert list(table.columns) == TRIALS.split(",")
    assert table["target"].tolist() == [True, False]
    assert table["same_language"].isna().tolist() == [False, True]
    assert bool(table["same_channel"][0]) is False and bool(table["same_channel"][1]) is True


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("t1,a,c,0,1,1,1", ["trial t1", "listed twice"]),
        ("t9,a,b,1,1,1,1", ["a against b", "listed twice"]),
        ("t9,a,a,1,1,1,1", ["with itself"]),
        ("t9,a,d,yes,1,1,1", ["target 0 or 1", "'yes'"]),
        ("t9,a,d,,1,1,1", ["target 0 or 1"]),
        ("t9,a,d,1,2,1,1", ["same_language"]),
        ("t9,,d,1,1,1,1", ["filled"]),
    ],
)
def test_a_bad_trial_names_its_row(tmp_path: Path, line: str, words: list[str]) -> None:
    path = trial_list(tmp_path, "t1,a,b,1,1,1,1", "t2,b,c,0,1,1,1", line)
    refused(lambda: manifest.read_trials(path, {"a", "b", "c", "d"}), f"{path} row 4", *words)


def test_trials_of_one_class_or_unknown_ids_or_damaged(tmp_path: Path) -> None:
    path = trial_list(tmp_path, "t1,a,b,1,1,1,1", "t2,b,c,1,1,1,1")
    refused(lambda: manifest.read_trials(path, {"a", "b", "c"}), str(path), "one class")
    path = trial_list(tmp_path, "t1,a,b,1,1,1,1", "t2,b,zz,0,1,1,1")
    refused(lambda: manifest.read_trials(path, {"a", "b"}), str(path), "first zz")
    path.write_bytes(path.read_bytes()[:-12])
    refused(lambda: manifest.trial_table(path), str(path), "cannot be read")
    refused(lambda: manifest.trial_table(tmp_path / "none.csv.gz"), "none.csv.gz")


def test_select() -> None:
    rows = [utterance(), utterance(id="u2", split="test"), utterance(id="u3", speaker="s2")]
    assert [row.id for row in manifest.select(rows, split="train", speaker="s1")] == ["u1"]
    assert manifest.select(rows) == rows
    refused(lambda: manifest.select(rows, splt="train"), "splt", "split")
    refused(lambda: manifest.select(rows, split="dev"), "split=dev", "test, train")


def splits() -> dict[str, list[Utterance]]:
    return {
        "train": [utterance(sha256="1" * 64), utterance(id="u2", speaker="s2", sha256="2" * 64, text="bye")],
        "dev": [utterance(id="u3", speaker="s3", sha256="3" * 64, text="HELLO  you!")],
        "test": [utterance(id="u4", speaker="s4", sha256="2" * 64, text="")],
    }


def test_disjoint_names_what_overlaps() -> None:
    rows = splits()
    manifest.disjoint(rows, {"speaker": "all", "recording": [["train", "dev"]], "text": [["train", "test"]]})
    refused(lambda: manifest.disjoint(rows, {"recording": "all"}), "train and test", "2" * 64, "u2 and u4")
    refused(lambda: manifest.disjoint(rows, {"text": [["dev", "train"]]}), "dev and train", "hello you")
    rows["test"].append(utterance(id="u5", speaker="s3"))
    refused(
        lambda: manifest.disjoint(rows, {"speaker": [["train", "dev", "test"]]}),
        "dev and test",
        "1 speaker: s3",
    )


def test_disjoint_refuses_what_it_cannot_check() -> None:
    rows = splits()
    refused(lambda: manifest.disjoint(rows, {"speakers": "all"}), "speakers", "known are speaker")
    refused(lambda: manifest.disjoint(rows, {"speaker": [["train", "tset"]]}), "tset")
    refused(lambda: manifest.disjoint(rows, {"speaker": [["train"]]}), "two or more")
    refused(lambda: manifest.disjoint(rows, {"speaker": "train"}), "'all'")
    rows["dev"] = [dataclasses.replace(rows["dev"][0], speaker="")]
    refused(lambda: manifest.disjoint(rows, {"speaker": "all"}), "1 row without a speaker", "u3")


def test_overlap_counts_each_pair_of_splits() -> None:
    table = manifest.overlap(splits())
    assert list(table.columns) == ["split_a", "split_b", "speakers", "channels", "recordings", "texts"]
    assert table.to_numpy().tolist() == [
        ["train", "dev", 0, 1, 0, 1],
        ["train", "test", 0, 1, 1, 0],
        ["dev", "test", 0, 1, 0, 0],
    ]


def test_a_removal_that_removes_nothing_is_an_error() -> None:
    rows = splits()["train"]
    assert [row.id for row in manifest.remove(rows, "speaker", {"s1"})] == ["u2"]
    refused(lambda: manifest.remove(rows, "speaker", {"s1", "S-2"}), "S-2", "no row")


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    listing, digest = tmp_path / "SHA256SUMS", hashlib.sha256(b"abc").hexdigest()
    listing.write_text(f"{digest}  a.bin\n")
    assert manifest.verify_checksums(tmp_path) == ["a.bin"]
    for text, words in [
        (f"{'0' * 64}  a.bin\n", ["a.bin", "wanted sha256 000", f"found {digest}"]),
        (f"{digest}  b.bin\n", ["b.bin", "No such file"]),
        (f"{digest}  ../a.bin\n", ["row 1", "'..'"]),
        (f"{digest} a.bin\n", ["row 1", "two spaces"]),
        ("", ["empty"]),
    ]:
        listing.write_text(text)
        refused(lambda: manifest.verify_checksums(tmp_path), *words)
    listing.unlink()
    refused(lambda: manifest.verify_checksums(tmp_path), "SHA256SUMS", "No such file")
