"""The result of a cell (upstream x task x head x seed): its schema, and the one way to write and read it.

A result is a folder:

    result.json             written last and atomically: its existence means the cell is complete
    predictions/SPLIT.jsonl.gz   one line a trial or utterance, keyed by id
    references/SPLIT.csv.gz      what the predictions are scored against, keyed by id, with the clusters to resample

Metrics are computed from these two tables and nothing else. Needs no torch.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.errors import UserError

SCHEMA: Literal[1] = 1
RESULT = "result.json"
UMASK = os.umask(0)
os.umask(UMASK)

Kind = Literal["ID", "Z", "R", "C"]
"""ID in-domain; Z the in-domain head meets another corpus; R a new head on the other corpus; C a corruption."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Interval(Strict):
    low: float
    high: float
    method: str = "speaker bootstrap, percentile, 95 %"
    draws: int


class BestCheckpoint(Strict):
    """What s3prl's own practice reports: the smallest EER on the test trials over every checkpoint of every learning
    rate. For comparison with figures that were made so; never ranked."""

    eer_best_checkpoint: float = Field(ge=0, le=100)
    """In per cent."""
    lr: float
    step: int
    checkpoints: int = Field(gt=0)
    """How many were tried."""
    dev_apart: float = Field(default=0.0, ge=0)
    """The largest difference in dev EER between the training that dev selected from and the one that gave the
    checkpoints: 0 where it is one, or was repeated exactly."""


class SplitResult(Strict):
    """One test split of a cell. `metrics` are in the metric's own unit (EER in per cent)."""

    kind: Kind
    corpus: str
    condition: str = ""
    """Version of the condition, empty for none."""
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)
    """Empty with fewer than 8 speakers: a resample of so few people is one person too often."""
    id_shared: dict[str, float] = Field(default_factory=dict)
    """The in-domain metrics on the classes of this split alone, where it has fewer of them: what its drop is from."""
    as_s3prl: BestCheckpoint | None = None
    """On request, of the in-domain split under a trained head of verification."""
    expected: int
    scored: int
    utterances: int
    speakers: int
    confounded: str = ""
    """Why speaker, language and microphone cannot be told apart here; empty where they can."""
    note: str = ""
    data_sha256: str
    """The rows and trials it was scored on."""
    head_data_sha256: str = ""
    """Of kind R on a corpus that may come after the rest: the rows that its head was trained and chosen on, and its
    options. Empty where `identity` says it."""
    predictions_sha256: str
    references_sha256: str

    @field_validator("scored")
    @classmethod
    def _all_scored(cls, scored: int, info: Any) -> int:
        if scored != info.data.get("expected"):
            raise ValueError(f"{info.data.get('expected')} predictions expected, {scored} scored")
        return scored


class DevPoint(Strict):
    step: int
    metric: float
    loss: float


class TrialResult(Strict):
    """One learning rate of the grid. A diverged trial is kept as failed."""

    lr: float
    layer: int | None = None
    status: Literal["ok", "diverged"]
    detail: str = ""
    best: DevPoint | None = None
    curve: list[DevPoint] = Field(default_factory=list)


class Selection(Strict):
    """What dev picked. Test rows were unreadable until this was fixed."""

    rule: str
    metric: str
    lr: float | None = None
    layer: int | None = None
    step: int | None = None
    dev_metric: float | None = None
    dev_loss: float | None = None
    tied: int = 1
    trials: list[TrialResult] = Field(default_factory=list)


class UpstreamInfo(Strict):
    name: str
    family: str
    base: str | None
    level: Literal["frame", "utterance"]
    dim: int
    num_layers: int
    stride: int
    fingerprint: str
    parameters: int
    contaminated: Literal["yes", "no", "unknown"]
    supervised: bool | None = None
    trained_on: list[str] = Field(default_factory=list)
    note: str = ""


class Provenance(Strict):
    command: str = ""
    """What makes this result again, from the top folder at `commit`."""
    commit: str
    dirty: bool
    packages: dict[str, str]
    python: str
    platform: str
    device: str
    threads: int
    started: str
    seconds: dict[str, float]
    peak_memory_mb: float


