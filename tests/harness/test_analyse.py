"""The command line of analyses: what it writes, errors in one line, and the order of its arguments."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from crossed_tones import Toy

from harness import analyse, figures
from harness.errors import UserError
from harness.paths import ROOT

sys.path.insert(0, str(ROOT / "tests" / "upstreams" / "vib"))
from analysis_stages import write_probe_data, write_stages  # noqa: E402


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The backbone `toy` in place of the catalogue's, cache and runs in the test's folder. Returns that."""
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POST_SUPERB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("upstreams.catalogue.build", lambda name, **more: Toy(name))
    return tmp_path


def call(*argv: str | Path) -> int:
    return analyse.main([str(part) for part in argv])


def error_line(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert call(*argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


def test_layers_of_the_stages_that_were_given(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    files = write_stages(toy)
    given = ("--checkpoint", files[0], "--checkpoint", files[1])
    assert call("vib", "layers", "--backbone", "toy", "--device", "cpu", *given) == 0
    folder = toy / "runs" / "analyses" / "vib" / "toy"
    assert capsys.readouterr().out.splitlines() == [
        f"written: {folder / name}" for name in ("layers.csv", "layers.png", "layers.json")
    ]
    rows = list(csv.DictReader((folder / "layers.csv").open()))
    assert [(row["stage"], row["layer"]) for row in rows] == [
        ("text", "1"), ("text", "2"), ("acoustic_speaker", "1"), ("acoustic_speaker", "2"),
    ]  # fmt: skip
    assert float(rows[1]["weight"]) == pytest.approx(0.731059, abs=1e-6)  # softmax of 0 and 1
    assert (folder / "layers.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    said = json.loads((folder / "layers.json").read_text())
    assert said["files"]["layers.csv"] == hashlib.sha256((folder / "layers.csv").read_bytes()).hexdigest()
    assert said["inputs"]["text"]["sha256"] == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert said["settings"] == {"preset": "mini"} and len(said["provenance"]["commit"]) > 6


def test_salience_of_an_utterance(toy: Path) -> None:
    for module in ("matplotlib", "captum"):
        pytest.importorskip(module)
    files = write_stages(toy)
    data = write_probe_data(toy / "suite")
    argv = ("vib", "salience", "--backbone", "toy", "--data", data, "--device", "cpu", "--checkpoint", files[1])
    assert call(*argv, "--id", "p01-s02", "--class", "p02", "--out", toy / "out") == 2, "text: 14 frames are too few"
    short = data.parent / "data" / "crossed_tones" / "manifest.csv"
    short.write_text(short.read_text().replace("sentence 2,", "ah i,"))
    for folder in ("out", "again"):
        assert call(*argv, "--id", "p01-s02", "--class", "p02", "--out", toy / folder) == 0
    stem = "salience-acoustic_speaker-p01-s02"
    out = toy / "out" / "toy"
    rows = list(csv.DictReader((out / f"{stem}.csv").open()))
    assert len(rows) == 15 and rows[1]["seconds"] == "0.02"
    for name in ("text_attention", "acoustic_attention", "integrated_gradients"):
        assert sum(float(row[name]) for row in rows) == pytest.approx(1, abs=1e-4)
    words = list(csv.DictReader((out / f"{stem}-words.csv").open()))
    assert [row["word"] for row in words] == ["AH", "I"] and float(words[0]["end"]) <= float(words[1]["start"])
    own = [float(row["text_attention"]) for row in rows if row["word"] == "AH"]
    assert float(words[0]["text_attention"]) == pytest.approx(sum(own) / len(own), abs=1e-5)
    said = json.loads((out / f"{stem}.json").read_text())["result"]
    assert said["explained"] == "p02"
    assert abs(said["integral_misses"]) < 0.01 * max(1.0, abs(said["logit_minus_silence"]))
    for ending in (".csv", "-words.csv", ".png"):
        assert (out / f"{stem}{ending}").read_bytes() == (toy / "again" / "toy" / f"{stem}{ending}").read_bytes()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "family wanted, such as `analyse.py vib`"),
        (("vibb", "layers"), "did you mean vib?"),
        (("vib",), "there are layers, probe, salience"),
        (("vib", "layer"), "did you mean layers?"),
        (("vib", "layers", "--chekpoint", "x"), "unknown option --chekpoint; did you mean --checkpoint"),
        (("vib", "salience"), "--id"),
        (("vib", "salience", "--id", "x", "--target", "mood"), "invalid choice: 'mood'"),
        (("vib", "probe", "--targets", "pitch_maen"), "did you mean pitch_mean"),
        (("vib", "probe", "--steps", "0"), "--steps: 1 or more wanted, found 0"),
        (("vib", "layers", "--backbone", "toy"), "make it with python harness/posttrain.py vib --backbone toy"),
        (("vib", "layers", "--backbone", "toy", "--checkpoint", "none.safetensors"), "does not exist"),
    ],
)
def test_errors_are_one_line(
    toy: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: str
) -> None:
    assert words in error_line(capsys, *argv)


def test_what_is_not_there_is_said(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_stages(toy)
    data = write_probe_data(toy / "suite")
    known = ("--backbone", "toy", "--data", data, "--device", "cpu")
    line = error_line(capsys, "vib", "salience", *known, "--checkpoint", files[1], "--id", "p77-s01")
    assert "none named 'p77-s01'" in line
    line = error_line(capsys, "vib", "salience", *known, "--checkpoint", files[1], "--id", "p01-s01", "--class", "p9")
    assert "a class of acoustic_speaker wanted, found 'p9'" in line
    line = error_line(capsys, "vib", "salience", *known, "--checkpoint", files[0], "--id", "p01-s01")
    assert "stage acoustic_speaker wanted, found text" in line
    line = error_line(capsys, "vib", "layers", *known, "--checkpoint", files[0], "--checkpoint", files[0])
    assert "found two of text" in line


def test_a_missing_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(UserError, match=r"captum wanted .* pip install -e '\.\[analysis\]'"):
        figures.library("captum.attr")


def test_from_anywhere_with_help(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "harness" / "analyse.py"), "vib", "probe", "--help"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "analyse.py vib layers" in done.stdout and "--targets" in done.stdout


def test_the_command_that_is_recorded_names_no_folder_of_this_machine(toy: Path) -> None:
    pytest.importorskip("matplotlib")
    files = write_stages(toy)
    for name, out in (("a", ["--out", toy / "a"]), ("b", [f"--out={toy / 'b'}"])):
        assert call("vib", "layers", "--backbone", "toy", "--device", "cpu", "--checkpoint", files[0], *out) == 0
        said = json.loads((toy / name / "toy" / "layers.json").read_text())["provenance"]["command"]
        assert said.startswith("python harness/analyse.py vib layers") and "out" not in said
