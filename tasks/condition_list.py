"""The standard conditions: for each kind three strengths, mild, medium and strong, and what each does to a signal.

    LADDERS["babble"].ops[1]        # the ops of medium babble, as a task's YAML has them
    python tasks/show_conditions.py OUT.png

Strengths are set by what they are named after (SNR, T60, share of samples clipped, bits); `distance` measures all of
them by one yardstick, so that two kinds can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import stft

from harness.contracts import SAMPLE_RATE
from tasks.noises import active_power

STRENGTHS = ("mild", "medium", "strong")
Ops = list[dict[str, Any]]


@dataclass(frozen=True)
class Ladder:
    unit: str
    """What the three strengths are strengths of."""
    labels: tuple[str, str, str]
    ops: tuple[Ops, Ops, Ops]


def _noise(family: str, *snrs: float) -> Ladder:
    return _ladder("SNR, dB", snrs, lambda snr: [{"op": "noise", "family": family, "snr": snr}])


def _recorded(split: str, otherwise: str, count: int, *snrs: float) -> Ladder:
    base: dict[str, Any] = {"op": "recorded_noise", "split": split, "otherwise": otherwise}
    more = {"count": count} if count > 1 else {}
    return _ladder("SNR, dB", snrs, lambda snr: [{**base, **more, "snr": snr}])


def _codec(codec: str, levels: dict[str, float]) -> Ladder:
    """`levels` by the kbit/s that they were measured to need, on the embedded recordings of real people."""
    base: dict[str, Any] = {"op": "codec", "codec": codec, "rate": 16_000}
    return _ladder("kbit/s", levels.items(), lambda one: [{**base, "level": one[1]}], lambda one: one[0])


def _ladder(unit: str, values: Any, ops: Any, label: Any = "{:g}".format) -> Ladder:
    first, second, third = values
    return Ladder(unit, (label(first), label(second), label(third)), (ops(first), ops(second), ops(third)))


def _span(pair: list[float]) -> str:
    return f"{pair[0]:g}-{pair[1]:g}"


TELEPHONE: dict[str, Any] = {"op": "band", "low": 300, "high": 3_400}
ULAW: dict[str, Any] = {"op": "codec", "codec": "ulaw"}
GSM: dict[str, Any] = {"op": "codec", "codec": "gsm"}
CALLS: dict[str, Ops] = {"mu-law": [ULAW], "GSM": [GSM], "GSM twice": [GSM, GSM]}
SHORT, MIDDLE, LONG = [0.2, 0.4], [0.4, 0.6], [0.6, 0.8]

LADDERS: dict[str, Ladder] = {
    "white": _noise("white", 20, 10, 0),
    "pink": _noise("pink", 20, 10, 0),
    "brown": _noise("brown", 20, 10, 0),
    "hum": _noise("hum", 20, 10, 0),
    "babble": _noise("babble", 20, 10, 0),
    "machine": _noise("machine", 20, 10, 0),
    "musan_noise": _recorded("noise", "pink", 1, 20, 10, 0),
    "musan_music": _recorded("music", "hum", 1, 20, 10, 0),
    "musan_babble": _recorded("speech", "babble", 5, 20, 10, 0),
    "room": _ladder("T60, s", (SHORT, MIDDLE, LONG), lambda t60: [{"op": "room", "t60": t60}], _span),
    "far_room": _ladder(
        "T60, s, at 2-3 m", ([0.2, 0.4], [0.4, 0.6], [0.8, 1.0]),
        lambda t60: [{"op": "simulated_room", "t60": t60, "distance": [2.0, 3.0]}], _span,
    ),
    "band": _ladder(
        "kept, Hz", ([0, 4_000], [300, 3_400], [500, 2_000]),
        lambda edges: [{"op": "band", "low": edges[0], "high": edges[1]}], _span,
    ),
    "telephone": _ladder(
        "in 300-3400 Hz", ("mu-law", "GSM", "GSM twice"),
        lambda calls: [TELEPHONE, *CALLS[calls]], str,
    ),
    "opus": _codec("opus", {"19": 0.95, "9": 0.99, "6.5": 1.0}),
    "mp3": _codec("mp3", {"43": 0.5, "29": 0.9, "23": 0.99}),
    "vorbis": _codec("vorbis", {"48": 0.5, "34": 0.8, "27": 1.0}),
    "clip": _ladder("share clipped", (0.02, 0.1, 0.3), lambda share: [{"op": "clip", "share": share}]),
    "level": _ladder("active level, dBov", (-36, -46, -56), lambda dbov: [{"op": "level", "dbov": dbov}]),
    "slow": _ladder("speed", (0.95, 0.9, 0.8), lambda factor: [{"op": "speed", "factor": factor}]),
    "fast": _ladder("speed", (1.05, 1.1, 1.25), lambda factor: [{"op": "speed", "factor": factor}]),
    "low_pitch": _ladder("semitones", (-1, -2, -4), lambda by: [{"op": "pitch", "semitones": by}]),
    "high_pitch": _ladder("semitones", (1, 2, 4), lambda by: [{"op": "pitch", "semitones": by}]),
    "crop": _ladder("seconds", (2.0, 1.0, 0.5), lambda seconds: [{"op": "crop", "seconds": seconds}]),
}  # fmt: skip


def distance(clean: NDArray[np.floating], changed: NDArray[np.floating]) -> float:
    """Log-spectral distance in dB of two waves (n,): the root mean square over frequency of the difference of their
    log spectra, averaged over frames of 32 ms, a gain between them taken out (Gray & Markel 1976). Spectra are floored
    50 dB below the clean wave's mean. NaN where the lengths differ."""
    if len(clean) != len(changed):
        return float("nan")
    one, other = _log_spectra(clean), _log_spectra(changed)
    return float(np.sqrt(((one - other) ** 2).mean(axis=0)).mean())


def snr(clean: NDArray[np.floating], changed: NDArray[np.floating]) -> float:
    """dB of the part of `changed` that is the clean wave times a gain, over the rest; NaN where the lengths differ."""
    if len(clean) != len(changed):
        return float("nan")
    one, other = np.asarray(clean, dtype=np.float64), np.asarray(changed, dtype=np.float64)
    part = one * (one @ other) / (one @ one)
    rest = float(np.sum((other - part) ** 2))
    return float(10 * np.log10(part @ part / rest)) if rest > 0 else float("inf")


def _log_spectra(wave: NDArray[np.floating]) -> NDArray[np.float64]:
    """(frequencies, frames) in dB, at an active level of 0 dB."""
    level = np.asarray(wave, dtype=np.float64) / np.sqrt(active_power(wave))
    power = np.abs(stft(level, SAMPLE_RATE, nperseg=512, noverlap=352)[2]) ** 2 * 512
    return np.asarray(10 * np.log10(power + 1e-5))
