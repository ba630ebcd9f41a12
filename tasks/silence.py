"""Silence trimming after sox, `silence 1 0.1 0.1% -1 0.1 0.1%`: the front end of SUPERB's speaker
verification.

Sound is where the RMS over the last 20 ms (sox's running window, zero at the start and again after every cut)
exceeds 0.1 % of full scale. What precedes the first 0.1 s of unbroken sound goes; then every pause of 0.1 s
or more goes whole, and copying resumes at the next 0.1 s of unbroken sound. sox also rounds the RMS down to
the input's bit depth; that is left out, as waveforms here are floating point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contracts import SAMPLE_RATE

WINDOW = SAMPLE_RATE // 50
HOLD = SAMPLE_RATE // 10
THRESHOLD = 1e-3


def sounding(wave: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n,) True for the samples that are kept."""
    energy = np.concatenate([[0.0], np.cumsum(np.asarray(wave, dtype=np.float64) ** 2)])
    keep = np.zeros(len(wave), dtype=bool)
    at, copying, loud = 0, False, _loud(energy, 0)
    while at < len(wave):
        begin, whole = _first_run(loud, at, not copying)
        if not copying:
            at, copying = begin, True
            continue
        if not whole:
            keep[at:] = True  # a pause under 0.1 s at the very end stays, as in sox
            break
        keep[at:begin] = True
        at, copying = begin + HOLD, False
        loud = _loud(energy, at)
    return keep


def _loud(energy: NDArray[np.float64], since: int) -> NDArray[np.bool_]:
    """(n,) whether the window that ends with each sample is above the threshold, all before `since` taken as
    zero."""
    last = np.arange(1, len(energy))
    first = np.maximum(last - WINDOW, min(since, len(energy) - 1))
    return (energy[last] - energy[np.minimum(first, last)]) > WINDOW * THRESHOLD**2


def _first_run(loud: NDArray[np.bool_], start: int, value: bool) -> tuple[int, bool]:
    """Where the first run of HOLD samples equal to `value` begins, from `start` on, and whether there is
    one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud[start:] == value, [False]])))
    runs = edges.reshape(-1, 2)
    whole = runs[runs[:, 1] - runs[:, 0] >= HOLD]
    return (start + int(whole[0, 0]), True) if len(whole) else (len(loud), False)
