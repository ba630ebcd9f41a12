"""Noise, babble and rooms: their level, their spectrum, and who may be in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up_sounds import RATE, T60, VOICES, decibels, power, refused, speech

from tasks import noises
from tasks.conditions import build


@pytest.mark.parametrize("family", ["white", "pink", "brown", "hum", "machine", "babble"])
@pytest.mark.parametrize("snr", [20, 0.0, -5])
def test_snr_is_reached_within_a_tenth_of_a_decibel(data: Path, family: str, snr: float) -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE)
    out = build([{"op": "noise", "family": family, "snr": snr}], data=data).apply(wave, "u1")
    assert np.abs(out).max() < 1  # else the noise could not be had by subtraction
    assert decibels(power(wave) / power(out - wave)) == pytest.approx(snr, abs=0.1)


def test_pauses_do_not_change_the_noise_under_speech() -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE)
    with_pause = np.concatenate([wave, np.zeros(2 * RATE)])
    op = build([{"op": "noise", "family": "white", "snr": 10}])
    one, other = (power(op.apply(w, "u1") - w) for w in (wave, with_pause))
    assert abs(decibels(one / other)) < 0.1
    assert noises.active_power(with_pause) == pytest.approx(power(wave), rel=1e-6)
    assert noises.active_power(wave[:100]) == pytest.approx(power(wave[:100]))


@pytest.mark.parametrize(("family", "slope"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_colours_fall_as_named(family: str, slope: float) -> None:
    noise = noises.FAMILIES[family](60 * RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [spectrum[60 * low : 120 * low].mean() for low in (100, 200, 400, 800, 1_600, 3_200)]
    assert np.diff([decibels(level) for level in octaves]) == pytest.approx([slope] * 5, abs=0.3)


def test_hum_is_mains_and_its_harmonics() -> None:
    hum = noises.hum(10 * RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(hum * np.hanning(len(hum)))) ** 2
    peak = np.argmax(spectrum) / 10
    assert min(abs(peak - 50), abs(peak - 60)) < 0.2
    near = [spectrum[int(10 * k * peak) - 5 : int(10 * k * peak) + 6].sum() for k in range(1, 17)]
    assert sum(near) > 0.98 * spectrum.sum()


def test_machine_beats_and_is_kept_for_testing() -> None:
    assert list(noises.TEST_ONLY) == ["machine"] and "machine" in noises.FAMILIES
    noise = noises.machine(10 * RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    shaft = np.argmax(spectrum[:1_000]) / 10
    assert 14 < shaft < 61
    assert spectrum[3_000:50_000].sum() > 0.2 * spectrum.sum()  # the rush above 300 Hz


def parts(noise: np.ndarray) -> list[float]:
    """Power of each miniature speaker's tone in a second of noise."""
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    return [float(spectrum[int(hertz) - 3 : int(hertz) + 4].sum()) for hertz in VOICES]


def test_babble_mixes_the_asked_number_of_speakers_at_one_level(data: Path) -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    op = build([{"op": "noise", "family": "babble", "snr": 0, "speakers": 3}], data=data)
    for uid in ("u1", "u2", "u3", "u4"):
        found = np.sort(parts(op.apply(wave, uid).astype(np.float64) - wave))
        assert found[0] < 0.01 * found[1]
        assert found[3] < 1.5 * found[1]


def test_babble_never_holds_the_utterances_own_speaker(data: Path) -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    op = build([{"op": "noise", "family": "babble", "snr": 0, "speakers": 3}], data=data)
    for own in range(len(VOICES)):
        found = parts(op.apply(wave, f"v{own}_0").astype(np.float64) - wave)
        assert found[own] < 0.01 * max(found)
    four = build([{"op": "noise", "family": "babble", "snr": 0, "speakers": 4}], data=data)
    four.apply(wave, "somebody_else")
    refused(lambda: four.apply(wave, "v0_0"), "utterance v0_0", "4 other speakers, found 3")


@pytest.mark.parametrize("t60", T60)
def test_a_room_gives_its_reverberation_time_and_keeps_the_level(data: Path, t60: float) -> None:
    op = build([{"op": "room", "t60": [t60 - 0.01, t60 + 0.01]}], data=data)
    click = np.zeros(2 * RATE, dtype=np.float32)
    click[1_000] = 0.5
    tail = np.cumsum(op.apply(click, "u1")[1_001:][::-1].astype(np.float64) ** 2)[::-1]
    fall = 10 * np.log10(tail / tail[0] + 1e-30)
    reached = [int(np.argmax(fall < level)) / RATE for level in (-5, -35)]
    assert 2 * (reached[1] - reached[0]) == pytest.approx(t60, rel=0.15)
    wet = op.apply(speech(), "u1")
    assert abs(decibels(noises.active_power(wet) / noises.active_power(speech()))) < 0.01
    assert power(wet - speech()) > 0.01 * power(speech())


def test_rooms_are_drawn_from_the_range_only(data: Path) -> None:
    wide = build([{"op": "room", "t60": [0.2, 0.6]}], data=data)
    assert [row.label for row in wide.resources[0]] == ["0.25", "0.5"]
    alone = {build([{"op": "room", "t60": [t, t]}], data=data).apply(speech(), "u").tobytes() for t in (0.25, 0.5)}
    assert {wide.apply(speech(), f"u{i}").tobytes() for i in range(20)} == alone
