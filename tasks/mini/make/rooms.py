"""Sixteen room impulse responses: shoebox rooms by the image source method, T60 spread evenly over 0.2-0.8 s.

    python -m tasks.mini.make rooms --scratch DIR

Needs `pip install pyroomacoustics==0.10.1 soundfile`. A room's size, source and microphone are drawn by a seed;
its walls' absorption is then solved for the wanted T60. Image positions are shaken by up to 5 cm, which breaks
the sweeping echoes of a perfect box (De Sena et al., 2015).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contracts import SAMPLE_RATE
from tasks.mini.make.pack import Clip, pack
from tasks.rooms import schroeder_t60

SEED = 2026
ROOMS = 16
SHORTEST, LONGEST = 0.2, 0.8
DIRECT = 40
"""Sample of the direct path, and of the peak, in every response."""
PEAK = 0.9
LENGTH = SAMPLE_RATE
"""Samples at most: 1 s. The tail ends earlier, where it is 63 dB down."""
MARGIN = 0.7
SHAKE = 0.05


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    targets = np.linspace(SHORTEST, LONGEST, ROOMS)
    clips = [_clip(number, target) for number, target in enumerate(targets)]
    pack(
        folder,
        "rooms",
        clips,
        source="pyroomacoustics 0.10.1 image source",
        licence="Apache-2.0",
        level=None,
        peak=PEAK,
    )


def _clip(number: int, target: float) -> Clip:
    for attempt in range(50):
        seed = SEED + 100 * number + attempt
        response = _room(target, seed)
        if response is not None:
            return Clip(
                id=f"rooms-{number:02d}",
                split="rooms",
                wave=response,
                speaker="-",
                language="-",
                channel="image_source",
                label=f"{schroeder_t60(response):.2f}",
            )
    raise ValueError(f"no room found for a T60 of {target:.2f} s")


def _room(target: float, seed: int) -> NDArray[np.float64] | None:
    """A response (n,) whose T60 is within 0.01 s of the target, or None where this draw cannot have one."""
    draw = np.random.default_rng(seed)
    span = (target - SHORTEST) / (LONGEST - SHORTEST)
    size = np.array(
        [draw.uniform(3.0, 5.0) + 2 * span, draw.uniform(2.8, 4.0) + 2 * span, draw.uniform(2.4, 3.0) + 0.5 * span]
    )
    source = draw.uniform(MARGIN, size - MARGIN)
    for _ in range(200):
        microphone = draw.uniform(MARGIN, size - MARGIN)
        if 0.6 <= np.linalg.norm(source - microphone) <= 1.8:
            break
    else:
        return None
    wanted = target
    for _ in range(8):
        response = _image_source(size, source, microphone, wanted, seed)
        if response is None or int(np.argmax(np.abs(response))) != DIRECT:
            return None
        measured = schroeder_t60(response)
        if abs(measured - target) <= 0.01:
            return response
        wanted *= target / measured
    return None


def _image_source(
    size: NDArray[np.float64],
    source: NDArray[np.float64],
    microphone: NDArray[np.float64],
    t60: float,
    seed: int,
) -> NDArray[np.float64] | None:
    """The response (n,), n <= 1 s, cut so that the direct path lies at DIRECT; Sabine's walls for `t60`."""
    import pyroomacoustics

    try:
        absorption, _ = pyroomacoustics.inverse_sabine(t60, size)
    except ValueError:
        return None
    order = int(np.ceil(pyroomacoustics.constants.get("c") * 1.1 * t60 / size.min()))
    pyroomacoustics.random.seed(seed)
    box = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, 60),
        use_rand_ism=True,
        max_rand_disp=SHAKE,
    )
    box.add_source(source)
    box.add_microphone(microphone)
    box.compute_rir()
    response = np.asarray(box.rir[0][0], dtype=np.float64)
    peak = int(np.argmax(np.abs(response)))
    length = min(LENGTH, DIRECT + round(1.05 * t60 * SAMPLE_RATE))
    return response[peak - DIRECT :][:length] if peak >= DIRECT else None
