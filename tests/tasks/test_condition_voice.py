"""Level, clipping, speed and pitch: what each does to a signal, measured on the signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_up_sounds import RATE, decibels, power, refused, speech

from tasks import noises
from tasks.conditions import build

FORMANTS = (700.0, 1_800.0)


def voice(f0: float = 120.0, seconds: float = 1.5) -> np.ndarray:
    """Pulses of a glottis at `f0` Hz through two resonances, with a pause of 0.2 s before and after."""
    n = np.arange(round(seconds * RATE))
    pulses = np.diff(np.floor(n * f0 / RATE), prepend=0)
    out = np.zeros(len(n))
    for hertz in FORMANTS:
        t = np.arange(RATE // 20) / RATE
        out += np.convolve(pulses, np.exp(-2 * np.pi * 60 * t) * np.sin(2 * np.pi * hertz * t))[: len(n)]
    return np.pad(0.1 * out / np.abs(out).max(), RATE // 5).astype(np.float32)


def f0(wave: np.ndarray) -> float:
    """Hz of the highest peak of the autocorrelation between 2 and 12.5 ms, to a part of a sample."""
    middle = np.asarray(wave, dtype=np.float64)[len(wave) // 4 : 3 * len(wave) // 4]
    spectrum = np.abs(np.fft.rfft(middle, 1 << 18)) ** 2
    lags = np.fft.irfft(spectrum)[:200]
    at = 32 + int(np.argmax(lags[32:]))
    bend = 0.5 * (lags[at - 1] - lags[at + 1]) / (lags[at - 1] - 2 * lags[at] + lags[at + 1])
    return RATE / (at + bend)


def formant(wave: np.ndarray, near: float) -> float:
    """Hz of the centre of gravity of the power within 200 Hz of `near`."""
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    inside = np.abs(hertz - near) < 200
    return float((hertz[inside] * spectrum[inside]).sum() / spectrum[inside].sum())


@pytest.mark.parametrize("dbov", [-60.0, -26.0, -16.0])
def test_the_active_level_is_the_one_asked_for(dbov: float) -> None:
    wave = np.concatenate([speech(), np.zeros(RATE, dtype=np.float32)])
    out = build([{"op": "level", "dbov": dbov}]).apply(wave, "u1")
    assert decibels(noises.active_power(out)) == pytest.approx(dbov, abs=0.01)
    assert np.abs(np.corrcoef(out, wave)[0, 1]) > 1 - 1e-9


def test_levels_spread_as_far_as_asked_and_no_further() -> None:
    op = build([{"op": "level", "dbov": -40, "spread": 6}])
    found = [decibels(noises.active_power(op.apply(speech(), f"u{i}"))) for i in range(40)]
    assert -46 <= min(found) < -44 and -36 < max(found) <= -34


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_of_active_samples_asked_for_is_clipped(share: float) -> None:
    wave = np.concatenate([speech(), np.zeros(RATE, dtype=np.float32)])
    out = build([{"op": "clip", "share": share}]).apply(wave, "u1")
    active = noises.active_samples(wave)
    flat = np.isclose(np.abs(out), np.abs(out).max(), rtol=1e-6)
    assert flat[active].mean() == pytest.approx(share, abs=1 / active.sum() + 1e-9)
    assert not flat[~active].any()
    assert decibels(noises.active_power(out) / noises.active_power(wave)) == pytest.approx(0, abs=0.01)
    assert np.array_equal(np.sign(out), np.sign(wave))
    gain = out[~flat & (wave != 0)] / wave[~flat & (wave != 0)]
    assert np.ptp(gain) < 1e-4 * gain.mean()


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.07, 1.25])
def test_speed_moves_length_and_frequencies_alike(factor: float) -> None:
    op = build([{"op": "speed", "factor": factor}])
    n = np.arange(2 * RATE)
    out = op.apply(0.3 * np.sin(2 * np.pi * 1_000 * n / RATE), "u1")
    assert len(out) == int(np.ceil(len(n) / factor)) and not op.keeps_length
    middle = out[4_000:-4_000].astype(np.float64) * np.hanning(len(out) - 8_000)
    peak = np.argmax(np.abs(np.fft.rfft(middle, 1 << 20))) * RATE / (1 << 20)
    assert peak == pytest.approx(1_000 * factor, abs=0.1)
    assert power(out[4_000:-4_000]) == pytest.approx(0.045, rel=0.01)


def test_what_speed_pushes_above_8_khz_does_not_fold_back() -> None:
    n = np.arange(RATE)
    out = build([{"op": "speed", "factor": 1.5}]).apply(0.3 * np.sin(2 * np.pi * 6_500 * n / RATE), "u1")
    assert power(out[2_000:-2_000]) < 1e-8


@pytest.mark.parametrize("semitones", [-4, -1, 2, 5])
def test_pitch_moves_f0_and_leaves_duration_formants_and_level(semitones: float) -> None:
    pytest.importorskip("parselmouth")
    wave = voice()
    op = build([{"op": "pitch", "semitones": semitones}])
    out = op.apply(wave, "u1")
    assert len(out) == len(wave) and op.keeps_length
    assert f0(out) / f0(wave) == pytest.approx(2 ** (semitones / 12), rel=0.01)
    for hertz in FORMANTS:
        assert formant(out, hertz) == pytest.approx(formant(wave, hertz), rel=0.06)
    assert decibels(noises.active_power(out) / noises.active_power(wave)) == pytest.approx(0, abs=0.01)
    loud = np.flatnonzero(np.abs(out) > 0.1 * np.abs(out).max())
    assert loud[0] == pytest.approx(RATE // 5, abs=RATE // 50)  # it begins where it began
    assert loud[-1] == pytest.approx(len(wave) - RATE // 5, abs=RATE // 25)


@pytest.mark.parametrize("n", [400, 7_999])
def test_without_a_voice_pitch_changes_nothing(n: int) -> None:
    pytest.importorskip("parselmouth")
    wave = np.zeros(n, dtype=np.float32)
    wave[n // 3] = 0.5
    assert np.array_equal(build([{"op": "pitch", "semitones": 3}]).apply(wave, "u"), wave)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"op": "speed", "factor": 0.905}, ["factor", "steps of 0.01"]),
        ({"op": "speed", "factor": 3}, ["factor", "less than or equal to 2"]),
        ({"op": "pitch", "semitones": 13}, ["semitones"]),
        ({"op": "clip", "share": 1.0}, ["share"]),
        ({"op": "level", "dbov": 3}, ["dbov"]),
        ({"op": "level", "dBov": -26}, ["unknown key 'dBov'", "did you mean dbov"]),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_one_line(entry: dict[str, Any], words: list[str]) -> None:
    refused(lambda: build([entry]), *words)


@pytest.mark.parametrize("entry", [{"op": "level", "dbov": -26}, {"op": "clip", "share": 0.1}], ids=str)
def test_silence_has_no_level(entry: dict[str, Any]) -> None:
    refused(lambda: build([entry]).apply(np.zeros(RATE), "u9"), "utterance u9", entry["op"])
