"""The result's schema, its tables, and that a write is whole or not at all."""

import errno
import gzip
import hashlib
import json
import os

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import UserError
from harness.results import (
    RunResult,
    atomic_write,
    content_sha256,
    identity_hash,
    load_result,
    read_predictions,
    read_references,
    save_result,
    write_predictions,
    write_references,
)


def plain():
    identity = {"seed": 0, "lrs": [0.001]}
    split = {"kind": "ID", "corpus": "c", "metrics": {"eer": 20.0}, "expected": 10, "scored": 10, "utterances": 6,
             "speakers": 8, "data_sha256": "0", "predictions_sha256": "1", "references_sha256": "2",
             "intervals": {"eer": {"low": 10.0, "high": 30.0, "draws": 1000}}}  # fmt: skip
    upstream = {"name": "u", "family": "f", "base": None, "level": "frame", "dim": 4, "num_layers": 2, "stride": 320,
                "fingerprint": "x", "parameters": 0, "contaminated": "no"}  # fmt: skip
    provenance = {"commit": "c", "dirty": False, "packages": {}, "python": "3", "platform": "p", "device": "cpu",
                  "threads": 1, "started": "2026-01-01T00:00:00Z", "seconds": {}, "peak_memory_mb": 1.0}  # fmt: skip
    return {"suite": "mini", "task": "asv", "upstream": upstream, "head": "xvector", "preset": "mini", "seed": 0,
            "recipe_seed": 0, "metric": "eer", "higher_is_better": False, "identity": identity,
            "identity_hash": identity_hash(identity), "selection": {"rule": "dev", "metric": "eer"},
            "splits": {"test": split}, "provenance": provenance}  # fmt: skip


def test_round_trip(tmp_path):
    result = RunResult.model_validate(plain())
    save_result(tmp_path / "cell", result)
    assert load_result(tmp_path / "cell") == result
    first = (tmp_path / "cell" / "result.json").read_bytes()
    save_result(tmp_path / "cell", load_result(tmp_path / "cell"))
    assert (tmp_path / "cell" / "result.json").read_bytes() == first


def at(data, path):
    for key in path[:-1]:
        data = data[key]
    return data, path[-1]


@pytest.mark.parametrize(
    "path,value",
    [
        (("schema_version",), 2),
        (("unknown",), 1),
        (("splits", "test", "unknown"), 1),
        (("splits", "test", "kind"), "X"),
        (("splits", "test", "metrics", "eer"), "high"),
        (("splits", "test", "metrics", "eer"), None),
        (("splits", "test", "metrics", "eer"), float("nan")),
        (("splits", "test", "metrics", "eer"), float("inf")),
        (("splits", "test", "scored"), 9),
        (("identity", "seed"), 1),
        (("identity_hash",), "0"),
        (("upstream", "contaminated"), "perhaps"),
        (("upstream", "level"), "word"),
        (("provenance", "dirty"), "maybe"),
        (("seed",), "first"),
    ],
)
def test_schema_violations(tmp_path, path, value):
    data = plain()
    inner, key = at(data, path)
    inner[key] = value
    with pytest.raises(ValidationError):
        RunResult.model_validate(data)
    (tmp_path / "result.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="is not a valid result"):
        load_result(tmp_path)


def required():
    return sorted(set(plain()) - {"schema_version"})


@pytest.mark.parametrize("key", required())
def test_a_missing_field_is_named(tmp_path, key):
    data = plain()
    del data[key]
    (tmp_path / "result.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=f"not a valid result: {key}"):
        load_result(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": 1}'])
def test_a_corrupt_file_is_one_clear_line(tmp_path, data):
    (tmp_path / "result.json").write_bytes(data)
    with pytest.raises(UserError, match="is not a valid result") as error:
        load_result(tmp_path)
    assert "\n" not in str(error.value)


def test_no_result(tmp_path):
    with pytest.raises(UserError, match="not finished"):
        load_result(tmp_path)


values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) |
                      st.dictionaries(st.text(), inner), max_leaves=8)  # fmt: skip


@settings(deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.text(), values))
def test_the_identity_does_not_depend_on_the_order_of_its_keys(identity):
    assert identity_hash(identity) == identity_hash(dict(reversed(identity.items())))
    assert identity_hash(identity | {"one more": 1}) != identity_hash(identity | {"one more": 2})


