"""What an upstream costs and what it was trained on, as measured once: the schema of leaderboard/costs/NAME.json.

Needs no torch: `harness/cost.py` writes it, the leaderboard reads it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from harness.errors import UserError
from harness.results import Provenance, Strict, atomic_write


class Encoding(Strict):
    """Encoding noise of `seconds`, one wave at a time."""

    seconds: float = Field(gt=0)
    """Of audio."""
    repeats: int = Field(gt=0)
    parameters: int
    """Of the upstream and its backbone."""
    macs_per_second: int
    """Multiply-adds a second of audio: half of what torch.utils.flop_counter counts, which is products of matrices,
    convolutions and attention, and no FFT."""
    real_time_factor: float
    """Seconds of computing a second of audio, the smallest of the repeats; on a CPU those of one core."""
    time_ratio: float | None = None
    """To the backbone alone, in the same process, the repeats alternating; None for what has no backbone."""
    peak_memory_mb: float
    """Of the whole process on a CPU, Python and torch included; what torch held at most on a GPU."""
    idle_memory_mb: float
    """The process before the upstream was built; 0 on a GPU."""


class Training(Strict):
    """The data of the post-training, every stage of it: the rows that its checkpoints name, checked by their hash. Rows
    that only chose the weights are not counted, but for what they share with a test."""

    data: list[str]
    checkpoints: list[str]
    """Their tensors' sha256, the last stage first."""
    clips: int
    hours: float
    speakers: int
    sentences: int
    seconds: float | None = None
    """What all of it takes on the device of the record, on a CPU on one core, computed from `timed_updates` timed
    updates out of `updates` (see `harness/cost_training.py`); None where that was not measured or cannot be."""
    updates: int | None = None
    timed_updates: int | None = None


class Overlap(Strict):
    """What a split's test rows share with the training and dev rows of the post-training: how many of how many. What is
    shared by none is left out of the file."""

    speakers: tuple[int, int] = (0, 0)
    sentences: tuple[int, int] = (0, 0)
    recordings: tuple[int, int] = (0, 0)


class Record(Strict):
    """`training` and `overlaps` are None where nothing was post-trained, or its data cannot be known."""

    upstream: str
    fingerprint: str
    encoding: Encoding
    training: Training | None = None
    overlaps: dict[str, Overlap] | None = None
    """By `key`: suite, task, split and the sha256 of the split's rows."""
    provenance: Provenance

    def shared_with(self, suite: str, task: str, split: str, data_sha256: str) -> Overlap | None:
        return (self.overlaps or {}).get(key(suite, task, split, data_sha256))


def key(suite: str, task: str, split: str, data_sha256: str) -> str:
    return f"{suite}/{task}/{split}/{data_sha256[:16]}"


def file_of(folder: Path, upstream: str) -> Path:
    return folder / f"{upstream.replace(':', '_')}.json"


def save(folder: Path, record: Record) -> Path:
    path = file_of(folder, record.upstream)
    atomic_write(path, (record.model_dump_json(indent=1, exclude_defaults=True) + "\n").encode())
    return path


def load(path: Path) -> Record:
    """Raises UserError for a file that is no such record."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); measure it again with harness/cost.py") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise UserError(f"{path} is no record of harness/cost.py: {what}; measure it again") from None
