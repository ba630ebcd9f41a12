"""What a classification task lacks among its classes stops it before anything is encoded."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cell import Cell, CellName
from harness.cli import main
from harness.config import Runtime
from harness.errors import UserError


def cell(tmp_path: Path, task: str) -> Cell:
    return Cell(CellName("tiny", task, "fbank"), Runtime(out=tmp_path / "runs", cache=tmp_path / "cache"))


def rewritten(suite: Path, **more: Any) -> None:
    path = suite / "take.yaml"
    path.write_text(json.dumps({**yaml.safe_load(path.read_text()), **more}))


def relabelled(suite: Path, label: Callable[[dict[str, str]], str]) -> None:
    path = suite / "data" / "tones" / "manifest.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "label": label(row)} for row in rows)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_head_needs_two_classes(split: str, tiny: Path, tmp_path: Path) -> None:
    relabelled(tiny, lambda row: "take0" if row["split"] == split else row["label"])
    said = f"two classes or more wanted in {split} .tones {split}., found 'take0' alone .9 rows.; correct its rows"
    with pytest.raises(UserError, match=said):
        cell(tmp_path, "take")


def test_a_new_head_needs_them_too(tiny: Path, tmp_path: Path) -> None:
    rows = {name: {"rows": [{"corpus": "tones", "split": name}]} for name in ("train", "dev", "test")}
    own = {"name": "own", "kind": "R", "shift": "its own", "rows": rows["test"]["rows"], "train": rows["test"]}
    (tiny / "lists" / "one.csv").write_text("id\np03-0\np04-0\n")
    rewritten(tiny, ood=[{**own, "dev": {"rows": [{"corpus": "tones", "ids": "one"}]}}])
    cell(tmp_path, "take")
    with pytest.raises(UserError, match="two classes or more wanted in own dev .tones one., found 'take0' alone"):
        cell(tmp_path, "take_ood")


def test_a_class_that_the_in_domain_test_lacks(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"rows": [{"corpus": "tones", "ids": "few"}]}
    wide = {"name": "wide", "kind": "Z", "shift": "a class more", "rows": [{"corpus": "tones", "split": "test"}]}
    cell(tmp_path, "take")
    assert "take: " not in capsys.readouterr().err
    rewritten(tiny, test=few, ood=[wide])
    cell(tmp_path, "take")
    told = "take: 1 of 3 classes (take2) are not in the test (tones few), so the score is of clips of the other 2; "
    assert told + "correct its rows" in capsys.readouterr().err
    said = "split wide (tones test) has class 'take2', which the in-domain test (tones few) lacks; correct its rows"
    with pytest.raises(UserError) as caught:
        cell(tmp_path, "take_ood")
    assert said in str(caught.value) and "or run `-d take`, without the OOD splits" in str(caught.value)
    line = ["-u", "fbank", "-d", "take_ood", "--suite", "tiny", "--out", str(tmp_path / "runs")]
    for more in (["--dry-run"], []):
        assert main([*line, *more]) == 2
        assert said in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.npy")), "nothing was encoded"