class RunResult(Strict):
    schema_version: Literal[1] = SCHEMA
    suite: str
    task: str
    upstream: UpstreamInfo
    head: str
    preset: str
    seed: int
    recipe_seed: int
    metric: str
    higher_is_better: bool
    identity: dict[str, Any]
    """Everything the figures depend on, as plain data; `identity_hash` is its sha256."""
    identity_hash: str
    selection: Selection
    layer_weights: list[float] = Field(default_factory=list)
    crops: str = "after the encoder"
    splits: dict[str, SplitResult]
    provenance: Provenance

    @field_validator("identity_hash")
    @classmethod
    def _hash_matches(cls, value: str, info: Any) -> str:
        if value != identity_hash(info.data.get("identity", {})):
            raise ValueError("does not match `identity`")
        return value


def identity_hash(identity: Mapping[str, Any]) -> str:
    """sha256 of a canonical JSON: equal for equal settings, whatever their order."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` when the block ends, whole or not at all: temporary file beside
    it, fsync, rename.

    Raises UserError where the disk is full or not writable; the old file, if any, is untouched."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            Path(temporary).chmod(0o666 & ~UMASK)  # mkstemp's own mode shuts out everybody else on a shared disk
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"could not write {path}: {error.strerror or error}; free space or choose another folder"
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def atomic_write(path: Path, data: bytes) -> None:
    """Write all of `data` or leave what was there. Raises UserError as `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def _gzip(text: str) -> bytes:
    """The same bytes for the same text under one zlib; builds of zlib differ, so checksums are of the text."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=9) as file:
        file.write(text.encode())
    return buffer.getvalue()


def write_predictions(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Write JSON lines sorted by id, compressed. Returns the sha256 of the uncompressed lines.

    Raises UserError for a row without an id, a repeated id or a number that is not finite."""
    by_id: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        key = row.get("id")
        if not isinstance(key, str) or key in by_id:
            raise UserError(f"predictions for {path.name}: one row an id wanted, found id {key!r} missing or twice")
        if any(isinstance(value, float) and not math.isfinite(value) for value in row.values()):
            raise UserError(f"predictions for {path.name}: that of {key} is not a finite number; the head diverged")
        by_id[key] = row
    text = "".join(json.dumps(by_id[key], separators=(",", ":")) + "\n" for key in sorted(by_id))
    atomic_write(path, _gzip(text))
    return hashlib.sha256(text.encode()).hexdigest()


def read_predictions(path: Path) -> dict[str, dict[str, Any]]:
    """Predictions by id. Raises UserError for a missing or corrupt file or a repeated id."""
    rows: dict[str, dict[str, Any]] = {}
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if row["id"] in rows:
                    raise UserError(f"{path}: id {row['id']} stands twice; run the cell again")
                rows[row["id"]] = row
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run the cell again") from error
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a readable predictions file ({error}); run the cell again") from error
    return rows


def write_references(path: Path, table: pd.DataFrame) -> str:
    """Write the reference table (columns id, reference, speaker and, for trials, speaker2).

    Returns the sha256 of the uncompressed text."""
    text = table.sort_values("id").to_csv(index=False, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    atomic_write(path, _gzip(text))
    return hashlib.sha256(text.encode()).hexdigest()


def read_references(path: Path) -> pd.DataFrame:
    """The reference table, all columns as strings, indexed by nothing. Raises UserError if missing or corrupt."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run the cell again") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path} is not a readable reference table ({error}); run the cell again") from error


def save_result(folder: Path, result: RunResult) -> None:
    atomic_write(folder / RESULT, (result.model_dump_json(indent=1) + "\n").encode())


def load_result(folder: Path) -> RunResult:
    """The result in a folder. Raises UserError for one that is missing, corrupt or of another schema."""
    path = folder / RESULT
    try:
        return RunResult.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"no result in {folder}: the cell is not finished; run it (again)") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} is not a valid result: {where}: {first['msg']}; run the cell again") from error


def content_sha256(path: Path) -> str:
    """sha256 of what a .gz file holds, whichever zlib wrote it. Raises UserError if it is missing or corrupt."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run the cell again") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a readable .gz file ({error}); run the cell again") from error
    return digest.hexdigest()
