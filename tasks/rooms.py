"""What conditions read from disk: room impulse responses and pools of clips, by corpus and split; and the
convolution.

A corpus is a folder of the data root with a manifest. A room's `label` is its T60, the seconds in which sound
falls by 60 dB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from harness.contracts import Utterance
from harness.errors import UserError
from tasks.manifest import read_manifest, select
from tasks.noises import Signal, active_power


def pool(data: Path, corpus: str, split: str | None) -> tuple[Utterance, ...]:
    """The rows of a corpus, or of one split of it, in order of id. Raises UserError as the manifest does."""
    rows = read_manifest(data / corpus / "manifest.csv")
    return tuple(sorted(select(rows, split=split) if split else rows, key=lambda row: row.id))


def responses(data: Path, corpus: str, split: str | None, low: float, high: float) -> tuple[Utterance, ...]:
    """The impulse responses with low <= T60 <= high seconds. Raises UserError for a label that is no number
    and when none is in the range."""
    rows = pool(data, corpus, split)
    try:
        times = [float(row.label) for row in rows]
    except ValueError:
        bad = next(row for row in rows if not row.label.replace(".", "", 1).isdigit())
        raise UserError(f"room {bad.id} of {corpus}: wanted T60 in seconds as label, found {bad.label!r}") from None
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
