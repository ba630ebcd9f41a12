"""Landmark fingerprints: which clips are nearly the same sound, whatever their level, format or where they were cut.

    marks = landmarks(wave)                        # of each clip
    similar([marks_a, marks_b, ...], groups)       # [(0, 1, 0.6)]: 60 % of the smaller one's landmarks, at one offset

After A. Wang, "An industrial-strength audio search algorithm", ISMIR 2003: peaks of the spectrogram, paired with a few
that follow, hashed as (frequency, frequency, distance in time); two clips are one sound where many equal hashes lie at
one offset. Ours and not a library's: `pyacoustid` drives a Chromaprint binary that pip does not bring and is made for
songs of minutes, `audfprint` is not on PyPI.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import stft

from harness.contracts import SAMPLE_RATE

Marks = NDArray[np.int64]
"""(n, 2): the hash, and the frame where it begins."""

WINDOW, HOP = 512, 160
AROUND = (15, 11)
"""Bins and frames in which a peak is the largest."""
FLOOR = 60.0
"""dB under the clip's maximum below which nothing is a peak."""
FOLLOWERS, REACH, SPAN = 6, 60, 48
"""Pairs a peak begins; frames and bins to the peak that it is paired with, at most."""
COMMON = 40
"""A hash that more clips than this have tells nothing."""
OFFSET = 4
"""Frames within which offsets are one."""
LEAST, SHARE = 12, 0.08
"""Equal landmarks at one offset, and their part of the smaller clip's, from which two clips are similar. Of some 700
unrelated clips of the embedded suite no two had over 0.05 of a one-second word in common, nor over 0.01 of a sentence.
A sentence and its copy had 0.4 or more after another level, cut, rate or MP3, and 0.1 or more at 20 dB of white noise
or through GSM; copies of single words are found after another level, cut or rate alone."""


def landmarks(wave: NDArray[np.floating]) -> Marks:
    """Of a wave (n,) at 16 kHz."""
    if len(wave) < WINDOW:
        return np.empty((0, 2), dtype=np.int64)
    _, _, spectrum = stft(wave, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP, boundary=None, padded=False)
    level = 20 * np.log10(np.abs(spectrum) + 1e-9)
    peak = (level == maximum_filter(level, size=AROUND)) & (level > level.max() - FLOOR)
    time, bin_ = np.nonzero(peak.T)  # in order of time
    found = []
    for step in range(1, len(time)):
        apart, jump = time[step:] - time[:-step], bin_[step:] - bin_[:-step]
        near = (apart > 0) & (apart <= REACH) & (np.abs(jump) <= SPAN)
        if not (apart <= REACH).any():
            break
        first = np.nonzero(near)[0]
        found.append(np.column_stack([first, first + step]))
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    nth = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    a, b = pairs[nth < FOLLOWERS].T
    code = ((bin_[a] >> 1) << 16) | ((bin_[b] >> 1) << 8) | ((time[b] - time[a]) >> 1)
    return np.column_stack([code, time[a]]).astype(np.int64)


def similar(clips: Sequence[Marks], groups: Sequence[int]) -> list[tuple[int, int, float]]:
    """(clip, clip, part of the smaller one's landmarks found in the other at one offset) of clips in different groups,
    the most alike first."""
    sizes = np.array([len(marks) for marks in clips])
    if not sizes.sum():
        return []
    code, time = np.concatenate(list(clips)).T
    clip = np.repeat(np.arange(len(clips)), sizes)
    order = np.lexsort((clip, code))
    code, time, clip = code[order], time[order], clip[order]
    _, start, count = np.unique(code, return_index=True, return_counts=True)
    told = np.repeat(count <= COMMON, count)
    group = np.asarray(groups)
    found = []
    for step in range(1, min(COMMON, int(count.max()))):
        same = (code[step:] == code[:-step]) & told[step:] & (group[clip[step:]] != group[clip[:-step]])
        at = np.nonzero(same)[0]
        found.append(np.column_stack([clip[at], clip[at + step], time[at] - time[at + step]]))
    hits = np.concatenate(found) if found else np.empty((0, 3), dtype=np.int64)
    best: dict[tuple[int, int], int] = {}
    for shift in (0, OFFSET // 2):  # an offset at the edge of one bin lies within the other
        bins, votes = np.unique(
            np.column_stack([hits[:, :2], (hits[:, 2] + shift) // OFFSET]), axis=0, return_counts=True
        )
        for (a, b, _), vote in zip(bins[votes >= LEAST].tolist(), votes[votes >= LEAST].tolist(), strict=True):
            best[a, b] = max(best.get((a, b), 0), vote)
    parts = [(a, b, min(1.0, vote / min(sizes[a], sizes[b]))) for (a, b), vote in best.items()]
    return sorted(((a, b, float(part)) for a, b, part in parts if part >= SHARE), key=lambda one: (-one[2], one[:2]))
