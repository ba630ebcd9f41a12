"""The command line of recipes: options, errors in one line, and `python harness/posttrain.py` from anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from crossed_tones import DIM, Toy, write_crossed

from harness import posttrain
from harness.paths import ROOT
from harness.recipe import Job
from harness.shell import writable

QUICK = ["--hidden", "16,16", "--block-dim", "8", "--batch", "12", "--steps", "20", "--device", "cpu"]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The backbone `toy` in place of the catalogue's, the cache in the test's folder. Returns the data's YAML."""
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("upstreams.catalogue.build", lambda name, **more: Toy(name))
    return write_crossed(tmp_path / "suite")


def call(*argv: str | Path) -> int:
    return posttrain.main([str(part) for part in argv])


def error_line(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert call(*argv) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.strip().splitlines() if "clips to encode" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


def test_checkpoints_go_to_the_cache_by_family_backbone_recipe_and_seed(toy: Path, tmp_path: Path, capsys) -> None:
    assert call("icl", "--backbone", "toy", "--data", toy, "--seeds", "0,2", *QUICK) == 0
    found = sorted((tmp_path / "cache" / "checkpoints" / "icl" / "toy").glob("*/*.safetensors"))
    assert [path.name for path in found] == ["seed0.safetensors", "seed2.safetensors"]
    assert len({path.parent for path in found}) == 1 and len(found[0].parent.name) == 16
    out = capsys.readouterr().out
    assert "seed 0: " in out and "speaker EER" in out and f"written: {found[1]}" in out


def test_out_names_the_file(toy: Path, tmp_path: Path) -> None:
    assert call("icl", "--backbone", "toy", "--data", toy, "--out", tmp_path / "a" / "b.safetensors", *QUICK) == 0
    assert (tmp_path / "a" / "b.safetensors").is_file()


@pytest.mark.parametrize("family", posttrain.families())
def test_out_is_looked_at_before_anything_is_made(
    toy: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    def made(*_: object, **__: object) -> None:
        raise AssertionError("the backbone was built")

    monkeypatch.setattr("upstreams.catalogue.build", made)
    monkeypatch.delenv("RANK", raising=False)
    (tmp_path / "file").write_text("")
    start = [family, "--backbone", "toy", "--data", toy, "--device", "cpu", "--out"]
    assert f"--out {tmp_path} is a folder: a file wanted" in error_line(capsys, *start, tmp_path)
    below = tmp_path / "file" / "new" / "x.safetensors"
    assert f"--out {below} cannot be written (Not a directory)" in error_line(capsys, *start, below)
    assert (tmp_path / "file").read_text() == ""


def test_out_makes_no_folder_when_it_is_looked_at(tmp_path: Path) -> None:
    writable(tmp_path / "a" / "b.safetensors", "--out")
    assert list(tmp_path.iterdir()) == []


def test_convert_from_the_command_line(toy: Path, tmp_path: Path) -> None:
    names = ((0, 16, DIM), (2, 16, 16), (4, 12, 16))
    state = {f"disentanglement_network.encoder.{n}.weight": torch.randn(a, b) for n, a, b in names}
    state |= {f"disentanglement_network.encoder.{n}.bias": torch.randn(a) for n, a, _ in names}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    out = tmp_path / "converted.safetensors"
    assert call("icl", "--backbone", "toy", "--convert", tmp_path / "last.ckpt", "--out", out, "--device", "cpu") == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ([], "a family wanted first"),
        (["icm"], "unknown family 'icm'; did you mean icl"),
        (["icl", "--layrs", "3"], "did you mean --layers"),
        (["icl", "--preset", "papr"], "--preset"),
        (["icl", "--seeds", "0,one"], "whole numbers with commas"),
        (["icl", "--seeds", "0,1", "--out", "x"], "one seed a call"),
        (["icl", "--layers", "11"], "has layers 0 to 2"),
        (["icl", "--hidden", "a,b"], "widths with commas"),
        (["icl", "--steps", "3"], "steps"),
        (["icl", "--batch", "50"], "the nearest that work are"),
        (["icl", "--device", "tpu9"], "device 'tpu9'"),
        (["icl", "--convert", "nothing.ckpt"], "does not exist"),
        (["icl", "--convert", "."], "is a folder"),
        (["icl", "--standardise", "--raw"], "--raw: not allowed with argument --standardise"),
        (["icl", "--lr", "inf"], "posttrain.py icl: lr: Input should be a finite number"),
        (["icl", "--margin", "nan"], "margin: Input should be"),
        (["icl", "--data", "nothing.yaml"], "nothing.yaml is missing"),
    ],
)
def test_bad_input_is_one_line(toy: Path, capsys, argv: list[str], wanted: str) -> None:
    more = [] if "--data" in argv or not argv or argv[0] != "icl" else ["--data", str(toy)]
    quick = [] if "--device" in argv or not argv else ["--device", "cpu"]
    assert wanted in error_line(capsys, *argv, *more, *quick)


def test_data_that_share_a_speaker_between_splits_are_refused(toy: Path, capsys) -> None:
    manifest = toy.parent / "data" / "crossed_tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("p04,sure", "p00,sure"))
    assert "share 1 speaker:" in error_line(capsys, "icl", "--backbone", "toy", "--data", toy, *QUICK)


def test_unknown_keys_in_the_data_yaml_are_named(toy: Path, capsys) -> None:
    toy.write_text(toy.read_text() + "spltis: {}\n")
    assert "did you mean splits" in error_line(capsys, "icl", "--backbone", "toy", "--data", toy, *QUICK)


def test_interrupted_it_says_how_to_go_on(toy: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("upstreams.icl.training.Learner.losses", stop)
    assert call("icl", "--backbone", "toy", "--data", toy, *QUICK) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_the_data_hash_follows_labels_and_audio(toy: Path) -> None:
    before = Job("icl", "toy", toy, [0]).data_hash
    assert Job("icl", "toy", toy, [0]).data_hash == before
    manifest = toy.parent / "data" / "crossed_tones" / "manifest.csv"
    text = manifest.read_text()
    manifest.write_text(text.replace("sentence 3", "sentence three"))
    assert Job("icl", "toy", toy, [0]).data_hash != before


def test_help_runs_as_a_script_from_another_folder(tmp_path: Path) -> None:
    script = ROOT / "harness" / "posttrain.py"
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, str(script), "icl", "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for word in ("--backbone", "--layers", "--orth-mode", "--convert", "--seeds", "options of icl"):
        assert word in done.stdout
