"""What every op of a condition is, and what several of them share."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from harness import audio
from harness.contracts import Utterance
from harness.errors import UserError
from tasks.noises import Signal

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]*$")]


class Op(BaseModel):
    """`resources` are the manifest rows it may read, fixed when the condition is built; their content is part
    of the condition's version, as are `libraries`, whose release may change the samples."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    VERSION: ClassVar[int] = 1
    KEEPS_LENGTH: ClassVar[bool] = True
    op: str

    def resources(self, data: Path) -> tuple[Utterance, ...]:
        return ()

    def libraries(self) -> dict[str, str]:
        return {}

    def test_only(self) -> bool:
        """Whether it is kept for testing alone, so that no model has met it in training."""
        return False

    def run(
        self, wave: Signal, rng: np.random.Generator, utterance_id: str, resources: tuple[Utterance, ...]
    ) -> Signal:
        raise NotImplementedError


@lru_cache(maxsize=256)
def clip(row: Utterance) -> NDArray[np.float32]:
    """A row's samples (n,) at 16 kHz, kept in memory: for short ones that are read again and again."""
    return audio.read(row)


def fit(wave: NDArray[np.floating], n: int) -> Signal:
    """Cut, or pad with zeros, at the end: resampling and codecs round lengths up to their own grid."""
    return np.pad(np.asarray(wave[:n], dtype=np.float64), (0, max(0, n - len(wave))))


PACKAGES = {"pyroomacoustics": "pyroomacoustics", "parselmouth": "praat-parselmouth"}
"""By module, the package that has it: those of the extra `conditions`."""


def library(module: str) -> Any:
    """A module of the extra `conditions`. Raises UserError with the way to install it where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{PACKAGES[module]} wanted for this condition, not installed ({error}): pip install -e '.[conditions]'"
        ) from error


def release(module: str) -> dict[str, str]:
    """The installed release of a module of the extra, for `Op.libraries`. Raises UserError as `library` does."""
    library(module)
    return {PACKAGES[module]: version(PACKAGES[module])}
