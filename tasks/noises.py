"""Noise families for the `noise` condition, and the signal-to-noise ratio they are mixed at.

Every family is a function (samples n, generator) -> (n,) float64 of any level; `mix` sets the level. The
families are synthetic, so they ship with the code; babble and recordings live in `condition_noise`.
`machine` is kept for testing alone, and of recordings the split `noise_unseen`: `build(..., training=True)` refuses
both, so that one family is unseen by everything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from harness.contracts import SAMPLE_RATE

Signal = NDArray[np.float64]
FRAME = SAMPLE_RATE // 50
ACTIVE_DB = 35.0


def active_power(wave: NDArray[np.floating]) -> float:
    """Mean power of the active part: the 20 ms frames at most 35 dB below the 95th percentile of frame power.

    Pauses would otherwise lower the level of speech, and so the noise put under it, by as much as they are
    long. A last partial frame counts with its own length. Close to ITU-T P.56, without its hangover.
    """
    padded, lengths, active = _frames(wave)
    return float(padded[active].sum() / lengths[active].sum())


def active_samples(wave: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n,) True in the frames that `active_power` counts."""
    return np.repeat(_frames(wave)[2], FRAME)[: len(wave)]


def _frames(wave: NDArray[np.floating]) -> tuple[Signal, NDArray[np.int_], NDArray[np.bool_]]:
    """Squared samples by frame (frames, FRAME), each frame's length, and whether it is active."""
    samples = np.asarray(wave, dtype=np.float64)
    padded = np.pad(samples**2, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    lengths = np.full(len(padded), FRAME)
    lengths[-1] -= padded.size - len(samples)
    power = padded.sum(axis=1) / lengths
    return padded, lengths, power >= np.quantile(power, 0.95) * 10 ** (-ACTIVE_DB / 10)


def mix(wave: NDArray[np.floating], noise: Signal, snr: float) -> Signal:
    """wave + scaled noise, so that active power of the wave over plain mean power of the noise is `snr`
    dB."""
    speech, other = active_power(wave), float(np.mean(noise**2))
    if speech <= 0 or other <= 0:
        raise ValueError("a signal-to-noise ratio needs a wave and a noise that are not all zero")
    scaled: Signal = noise * np.sqrt(speech / other / 10 ** (snr / 10))
    return np.asarray(wave, dtype=np.float64) + scaled


def white(n: int, rng: np.random.Generator) -> Signal:
    return rng.standard_normal(n)


def pink(n: int, rng: np.random.Generator) -> Signal:
    """Power falls as 1/f: 3 dB an octave, from 20 Hz up."""
    return _coloured(n, rng, 1.0)


def brown(n: int, rng: np.random.Generator) -> Signal:
    """Power falls as 1/f^2: 6 dB an octave, from 20 Hz up."""
    return _coloured(n, rng, 2.0)


def hum(n: int, rng: np.random.Generator) -> Signal:
    """Mains hum: 50 or 60 Hz and 15 harmonics of random phase, falling as 1/k, over white noise 40 dB
    below."""
    mains = rng.choice([50.0, 60.0]) * (1 + rng.uniform(-0.002, 0.002))
    out = _harmonics(np.full(n, mains), 16, rng)
    return out + 0.01 * np.std(out) * rng.standard_normal(n)


def machine(n: int, rng: np.random.Generator) -> Signal:
    """A rotating machine, for testing alone: a shaft at 15-60 Hz whose speed wanders by 1 %, 30 harmonics,
    and noise of three resonances between 300 and 5000 Hz that beats with the shaft."""
    shaft = rng.uniform(15.0, 60.0)
    wander = np.cumsum(rng.standard_normal(n // FRAME + 2))
    wander -= wander.mean()
    bend: Signal = shaft * (1 + 0.01 * wander / max(np.abs(wander).max(), 1e-9))
    speed = np.interp(np.arange(n), np.arange(len(bend)) * FRAME, bend)
    beat = 1 + 0.8 * np.sin(2 * np.pi * np.cumsum(speed) / SAMPLE_RATE)
    rush = np.zeros(n)
    for centre in rng.uniform(300.0, 5_000.0, 3):
        sos = butter(1, (0.8 * centre, 1.2 * centre), btype="bandpass", fs=SAMPLE_RATE, output="sos")
        rush += sosfilt(sos, rng.standard_normal(n + FRAME))[FRAME:]
    tones = _harmonics(speed, 30, rng)
    return tones / max(float(np.std(tones)), 1e-9) + beat * rush / max(float(np.std(rush)), 1e-9)


FAMILIES: dict[str, Callable[[int, np.random.Generator], Signal]] = {
    "white": white,
    "pink": pink,
    "brown": brown,
    "hum": hum,
    "machine": machine,
}
TEST_ONLY = frozenset({"machine"})
TEST_ONLY_SPLIT = "noise_unseen"


def _coloured(n: int, rng: np.random.Generator, slope: float) -> Signal:
    length = max(n, SAMPLE_RATE)  # a short piece is cut from a second, so that it has the low end too
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    gain = np.where(hertz < 20.0, 0.0, np.maximum(hertz, 20.0) ** (-slope / 2))
    return np.fft.irfft(spectrum * gain, length)[:n]


def _harmonics(hertz: Signal, count: int, rng: np.random.Generator) -> Signal:
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    shifts = rng.uniform(0, 2 * np.pi, count)
    return np.asarray(sum(np.sin(k * phase + shifts[k - 1]) / k for k in range(1, count + 1)))
