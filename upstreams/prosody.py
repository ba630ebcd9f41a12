"""Acoustic measures of an utterance by Praat (Boersma & Weenink), through praat-parselmouth.

    measures(wave)       seven numbers of one wave
    quartiles(train)     the three edges that cut the training set into equal parts
    classes(values, …)   which part each value falls into

They are targets of probes: what a representation tells of the voice, as labels of four classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.contracts import SAMPLE_RATE
from harness.errors import UserError
from harness.figures import library

FLOOR, CEILING = 75.0, 600.0
"""Hz: the range in which periods are looked for. Praat's own defaults for pitch and pulses."""
SHORTEST, LONGEST, FACTOR, AMPLITUDE_FACTOR = 1e-4, 0.02, 1.3, 1.6
"""Praat's defaults for jitter and shimmer: periods in seconds, and how far neighbours may differ to be compared."""
VERSION = "1"
"""Raised when a measure changes: stored values of another version are measured again."""

MEASURES = {
    "duration": "s",
    "intensity_mean": "dB",
    "pitch_mean": "Hz",
    "pitch_std": "Hz",
    "jitter_local": "share of a period",
    "shimmer_local_db": "dB",
}
"""By name, the unit."""

Floats = npt.NDArray[np.float64]


def measures(wave: npt.ArrayLike, rate: int = SAMPLE_RATE) -> dict[str, float]:
    """`MEASURES` of a mono wave (n,) at `rate` Hz; NaN where one is undefined (no voiced frame, too short a wave).

    Intensity is averaged as energy, in dB re 20 uPa for samples in Pa, so only differences mean something. Pitch is by
    autocorrelation with frames of Praat's own step, over voiced frames, its deviation with n - 1. Jitter and shimmer
    are Praat's "local" ones over the pulses of the periodic cross-correlation method. Raises UserError where
    praat-parselmouth is not installed."""
    praat = library("parselmouth")
    samples = np.asarray(wave, dtype=np.float64)
    found = dict.fromkeys(MEASURES, math.nan) | {"duration": len(samples) / rate}
    sound = praat.Sound(samples, sampling_frequency=rate)
    try:
        intensity = sound.to_intensity(minimum_pitch=FLOOR)
        found["intensity_mean"] = float(praat.praat.call(intensity, "Get mean", 0, 0, "energy"))
        pitch = sound.to_pitch(pitch_floor=FLOOR, pitch_ceiling=CEILING).selected_array["frequency"]
        pulses = praat.praat.call(sound, "To PointProcess (periodic, cc)", FLOOR, CEILING)
    except praat.PraatError:  # a wave shorter than a window of three periods
        return found
    voiced = pitch[pitch > 0]
    if len(voiced):
        found["pitch_mean"] = float(voiced.mean())
    if len(voiced) > 1:
        found["pitch_std"] = float(voiced.std(ddof=1))
    limits = (0, 0, SHORTEST, LONGEST, FACTOR)
    found["jitter_local"] = float(praat.praat.call(pulses, "Get jitter (local)", *limits))
    shimmer = praat.praat.call([sound, pulses], "Get shimmer (local_dB)", *limits, AMPLITUDE_FACTOR)
    return found | {"shimmer_local_db": float(shimmer)}


def quartiles(train: Sequence[float]) -> Floats:
    """The quartiles of the training values, (3,), undefined ones taken as 0 (Mohebbi et al. 2024, arXiv:2410.03037).

    Raises UserError where two of them are equal: there would be fewer than four classes."""
    edges: Floats = np.quantile(_defined(train), [0.25, 0.5, 0.75])
    if not (np.diff(edges) > 0).all():
        raise UserError(f"three different quartiles wanted, found {edges.tolist()}; the measure hardly varies in train")
    return edges


def classes(values: Sequence[float], edges: Floats) -> list[str]:
    """'q1' … 'q4' of each value by the edges of `quartiles`; a value on an edge belongs above it, NaN counts as 0."""
    return [f"q{part + 1}" for part in np.searchsorted(edges, _defined(values), side="right")]


def _defined(values: Sequence[float]) -> Floats:
    return np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0)
