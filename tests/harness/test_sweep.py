"""A sweep over alpha: which cells it takes, what is reused, and the table and figure of made-up results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import leaderboard.show  # noqa: F401  # it takes the folder of published results at import, so before it is replaced
from harness import sweep, sweep_figure
from harness.cell import CellName
from harness.cli import main as run
from harness.errors import UserError
from harness.paths import ROOT
from harness.results import RunResult, identity_hash, load_result, save_result

SPAN = {"method": "speaker bootstrap, percentile, 95 %", "draws": 1000}
NAMES = {0.0: "fbank", 0.5: "fbank+half", 1.0: "fbank+last"}


def made_up(alpha: float, task: str, seed: int, splits: dict[str, tuple[str, float]], **more: Any) -> RunResult:
    """A result of `take` or `say`; `splits`: kind and score by name."""
    metric, higher = {"take": ("accuracy", True), "say": ("wer", False)}[task]
    head = {"take": "pooled_linear", "say": "conv_ctc"}[task]
    counts = {"expected": 1, "scored": 1, "utterances": 1, "speakers": 9}
    sums = {"data_sha256": "0", "predictions_sha256": "1", "references_sha256": "2"}
    identity = {"made up": [alpha, task, seed, *more.values()]}
    return RunResult.model_validate({
        "suite": "tiny", "task": task, "head": head, "preset": "tiny", "seed": seed, "recipe_seed": 0,
        "metric": metric, "higher_is_better": higher, "identity": identity, "identity_hash": identity_hash(identity),
        "selection": {"rule": "dev", "metric": metric, "lr": 0.001},
        "upstream": {
            "name": NAMES[alpha], "family": "backbones", "base": None, "level": "frame", "dim": 4, "num_layers": 2,
            "stride": 320, "fingerprint": "x", "parameters": 0, "contaminated": "no",
        },
        "splits": {
            name: {"kind": kind, "corpus": "c", "metrics": {metric: score}, **counts, **sums,
                   "intervals": {metric: {"low": score - 5, "high": score + 5, **SPAN}} if name == "test" else {}}
            for name, (kind, score) in splits.items()
        },
        "provenance": {
            "commit": "c", "dirty": False, "packages": {}, "python": "3", "platform": "p", "device": "cpu",
            "threads": 1, "started": "2026-01-01T00:00:00Z", "seconds": {}, "peak_memory_mb": 1.0,
        } | more,
    })  # fmt: skip


def keep(root: Path, result: RunResult, label: str = "") -> None:
    name = f"{result.head}-{result.preset}-s{result.seed}-r0{label}"
    save_result(root / result.suite / result.task / result.upstream.name / name, result)


@pytest.fixture
def over_alpha(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A family with alphas on the suite `tiny`, and no published results. Returns the test's folder."""
    monkeypatch.setattr(sweep, "names_over", lambda upstream, alphas: {
        alpha: NAMES.get(alpha, "fbank+last") for alpha in sorted({0.0, *alphas})
    })  # fmt: skip
    monkeypatch.setattr("leaderboard.build.RESULTS", tmp_path / "published")
    return tmp_path


