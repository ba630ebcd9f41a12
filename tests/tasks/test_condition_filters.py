"""Gain, crops, bands, resampling, codecs and trimmed silence: what each does to a signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_up_sounds import RATE, decibels, power, refused, speech

from tasks import condition_ops
from tasks.conditions import build


def test_gain_is_exact() -> None:
    out = build([{"op": "gain", "db": -3}]).apply(speech(), "u1")
    assert decibels(power(out) / power(speech())) == pytest.approx(-3, abs=1e-4)


def test_a_crop_is_a_run_of_the_samples_and_a_short_wave_stays_whole() -> None:
    wave, crop = speech(), build([{"op": "crop", "seconds": 0.5}])
    for name in ("a", "b"):
        cut = crop.apply(wave, name)
        start = next(i for i in range(len(wave) - len(cut) + 1) if np.array_equal(wave[i : i + len(cut)], cut))
        assert len(cut) == RATE // 2 and start > 0
    assert not np.array_equal(crop.apply(wave, "a"), crop.apply(wave, "b"))
    assert np.array_equal(crop.apply(wave[:1000], "a"), wave[:1000].astype(np.float32)) and not crop.keeps_length


def test_band_keeps_the_inside_and_removes_the_outside() -> None:
    impulse = np.zeros(RATE, dtype=np.float32)
    impulse[RATE // 2] = 0.5
    out = build([{"op": "band", "low": 300, "high": 3_400}]).apply(impulse, "u1")
    gain = 2 * np.abs(np.fft.rfft(out))  # one bin a hertz
    assert np.abs(20 * np.log10(gain[350:3_351])).max() < 0.05
    assert 20 * np.log10(gain[[300, 3_400]]) == pytest.approx([-6, -6], abs=0.1)
    assert 20 * np.log10(max(gain[:250].max(), gain[3_450:].max())) < -60
    mirrored = np.roll(out[::-1], 1)  # linear phase: symmetric about the impulse
    assert np.abs(out - mirrored).max() < 1e-7


@pytest.mark.parametrize(("edges", "kept", "lost"), [((0, 2_000), 100, 4_000), ((2_000, 8_000), 6_000, 500)])
def test_band_may_be_open_on_one_side(edges: tuple[int, int], kept: int, lost: int) -> None:
    op = build([{"op": "band", "low": edges[0], "high": edges[1]}])
    n = np.arange(RATE)
    inner = slice(2_000, -2_000)
    assert power(op.apply(0.5 * np.sin(2 * np.pi * kept * n / RATE), "u")[inner]) == pytest.approx(0.125, rel=0.01)
    assert power(op.apply(0.5 * np.sin(2 * np.pi * lost * n / RATE), "u")[inner]) < 1e-6


def test_resample_removes_what_the_telephone_cannot_carry() -> None:
    n = np.arange(RATE)
    op = build([{"op": "resample", "rate": 8_000}])
    inner = slice(2_000, -2_000)
    assert power(op.apply(0.5 * np.sin(2 * np.pi * 5_000 * n / RATE), "u")[inner]) < 1e-8
    low = 0.5 * np.sin(2 * np.pi * 1_000 * n / RATE)
    assert np.abs(op.apply(low, "u") - low)[inner].max() < 1e-3


@pytest.mark.parametrize(
    ("spec", "least", "most"),
    [
        ({"codec": "ulaw"}, 30, 45),
        ({"codec": "alaw"}, 30, 45),
        ({"codec": "gsm"}, 2, 25),
        ({"codec": "opus"}, 2, 30),
        ({"codec": "mp3"}, 5, 60),
        ({"codec": "vorbis"}, 5, 40),
    ],
    ids=lambda value: str(value),
)
def test_codecs_distort_as_codecs_do(spec: dict[str, Any], least: float, most: float) -> None:
    wave = condition_ops.Band(op="band", low=300.0, high=3_000.0).run(speech().astype(np.float64)).astype(np.float32)
    out = build([{"op": "codec", **spec}]).apply(wave, "u1")
    assert least < decibels(power(wave) / power(out - wave)) < most


def test_a_higher_compression_level_costs_quality() -> None:
    wave = speech()
    errors = [
        power(build([{"op": "codec", "codec": "vorbis", "rate": 16_000, "level": level}]).apply(wave, "u") - wave)
        for level in (0.0, 0.5, 1.0)
    ]
    assert errors[0] < errors[1] < errors[2]


PATTERNS = [
    # (amplitude, seconds) of a 440 Hz tone, and the samples that sox 14.4.2 kept of it
    (
        [
            (0, 0.3),
            (0.5, 0.4),
            (0, 0.25),
            (0.2, 0.05),
            (0, 0.1),
            (0.1, 0.3),
            (0.0005, 0.09),
            (0.3, 0.2),
            (0, 0.06),
        ],
        17_116,
    ),
    ([(0.3, 0.08), (0, 0.05), (0.3, 0.5), (0.0009, 0.5), (0.002, 0.4), (0.0012, 0.3)], 14_853),
    (
        [(0.001, 0.2), (0.0016, 0.3), (0.5, 0.2), (0, 0.119), (0.5, 0.2), (0, 0.1215), (0.5, 0.2), (0, 0.5)],
        16_733,
    ),
]


def tones(pattern: list[tuple[float, float]]) -> np.ndarray:
    n = np.arange(RATE)
    pieces = [level * np.sin(2 * np.pi * 440 * n[: round(length * RATE)] / RATE) for level, length in pattern]
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize(("pattern", "kept"), PATTERNS)
def test_silence_is_trimmed_as_sox_trims_it(pattern: list[tuple[float, float]], kept: int) -> None:
    op = build([{"op": "trim_silence"}])
    assert not op.keeps_length
    assert len(op.apply(tones(pattern), "u1")) == kept


def test_trimming_keeps_samples_as_they_are_and_refuses_to_leave_none() -> None:
    wave = np.concatenate([np.zeros(4_000), tones([(0.5, 0.5)]), np.zeros(8_000)]).astype(np.float32)
    out = build([{"op": "trim_silence"}]).apply(wave, "u1")
    assert len(out) == pytest.approx(8_000, abs=340)
    assert any(np.array_equal(out, wave[start : start + len(out)]) for start in range(4_000, 4_020))
    too_short = tones([(0.5, 0.05), (0, 1)])
    refused(lambda: build([{"op": "trim_silence"}]).apply(too_short, "u7"), "utterance u7", "found none")
