"""The standard conditions: each builds, each rung is further off than the one before, and the page shows them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_sounds import RATE, speech

from tasks import show_conditions
from tasks.condition_list import LADDERS, STRENGTHS, distance, snr
from tasks.condition_ops import OPS
from tasks.conditions import build

NEEDS = {"simulated_room": "pyroomacoustics", "pitch": "parselmouth"}
MEASURED = [name for name in LADDERS if name not in ("level", "slow", "fast", "crop", "band")]


def available(name: str) -> None:
    for ops in LADDERS[name].ops:
        for entry in ops:
            if (module := NEEDS.get(entry["op"])) and not importlib.util.find_spec(module):
                pytest.skip(f"{module} is not installed")


@pytest.fixture(autouse=True)
def nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "none.yaml").write_text("corpora:\n")
    monkeypatch.setenv("POST_SUPERB_CORPORA", str(tmp_path / "none.yaml"))


def test_every_op_that_degrades_is_on_the_list() -> None:
    used = {entry["op"] for ladder in LADDERS.values() for ops in ladder.ops for entry in ops}
    assert set(OPS) - used == {"gain", "trim_silence", "resample"}  # front ends, and what the codecs do by themselves


@pytest.mark.parametrize("name", LADDERS)
def test_strengths_differ_and_build(name: str) -> None:
    available(name)
    assert len({build(ops).version for ops in LADDERS[name].ops}) == len(STRENGTHS)
    assert len(set(LADDERS[name].labels)) == len(STRENGTHS)


def test_distance_and_snr_are_what_they_say() -> None:
    wave = speech(RATE)
    assert distance(wave, wave) == 0 and snr(wave, wave) > 200
    assert distance(wave, 0.1 * wave) == pytest.approx(0, abs=0.01)  # a gain is no difference
    noise = np.random.default_rng(5).standard_normal(RATE)
    noise -= wave * (noise @ wave) / (wave @ wave)
    noise *= np.sqrt(np.sum(wave.astype(np.float64) ** 2) / np.sum(noise**2) / 10)
    assert snr(wave, wave + noise) == pytest.approx(10, abs=0.01)
    assert np.isnan(distance(wave, wave[:-1])) and np.isnan(snr(wave, wave[:-1]))


def test_the_page_has_a_line_and_a_panel_for_each_condition(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out, names = tmp_path / "page.png", ["white", "clip", "crop", "musan_noise"]
    assert show_conditions.main([str(out), "--only", ",".join(names)]) == 0
    table = pd.read_csv(out.with_suffix(".csv"))
    assert len(table) == 4 * len(STRENGTHS) and out.read_bytes()[:4] == b"\x89PNG"
    lines = table[table.condition == "white"]
    assert (np.diff(lines.distance_db) > 0).all() and (np.diff(lines.snr_db) < 0).all()
    assert lines.snr_db.iloc[1] == pytest.approx(10, abs=2)  # over the whole wave; the SNR asked for is of speech
    assert table[table.condition == "crop"].length.max() <= 1
    assert set(table[table.condition == "musan_noise"].note) == {"pink for musan"}
    assert json.loads(out.with_suffix(".json").read_text())["settings"]["only"] == names


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["x.jpg"], "ends in .png"),
        (["x.png", "--only", "babbel"], "did you mean babble"),
        (["x.png", "--id", "q"], "'q'"),
    ],
)
def test_a_bad_command_is_one_line(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_conditions.main(argv) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