def rows_of(folder: Path, name: str = "sweep-u.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "runs" / "sweeps" / name).open()))


def call(*argv: str) -> int:
    return sweep.main(["-u", "u", "--suite", "tiny", "--device", "cpu", *argv])


def test_the_table_and_figure_of_what_exists(over_alpha: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    runs = over_alpha / "runs"
    for seed, more in ((0, 0.0), (1, 4.0)):
        keep(runs, made_up(0.0, "take", seed, {"test": ("ID", 50 + more), "few": ("Z", 40)}))
        keep(runs, made_up(0.5, "take", seed, {"test": ("ID", 60 + more), "few": ("Z", 30)}))
    keep(runs, made_up(0.0, "say", 0, {"test": ("ID", 20.0), "own": ("R", 90.0)}))
    assert call("-d", "take_ood,say", "--alphas", "0.5,1", "--seeds", "0,1", "--from-results") == 0
    shown = capsys.readouterr()
    command = "python harness/run.py -u fbank+last -d take_ood --seeds 0,1"
    assert f"missing: fbank+last on take_ood: no result; make it with {command}" in shown.err
    assert "fbank+half on say" in shown.err and "fbank on say" not in shown.err
    rows = {(row["task"], row["split"], row["alpha"]): row for row in rows_of(over_alpha)}
    assert rows.keys() == {("take", "test", "0"), ("take", "few", "0"), ("take", "test", "0.5"), ("take", "few", "0.5"),
                           ("say", "test", "0")}  # fmt: skip
    row = rows["take", "test", "0.5"]
    assert (row["score"], row["low"], row["high"], row["seeds"]) == ("62", "55", "65", "2")  # the first seed's interval
    assert (row["kind"], row["head"], row["metric"], row["upstream"]) == (
        "ID", "pooled_linear", "accuracy", "fbank+half",
    )  # fmt: skip
    assert rows["take", "few", "0"]["low"] == "n/a" and rows["say", "test", "0"]["seeds"] == "1"
    assert "62.00*" in shown.out and "40.00*" in shown.out and "30.00*" not in shown.out
    out = over_alpha / "runs" / "sweeps"
    assert (out / "sweep-u.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    said = json.loads((out / "sweep-u.json").read_text())
    assert said["settings"]["names"] == {"0": "fbank", "0.5": "fbank+half", "1": "fbank+last"}
    assert said["inputs"]["take fbank+half s1"]["from"] == "yours" and len(said["settings"]["missing"]) == 3
    assert said["provenance"]["command"].startswith("python harness/sweep.py -u u --suite tiny")


def test_yours_is_drawn_before_the_published_and_the_latest_of_yours(over_alpha: Path) -> None:
    pytest.importorskip("matplotlib")
    keep(over_alpha / "published", made_up(0.0, "take", 0, {"test": ("ID", 10.0)}))
    keep(over_alpha / "published", made_up(0.5, "take", 0, {"test": ("ID", 20.0)}))
    keep(over_alpha / "runs", made_up(0.5, "take", 0, {"test": ("ID", 30.0)}, started="2026-01-02T00:00:00Z"), "-a")
    keep(over_alpha / "runs", made_up(0.5, "take", 0, {"test": ("ID", 40.0)}, started="2026-01-01T00:00:00Z"), "-b")
    assert call("-d", "take", "--alphas", "0,0.5", "--from-results") == 0
    assert [row["score"] for row in rows_of(over_alpha)] == ["10", "30"]


def test_the_figure_has_a_panel_a_task_and_marks_the_better_direction(over_alpha: Path) -> None:
    pytest.importorskip("matplotlib")
    import pandas as pd

    found = {
        (task, alpha): [sweep.Source(made_up(alpha, task, 0, {"test": ("ID", 10 + alpha), "x": (kind, 5.0)}), "yours")]
        for task, kind in (("take", "Z"), ("say", "R"))
        for alpha in NAMES
    }
    table = pd.DataFrame(
        row for (task, a), cells in found.items() for row in sweep._rows((f"{task}_ood", a), NAMES[a], cells)
    )
    first, second = sweep_figure.drawn(table, "u").axes
    assert "\u2191 higher is better" in first.get_ylabel() and "\u2193 lower is better" in second.get_ylabel()
    labels = [text.get_text() for text in first.get_legend().get_texts()]
    assert labels == ["test (ID)", "x (Z)"]
    level = [line for line in first.lines if list(line.get_ydata()) == [10.0, 10.0]]
    assert len(level) == 1 and level[0].get_linestyle() == ":"  # where the backbone is in-domain
    inside = first.lines[0]
    assert list(inside.get_ydata()) == [10.0, 10.5, 11.0] and inside.get_color() == "black"
    lines = sweep_figure.summary(table).splitlines()
    assert lines[2].split()[-3:] == ["10.00", "10.50", "11.00*"]  # accuracy
    assert lines[4].split()[-3:] == ["10.00*", "10.50", "11.00"]  # error rate


def test_cells_run_once_and_a_published_one_that_fits_is_read(
    over_alpha: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    from harness import cell

    assert run(["-u", "fbank", "-d", "take_ood", "--suite", "tiny"]) == 0
    (own,) = (over_alpha / "runs").rglob("result.json")
    keep(over_alpha / "published", load_result(own.parent))
    for path in sorted(own.parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    asked: list[CellName] = []
    group = cell.run_group
    monkeypatch.setattr(cell, "run_group", lambda names, runtime: asked.extend(names) or group(names, runtime))
    argv = ("-d", "take_ood", "--alphas", "1")
    assert call(*argv) == 0
    assert [name.upstream for name in asked] == ["fbank+last"]  # the published backbone's identity fits
    said = json.loads((over_alpha / "runs" / "sweeps" / "sweep-u.json").read_text())
    assert [one["from"] for one in said["inputs"].values()] == ["published", "yours"]
    assert [(row["split"], row["alpha"]) for row in rows_of(over_alpha)] == [
        ("test", "0"), ("few", "0"), ("test", "1"), ("few", "1"),
    ]  # fmt: skip
    first = (over_alpha / "runs" / "sweeps" / "sweep-u.csv").read_bytes()
    from harness import cell_training

    monkeypatch.setattr(cell_training, "fit", None)  # a second training would raise
    assert call(*argv) == 0
    assert (over_alpha / "runs" / "sweeps" / "sweep-u.csv").read_bytes() == first
    # another head seed is another cell; a published result of another identity is none
    stale = load_result(next((over_alpha / "published").rglob("result.json")).parent)
    changed = {**stale.identity, "engine": 99}
    other = stale.model_copy(update={"identity": changed, "identity_hash": identity_hash(changed)})
    keep(over_alpha / "published", other)
    asked.clear()
    monkeypatch.setattr(cell, "run_group", lambda names, runtime: asked.extend(names) or [])
    names = [CellName("tiny", "take_ood", "fbank")]
    from harness.config import Runtime

    sweep.finished(names, Runtime(out=over_alpha / "runs", cache=over_alpha / "cache"))
    assert asked == names


def test_a_failing_cell_leaves_the_others(
    over_alpha: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(NAMES, 0.25, "fbnk")
    assert call("-d", "take", "--alphas", "0.25") == 2
    shown = capsys.readouterr()
    assert "error: fbnk on take: unknown upstream 'fbnk'" in shown.err and "1 of 2 cells failed" in shown.err
    assert [row["alpha"] for row in rows_of(over_alpha)] == ["0"]


def test_names_come_from_the_family() -> None:
    assert sweep.names_over("speech_ft_asr", [0.25, 0.5, 1]) == {
        0.0: "whisper_tiny", 0.25: "speech_ft_asr", 0.5: "speech_ft_asr+alpha0.5", 1: "speech_ft_asr+plain",
    }  # fmt: skip
    with pytest.raises(UserError, match="icl_speaker: an upstream that is merged at an alpha wanted"):
        sweep.names_over("icl_speaker", [0.5])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("-d", "take", "--alphas", "0,1.5"), "--alphas: numbers from 0 to 1 with commas wanted, found '0,1.5'"),
        (("-d", "tkae"), "did you mean take"),
        (("-d", "take", "--from-results"), "no cell of u on take is finished"),
        (("-d", "take", "-u", "a,b"), "one upstream a sweep wanted, found a,b"),
        (("-d", "take", "--alhpas", "1"), "unknown option --alhpas; did you mean --alphas"),
    ],
)
def test_errors_are_one_line(
    over_alpha: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: str
) -> None:
    assert call(*argv) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_file_runs_as_a_command() -> None:
    import subprocess
    import sys

    argv = [sys.executable, str(ROOT / "harness" / "sweep.py"), "--help"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0 and "--from-results" in done.stdout
