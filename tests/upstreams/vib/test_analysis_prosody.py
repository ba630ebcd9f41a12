"""Praat's measures on sounds whose pitch, loudness and irregularity are known, and quartiles of the training set."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import UserError
from upstreams import prosody

pytest.importorskip("parselmouth")
RATE = 16000


def pulses(hertz: float, jitter: float = 0.0, shimmer: float = 0.0, seconds: float = 1.0) -> np.ndarray:
    """A decaying resonance at each pulse; each period and each height off by up to a share of itself."""
    rng = np.random.default_rng(7)
    margin, t = 0.1, np.arange(int(0.03 * RATE)) / RATE
    wave, at = np.zeros(int(RATE * (seconds + 2 * margin))), 0.01
    while at < seconds + 2 * margin - 0.04:
        start = int(np.ceil(at * RATE))
        shifted = t + start / RATE - at  # pulses fall between samples
        height = 1 + shimmer * rng.uniform(-1, 1)
        wave[start : start + len(t)] += height * np.exp(-200 * shifted) * np.sin(2 * np.pi * 700 * shifted)
        at += (1 + jitter * rng.uniform(-1, 1)) / hertz
    cut = int(margin * RATE)  # without the silence at the ends, where pitch is anyone's guess
    return 0.2 * wave[cut:-cut]


@pytest.fixture(scope="module")
def steady() -> dict[str, float]:
    return prosody.measures(pulses(120))


def test_pitch_of_a_pulse_train(steady: dict[str, float]) -> None:
    assert steady["pitch_mean"] == pytest.approx(120, abs=1)
    assert steady["pitch_std"] < 1
    assert steady["duration"] == 1.0


def test_jitter_and_shimmer_rise_with_irregular_periods_and_heights(steady: dict[str, float]) -> None:
    uneven, unequal = prosody.measures(pulses(120, jitter=0.03)), prosody.measures(pulses(120, shimmer=0.3))
    assert steady["jitter_local"] < 0.003
    assert 0.01 < uneven["jitter_local"] < 0.04
    assert unequal["shimmer_local_db"] > steady["shimmer_local_db"] + 0.5
    assert unequal["jitter_local"] < uneven["jitter_local"] / 3


def test_twice_the_amplitude_is_six_decibels_more(steady: dict[str, float]) -> None:
    louder = prosody.measures(2 * pulses(120))
    assert louder["intensity_mean"] - steady["intensity_mean"] == pytest.approx(20 * math.log10(2), abs=0.01)
    assert louder["pitch_mean"] == pytest.approx(steady["pitch_mean"], abs=0.01)


def test_what_is_not_voiced_or_too_short_is_undefined() -> None:
    noise = prosody.measures(0.1 * np.random.default_rng(0).normal(size=RATE // 2))
    assert math.isnan(noise["pitch_mean"]) or noise["pitch_std"] > 20
    short = prosody.measures(pulses(120)[:400])
    assert short["duration"] == 0.025
    assert all(math.isnan(value) for name, value in short.items() if name != "duration")
    assert list(short) == list(prosody.MEASURES)


def test_quartiles_cut_train_into_equal_parts() -> None:
    train = [float(n) for n in range(1, 101)]
    edges = prosody.quartiles(train)
    assert [prosody.classes(train, edges).count(f"q{n}") for n in (1, 2, 3, 4)] == [25, 25, 25, 25]
    assert prosody.classes([-5.0, 1000.0, float(edges[1])], edges) == ["q1", "q4", "q3"]


def test_undefined_values_count_as_zero() -> None:
    edges = prosody.quartiles([1.0, 2.0, 3.0, 4.0, math.nan])
    assert edges.tolist() == [1.0, 2.0, 3.0]  # of 0, 1, 2, 3, 4
    assert prosody.classes([math.nan, 0.0], edges) == ["q1", "q1"]


def test_equal_quartiles_are_refused() -> None:
    with pytest.raises(UserError, match="hardly varies"):
        prosody.quartiles([math.nan] * 6 + [1.0, 2.0])
