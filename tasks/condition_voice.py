"""Ops that change how fast and how high somebody speaks."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from harness import audio
from harness.contracts import SAMPLE_RATE
from tasks import noises
from tasks.condition_base import Op, fit, library, release
from tasks.noises import Signal

FLOOR, CEILING = 75.0, 600.0
"""Hz: the range in which Praat looks for F0; its own defaults."""


class Speed(Op):
    """Play the wave `factor` times as fast, in steps of 0.01: (n,) becomes (n / factor,), and pitch and formants move
    with it (speed perturbation as in Ko et al. 2015, and sox `speed`)."""

    KEEPS_LENGTH: ClassVar[bool] = False
    op: Literal["speed"]
    factor: Annotated[float, Field(ge=0.5, le=2)]

    @field_validator("factor")
    @classmethod
    def _of_hundredths(cls, value: float) -> float:
        if abs(100 * value - round(100 * value)) > 1e-9:
            raise ValueError("steps of 0.01 wanted")
        return value

    def run(self, wave: Signal, *_: Any) -> Signal:
        return audio.resample(wave, round(self.factor * 100) * SAMPLE_RATE // 100, SAMPLE_RATE).astype(np.float64)


class Pitch(Op):
    """Shift F0 by `semitones` with Praat's pitch-synchronous overlap-add (Moulines & Charpentier 1990): duration,
    formants and the active level stay. A wave in which no voice is found stays as it is."""

    op: Literal["pitch"]
    semitones: Annotated[float, Field(ge=-12, le=12)]

    def libraries(self) -> dict[str, str]:
        return release("parselmouth")

    def run(self, wave: Signal, *_: Any) -> Signal:
        praat = library("parselmouth")
        call = praat.praat.call
        sound = praat.Sound(wave, sampling_frequency=SAMPLE_RATE)
        try:
            manipulation = call(sound, "To Manipulation", 0.01, FLOOR, CEILING)
        except praat.PraatError:  # shorter than the three periods of the lowest F0 that Praat wants
            return wave
        tier = call(manipulation, "Extract pitch tier")
        if call(tier, "Get number of points") == 0:
            return wave
        call(tier, "Multiply frequencies", sound.xmin, sound.xmax, 2 ** (self.semitones / 12))
        call([tier, manipulation], "Replace pitch tier")
        moved = fit(call(manipulation, "Get resynthesis (overlap-add)").values[0], len(wave))
        after = noises.active_power(moved)
        return moved * np.sqrt(noises.active_power(wave) / after) if after > 0 else moved
