"""Learning rates of post-training, as pure functions: what the trial's rate is multiplied by at an update.

`fit` takes one as `rate`: nothing of it needs saving, so a resumed run sees the same rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.errors import UserError

Rate = Callable[[int], float]
"""Update (0, 1, …) -> factor of the trial's learning rate."""


def cosine(steps: int, warmup: float = 0.1) -> Rate:
    """Linear from 0 over the first `warmup` of the updates, then half a cosine down to 0 after the last: what
    transformers' `get_cosine_schedule_with_warmup` gives. Raises UserError unless 0 <= warmup < 1."""
    if not 0 <= warmup < 1:
        raise UserError(f"cosine schedule: a warm-up of 0 to 1 of the updates wanted, found {warmup}")
    rise = int(steps * warmup)

    def factor(step: int) -> float:
        if step < rise:
            return step / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return factor


def tri_stage(steps: int, rise: float = 0.1, hold: float = 0.4) -> Rate:
    """Linear from 0 to 1 over the first `rise` of the updates, 1 for the next `hold`, then linear to 0 at the end: the
    schedule of Speech-FT (10/40/50). Raises UserError unless the parts are positive and leave room for the fall."""
    if not (rise >= 0 and hold >= 0 and rise + hold < 1):
        raise UserError(f"tri-stage schedule: parts that sum to less than 1 wanted, found {rise} and {hold}")
    top, fall = rise * steps, (rise + hold) * steps

    def factor(step: int) -> float:
        if step < top:
            return step / top
        if step <= fall:
            return 1.0
        return max(0.0, (steps - step) / (steps - fall))

    return factor
