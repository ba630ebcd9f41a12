"""What conditions read from disk: room impulse responses and pools of clips, by corpus and split; and the
convolution.

A corpus is a folder of the data root with a manifest. A room's `label` is its T60, the seconds in which sound
falls by 60 dB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from harness.contracts import SAMPLE_RATE, Utterance
from harness.errors import UserError
from harness.registry import resolve
from tasks.manifest import read_manifest, select
from tasks.noises import Signal, active_power


def known(data: Path, corpus: str) -> bool:
    """Whether there is such a corpus: embedded, or in the user's list of folders."""
    return (data / corpus).is_dir() or corpus in resolve("tasks.folders:sources")()


def pool(data: Path, corpus: str, split: str | None) -> tuple[Utterance, ...]:
    """The rows of a corpus, or of one split of it, in order of id: an embedded one, else the user's own copy. Raises
    UserError as the manifest does, and for a corpus whose folder the user has not named."""
    rows = read_manifest(data / corpus / "manifest.csv") if (data / corpus).is_dir() else _own(corpus)
    chosen = [row for row in rows if not split or split in row.split.split()]
    if not chosen:
        select(rows, split=str(split))  # which says what splits there are
    return tuple(sorted(chosen, key=lambda row: row.id))


def _own(corpus: str) -> list[Utterance]:
    """The user's copy. Looked up by name, as embedded corpora need none of that code."""
    source = resolve("tasks.folders:wanted")(corpus, resolve("tasks.folders:sources")())
    rows: list[Utterance] = resolve("tasks.prepared:prepare")(source).rows
    return rows


def responses(data: Path, corpus: str, split: str | None, low: float, high: float) -> tuple[Utterance, ...]:
    """The impulse responses with low <= T60 <= high seconds. Raises UserError for a label that is no number
    and when none is in the range."""
    rows = pool(data, corpus, split)
    try:
        times = [float(row.label) for row in rows]
    except ValueError:
        bad = next(row for row in rows if not row.label.replace(".", "", 1).isdigit())
        raise UserError(
            f"room {bad.id} of {corpus}: wanted T60 in seconds as label, found {bad.label!r}; leave t60 out"
        ) from None
    chosen = tuple(row for row, time in zip(rows, times, strict=True) if low <= time <= high)
    if not chosen:
        raise UserError(
            f"no room of {corpus} has a T60 from {low:g} to {high:g} s; found {min(times):g} to {max(times):g} s"
        )
    return chosen


def convolve(wave: Signal, response: Signal) -> Signal:
    """The wave (n,) in the room, (n,): the response's peak, its direct path, stays at lag 0; same active
    power."""
    direct = int(np.argmax(np.abs(response)))
    wet = np.asarray(fftconvolve(wave, response))[direct : direct + len(wave)]
    before, after = active_power(wave), active_power(wet)
    return wet * np.sqrt(before / after) if after > 0 else wet


def schroeder_t60(response: Signal, high: float = -5.0, low: float = -25.0) -> float:
    """T60 in seconds of an impulse response (n,) at 16 kHz: the line fitted to its backward-integrated energy
    (Schroeder 1965) between `high` and `low` dB, extrapolated to -60 dB (ISO 3382-2)."""
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    decay = 10 * np.log10(energy / energy[0] + 1e-20)
    inside = np.flatnonzero((decay <= high) & (decay >= low))
    return float(-60.0 / np.polyfit(inside / SAMPLE_RATE, decay[inside], 1)[0])
