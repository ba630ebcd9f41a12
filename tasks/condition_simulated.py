"""Rooms that are simulated when they are wanted: boxes by the image source method of pyroomacoustics, their walls
solved for the T60 asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from harness.contracts import SAMPLE_RATE
from tasks import rooms
from tasks.condition_base import Op, library, release
from tasks.noises import Signal

ATTEMPTS, ROUNDS = 50, 8
OFFSET = 40
"""Samples by which pyroomacoustics delays a response: half of its fractional-delay filter."""
WALL = 0.5
"""Metres that source and microphone keep from the walls."""
SHAKE = 0.05
"""Metres by which image positions are moved, against the sweeping echoes of a perfect box (De Sena et al. 2015)."""
ORDER = 50
"""Of reflections, at most: enough for the first 25 dB of the fall of every T60 that is allowed."""
WITHIN = 0.02
"""Relative, of the T60."""


class SimulatedRoom(Op):
    """Convolve with one of `rooms` simulated rooms, drawn for each utterance: boxes of random size, T60 spread evenly
    over `t60` [from, to] seconds and each within 2 % of its own, source and microphone `distance` [from, to] metres
    apart. Otherwise as `room`."""

    op: Literal["simulated_room"]
    t60: Annotated[list[float], Field(min_length=2, max_length=2)]
    distance: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.6, 1.8]
    rooms: Annotated[int, Field(ge=1, le=1_000)] = 20

    @model_validator(mode="after")
    def _possible(self) -> SimulatedRoom:
        if not 0.15 <= self.t60[0] <= self.t60[1] <= 1.2:
            raise ValueError("t60: wanted 0.15 <= from <= to <= 1.2 s")
        if not 0.2 <= self.distance[0] <= self.distance[1] <= 4:
            raise ValueError("distance: wanted 0.2 <= from <= to <= 4 m")
        return self

    def libraries(self) -> dict[str, str]:
        return release("pyroomacoustics")

    def run(self, wave: Signal, rng: np.random.Generator, *_: Any) -> Signal:
        number = int(rng.integers(self.rooms))
        t60 = self.t60[0] + (self.t60[1] - self.t60[0]) * (number + 0.5) / self.rooms
        return rooms.convolve(wave, response(t60, self.distance[0], self.distance[1], number))


@lru_cache(maxsize=1_024)
def response(t60: float, near: float, far: float, number: int) -> Signal:
    """The impulse response (n,) of room `number`, n about 1.2 t60; its peak is the direct path. Raises ValueError where
    no box has that T60."""
    for attempt in range(ATTEMPTS):
        found = _solved(t60, near, far, np.random.default_rng([number, attempt]))
        if found is not None:
            return found
    raise ValueError(f"wanted a room with a T60 of {t60:.2f} s and {near:g} to {far:g} m in it, found none; widen them")


def _solved(t60: float, near: float, far: float, rng: np.random.Generator) -> Signal | None:
    """A room whose T60 is right, or None where this draw cannot have it: absorption by Sabine's formula is corrected by
    what comes out."""
    span = float(np.clip((t60 - 0.2) / 0.6, 0, 2))  # long reverberation is found in large rooms
    size = np.array([rng.uniform(3, 5) + 2 * span, rng.uniform(2.8, 4) + 2 * span, rng.uniform(2.4, 3) + 0.5 * span])
    source = rng.uniform(WALL, size - WALL)
    microphones = rng.uniform(WALL, size - WALL, (200, 3))
    apart = np.linalg.norm(microphones - source, axis=1)
    fitting = np.flatnonzero((near <= apart) & (apart <= far))
    if not len(fitting):
        return None
    microphone, seed, asked = microphones[fitting[0]], int(rng.integers(1 << 31)), t60
    for _ in range(ROUNDS):
        found = _image_sources(size, source, microphone, asked, seed)
        if found is None:
            return None
        measured = rooms.schroeder_t60(found)
        if abs(measured / t60 - 1) <= WITHIN:
            return found[: round(1.2 * t60 * SAMPLE_RATE)]
        asked *= t60 / measured
    return None


def _image_sources(size: Signal, source: Signal, microphone: Signal, t60: float, seed: int) -> Signal | None:
    """The response (n,) from the direct path on; None where no absorption gives the T60, or an echo is louder."""
    pra = library("pyroomacoustics")
    try:
        absorption, _ = pra.inverse_sabine(t60, size)
    except ValueError:
        return None
    sound_speed, threads = float(pra.constants.get("c")), pra.constants.get("num_threads")
    pra.random.seed(seed)
    pra.constants.set("num_threads", 1)  # the sums are in another order, and so another value, with each other number
    try:
        box = pra.ShoeBox(
            size,
            fs=SAMPLE_RATE,
            materials=pra.Material(absorption),
            max_order=min(int(np.ceil(sound_speed * 1.1 * t60 / size.min())), ORDER),
            use_rand_ism=True,
            max_rand_disp=SHAKE,
        )
        box.add_source(source)
        box.add_microphone(microphone)
        box.compute_rir()
    finally:
        pra.constants.set("num_threads", threads)
    found = np.asarray(box.rir[0][0], dtype=np.float64)
    direct = OFFSET + float(np.linalg.norm(source - microphone)) / sound_speed * SAMPLE_RATE
    peak = int(np.argmax(np.abs(found)))
    return found[max(0, peak - OFFSET) :] if abs(peak - direct) <= 2 else None
