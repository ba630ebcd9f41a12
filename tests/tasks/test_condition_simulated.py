"""Simulated rooms: their T60, their direct path, and that they are the same everywhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up_sounds import RATE, decibels, power, refused, speech

from tasks import condition_base, condition_simulated, noises, rooms
from tasks.condition_simulated import response
from tasks.conditions import build

ROOT = Path(__file__).parents[2]
installed = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("pyroomacoustics"), reason="pyroomacoustics is not installed"
)
pytestmark = installed


def falls(found: np.ndarray) -> float:
    """T60 from the backward-integrated energy of what follows the peak, between -5 and -25 dB, by two points."""
    tail = np.cumsum(found[np.argmax(np.abs(found)) :][::-1].astype(np.float64) ** 2)[::-1]
    level = 10 * np.log10(tail / tail[0] + 1e-30)
    return 3 * (int(np.argmax(level < -25)) - int(np.argmax(level < -5))) / RATE


@pytest.mark.parametrize("t60", [0.3, 0.6])
def test_a_room_has_the_t60_asked_for(t60: float) -> None:
    op = build([{"op": "simulated_room", "t60": [t60, t60], "rooms": 3}])
    click = np.zeros(2 * RATE, dtype=np.float32)
    click[1_000] = 0.5
    for uid in ("u1", "u2"):
        out = op.apply(click, uid)
        assert int(np.argmax(np.abs(out))) == 1_000
        assert falls(out) == pytest.approx(t60, rel=0.15)
    for number in range(3):
        assert rooms.schroeder_t60(response(t60, 0.6, 1.8, number)) == pytest.approx(t60, rel=0.025)


def test_t60_is_spread_over_the_range_and_the_level_stays() -> None:
    op = build([{"op": "simulated_room", "t60": [0.2, 0.4], "rooms": 4}])
    wave = speech()
    waves = {op.apply(wave, f"u{i}").tobytes(): op.apply(wave, f"u{i}") for i in range(24)}
    assert len(waves) == 4
    for out in waves.values():
        assert abs(decibels(noises.active_power(out) / noises.active_power(wave))) < 0.01
        assert power(out - wave) > 0.01 * power(wave)


def test_far_from_the_talker_less_comes_directly() -> None:
    shares = []
    for near, far in ((0.5, 0.8), (2.0, 3.0)):
        found = [response(0.6, near, far, number) for number in range(4)]
        shares.append(np.mean([power(one[:80]) * 80 / (power(one) * len(one)) for one in found]))
    assert decibels(shares[0] / shares[1]) > 3


def test_the_same_in_another_process_with_other_threads() -> None:
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import pyroomacoustics as p; "
        "p.constants.set('num_threads', 4); from tasks.condition_simulated import response; "
        "print(hashlib.sha256(response(0.3, 0.6, 1.8, 1).tobytes()).hexdigest(), p.constants.get('num_threads'))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    here = hashlib.sha256(response(0.3, 0.6, 1.8, 1).tobytes()).hexdigest()
    assert done.stdout.split() == [here, "4"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"t60": [0.8, 0.3]}, ["t60", "from <= to"]),
        ({"t60": [0.05, 0.3]}, ["0.15"]),
        ({"t60": [0.3, 0.5], "distance": [1.0, 9.0]}, ["distance", "4 m"]),
        ({}, ["t60", "required"]),
    ],
    ids=str,
)
def test_a_room_that_cannot_be_is_one_line(more: dict[str, list[float]], words: list[str]) -> None:
    refused(lambda: build([{"op": "simulated_room", **more}]), *words)


def test_the_release_is_part_of_the_version_and_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = [{"op": "simulated_room", "t60": [0.3, 0.5]}]
    before = build(spec).version
    with monkeypatch.context() as patch:
        patch.setattr(condition_base, "version", lambda name: "9.9")
        assert build(spec).version != before
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyroomacoustics", None)
        refused(lambda: build(spec), "pyroomacoustics wanted", "[conditions]")
    assert condition_simulated.response(0.3, 0.6, 1.8, 1)[condition_simulated.OFFSET] > 0
