"""The command line that merges checkpoints: what it writes, its errors in one line, and that it runs from anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import merge
from harness.paths import ROOT


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders pre, one and two in the working directory, a tensor `w` in each: (0, 0), (4, 0) and (0, 8)."""
    for name, values in {"pre": [0.0, 0.0], "one": [4.0, 0.0], "two": [0.0, 8.0]}.items():
        (tmp_path / name).mkdir()
        save_file({"w": torch.tensor(values)}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "toy"}))
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["one"], [1.0, 0.0]),
        (["one", "--alpha", "1"], [4.0, 0.0]),
        (["one", "two"], [0.5, 1.0]),
        (["one", "two", "--method", "sequential", "--alpha", "0.5"], [1.0, 4.0]),
        (["one", "two", "--method", "ties", "--alpha", "1", "--density", "0.5"], [4.0, 8.0]),
        (["one", "two", "--method", "arithmetic", "--alpha", "0.5"], [2.0, 4.0]),
        (["one", "two", "--method", "arithmetic", "--alpha", "0.5", "--coefficients=-1,2"], [-2.0, 8.0]),
        (["one", "two", "--method", "arithmetic", "--alpha", "0.5", "--coefficients", "-1,2"], [-2.0, 8.0]),
        (["one/model.safetensors", "--alpha", "0.5"], [2.0, 0.0]),
    ],
)
def test_the_methods(here: Path, capsys, argv: list[str], wanted: list[float]) -> None:
    assert merge.main(["pre", *argv, "--out", "out"]) == 0
    assert load_file(here / "out" / "model.safetensors")["w"].tolist() == wanted
    assert capsys.readouterr().out == f"written: {Path('out') / 'model.safetensors'}\n"
    assert (here / "out" / "config.json").is_file()


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ([], "required: PRETRAINED, FINETUNED, --out"),
        (["pre", "--out", "out"], "required: FINETUNED"),
        (["pre", "one"], "required: --out"),
        (["pre", "one", "--out", "out", "--alfa", "1"], "unknown option --alfa; did you mean --alpha"),
        (["pre", "one", "--out", "out", "--method", "mean"], "--method: invalid choice: 'mean'"),
        (["pre", "one", "--out", "out", "--alpha", "much"], "--alpha: invalid float value: 'much'"),
        (["pre", "one", "--out", "out", "--alpha", "2"], "alpha: 0 to 1 wanted, found 2.0"),
        (["pre", "one", "--out", "out", "--coefficients", "a"], "numbers with commas wanted, found 'a'"),
        (["pre", "one", "--out", "out", "--coefficients", "1"], "belong to the method arithmetic"),
        (["pre", "one", "--out", "out", "--density", "0.5"], "density belongs to the method ties"),
        (["pre", "one", "--out", ""], "--out: a folder for the merged model wanted, found an empty name"),
        (["pre", "nothing", "--out", "out"], "nothing does not exist"),
        (["nothing", "one", "--out", "out"], "nothing does not exist: the pre-trained checkpoint wanted"),
        (["pre", "one", "--out", "three"], "is there already: choose another --out, or --again"),
        (["pre", "one", "--out", "one", "--again"], "holds one of the checkpoints"),
    ],
)
def test_bad_input_is_one_line(here: Path, capsys, argv: list[str], wanted: str) -> None:
    assert merge.main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and wanted in lines[0]
    assert not (here / "out").exists()


def test_a_model_merged_with_itself_is_said_to_be_so(here: Path, capsys) -> None:
    assert merge.main(["pre", "one", "pre", "--alpha", "0", "--out", "out"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"{Path('pre') / 'model.safetensors'}: nothing to merge")
    assert merge.main(["pre", "one", "two", "--out", "other"]) == 0
    assert capsys.readouterr().err == ""


def test_again_writes_over_it(here: Path) -> None:
    assert merge.main(["pre", "one", "--out", "out"]) == 0
    assert merge.main(["pre", "two", "--out", "out"]) == 2
    assert merge.main(["pre", "two", "--out", "out", "--again"]) == 0
    assert load_file(here / "out" / "model.safetensors")["w"].tolist() == [0.0, 2.0]


def test_heads_aside_on_request(here: Path) -> None:
    save_file({"encoder.w": torch.zeros(1)}, here / "pre" / "model.safetensors")
    save_file({"encoder.w": torch.ones(1), "head.w": torch.ones(1)}, here / "one" / "model.safetensors")
    assert merge.main(["pre", "one", "--out", "out"]) == 2
    assert merge.main(["pre", "one", "--out", "out", "--encoder-only"]) == 0
    assert load_file(here / "out" / "model.safetensors")["encoder.w"].tolist() == [0.25]


def test_interrupted_it_says_that_nothing_was_written(here: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("upstreams.speech_ft.merge.interpolate", stop)
    assert merge.main(["pre", "one", "--out", "out"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted; nothing was written"
    assert not (here / "out").exists()


def test_runs_as_a_script_from_another_folder(here: Path) -> None:
    script, environment = ROOT / "harness" / "merge.py", {**os.environ, "PYTHONPATH": ""}
    command = [sys.executable, str(script), "pre", "one", "--out", "deep/out"]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (here / "deep" / "out" / "model.safetensors").is_file()


def test_help_names_every_method(capsys) -> None:
    with pytest.raises(SystemExit):
        merge.main(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "ties, arithmetic: any finite number" in out
    for word in ("linear", "sequential", "ties", "arithmetic", "default 0.25", "default 0.2", "--encoder-only"):
        assert word in out