def test_atomic_write(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    atomic_write(path, b"first")
    atomic_write(path, b"second")
    assert path.read_bytes() == b"second" and [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, function, code):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(UserError, match="free space or choose another folder"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not write"):
        atomic_write(tmp_path / "file" / "inside", b"x")


ROWS = [{"id": "b", "score": 0.1}, {"id": "a", "score": -1.5}]


def test_predictions_round_trip_in_any_order(tmp_path):
    sha = write_predictions(tmp_path / "one.jsonl.gz", ROWS)
    assert sha == write_predictions(tmp_path / "two.jsonl.gz", reversed(ROWS))
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    assert read_predictions(tmp_path / "one.jsonl.gz") == {row["id"]: row for row in ROWS}
    assert content_sha256(tmp_path / "one.jsonl.gz") == sha
    assert sha == hashlib.sha256(b'{"id":"a","score":-1.5}\n{"id":"b","score":0.1}\n').hexdigest()


@pytest.mark.parametrize(
    "rows,message",
    [
        ([*ROWS, {"id": "a", "score": 1.0}], "'a' missing or twice"),
        ([{"score": 1.0}], "None missing or twice"),
        ([{"id": 3, "score": 1.0}], "3 missing or twice"),
        ([{"id": "a", "score": float("nan")}], "not a finite number"),
        ([{"id": "a", "score": float("-inf")}], "not a finite number"),
    ],
)
def test_bad_predictions_are_not_written(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        write_predictions(tmp_path / "test.jsonl.gz", rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text,message",
    [
        (b'{"id":"a"}\n{"id":"a"}\n', "'?a'? stands twice"),
        (b'{"id":"a"}\n{"id"', "not a readable"),
        (b'{"score":1}\n', "not a readable"),
        (b"[1]\n", "not a readable"),
        (b"3\n", "not a readable"),
        (b"\xff\n", "not a readable"),
    ],
)
def test_bad_predictions_are_not_read(tmp_path, text, message):
    path = tmp_path / "test.jsonl.gz"
    path.write_bytes(gzip.compress(text))
    with pytest.raises(UserError, match=message):
        read_predictions(path)


def damaged(data):
    return [b"", b"no gzip", data[: len(data) // 2], data[:20] + bytes(20) + data[40:], data[:-8] + bytes(8)]


@pytest.mark.parametrize("index", range(1, 5))
def test_a_damaged_archive_is_one_clear_line(tmp_path, index):
    path = tmp_path / "test.jsonl.gz"
    write_predictions(path, [{"id": f"t{n}", "score": n / 7} for n in range(50)])
    path.write_bytes(damaged(path.read_bytes())[index])
    for read in (read_predictions, content_sha256):
        with pytest.raises(UserError, match="not a readable"):
            read(path)
    table = tmp_path / "test.csv.gz"
    write_references(table, pd.DataFrame({"id": [f"t{n}" for n in range(50)], "reference": "1", "speaker": "x"}))
    table.write_bytes(damaged(table.read_bytes())[index])
    with pytest.raises(UserError, match="not a readable"):
        read_references(table)


def test_missing_tables(tmp_path):
    for read in (read_predictions, read_references, content_sha256):
        with pytest.raises(UserError, match="is missing"):
            read(tmp_path / "none.gz")


def test_references_stay_text(tmp_path):
    """No speaker called NA, None or 007 turns into something else."""
    table = pd.DataFrame(
        {"id": ["b", "a"], "reference": ["1", "0"], "speaker": ["NA", "007"], "speaker2": ["None", ""]}
    )
    sha = write_references(tmp_path / "test.csv.gz", table)
    found = read_references(tmp_path / "test.csv.gz")
    assert found.to_dict("list") == table.sort_values("id").to_dict("list")
    assert content_sha256(tmp_path / "test.csv.gz") == sha
    assert sha == write_references(tmp_path / "again.csv.gz", table.iloc[::-1])
