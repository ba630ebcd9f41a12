"""The command that a result keeps: it names the weights that the cell was made with, and `run.py` reads it back."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import cell as cell_module
from harness import cli
from harness.cell import CellName
from harness.cell_command import command, shown
from harness.config import Runtime
from harness.paths import ROOT


def made(tmp_path: Path, as_s3prl: object = None, **weights: Path) -> str:
    cell = SimpleNamespace(
        name=CellName("tiny", "asv", "speech_ft@hubert_base"),
        task=SimpleNamespace(task="asv"),
        head_name="xvector",
        preset_name="mini",
        seed=2,
        recipe_seed=1,
        runtime=Runtime(out=tmp_path, cache=tmp_path, **weights),
    )
    return command(cell, SimpleNamespace(as_s3prl=as_s3prl))  # type: ignore[arg-type]


PLAIN = (
    "python harness/run.py -u speech_ft@hubert_base -d asv_ood --suite tiny --head xvector --preset mini "
    "--seed 2 --recipe-seed 1"
)


def test_only_what_was_given_is_named(tmp_path: Path) -> None:
    assert made(tmp_path) == PLAIN
    assert made(tmp_path, as_s3prl={"eer": 1.0}) == f"{PLAIN} --s3prl-practice"
    assert made(tmp_path, checkpoint=ROOT / "runs" / "merged") == f"{PLAIN} --checkpoint runs/merged"


def test_run_py_reads_the_same_weights_back(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[list[CellName], Runtime]] = []
    monkeypatch.setattr(cell_module, "run_group", lambda names, runtime: seen.append((names, runtime)) or [])
    checkpoint, folder = tmp_path / "a merge" / "x.ckpt", tmp_path / "hubert"
    said = made(tmp_path, checkpoint=checkpoint, folder=folder)
    assert cli.main(shlex.split(said)[2:]) == 0
    ((name,), runtime) = seen[0]
    assert (runtime.checkpoint, runtime.folder) == (checkpoint, folder)
    assert (name.upstream, name.task, name.head, name.seed, name.recipe_seed) == (
        "speech_ft@hubert_base", "asv_ood", "xvector", 2, 1
    )  # fmt: skip


def test_a_path_is_said_so_that_it_holds_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert shown(Path("merged")) == str(tmp_path / "merged")
    assert shown(Path("~/merged")) == shown(tmp_path / "home" / "merged") == "~/merged"
    assert shown(ROOT / "runs" / "x") == "runs/x"
