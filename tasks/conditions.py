"""Conditions: what is done to a waveform between the disk and the upstream, as a list of ops from a task's
YAML.

    condition = build([{"op": "room", "t60": [0.3, 0.8]}, {"op": "noise", "family": "babble", "snr": 10}])
    wave = condition.apply(wave, utterance.id)      # 16 kHz, the same length
    condition.version                               # part of the feature key

The same utterance, ops and seed give the same samples in any process, order and batch: every op draws from a
PCG64 generator seeded by a sha256 over (seed, utterance id, the op's parameters and version). A front end
(gain, trimming) is the same ops at the end of the list. An added op leaves the draws of the others as they
were.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.audio import Wave, content_key
from harness.contracts import Utterance
from harness.errors import UserError
from harness.registry import suggest
from tasks.condition_base import Op
from tasks.condition_ops import OPS

DATA = Path(__file__).parent / "mini" / "data"
CLEAN = "clean"
"""The version of the condition without ops."""


@dataclass(frozen=True)
class Condition:
    """Built by `build`. `resources` holds, op by op, the manifest rows that op may read."""

    ops: tuple[Op, ...]
    resources: tuple[tuple[Utterance, ...], ...]
    seed: int
    version: str

    @property
    def keeps_length(self) -> bool:
        return all(op.KEEPS_LENGTH for op in self.ops)

    def apply(self, wave: NDArray[np.floating], utterance_id: str) -> Wave:
        """The waveform (n,) at 16 kHz under the condition, float32 in [-1, 1]; (n,) unless silence is
        trimmed.

        An op that leaves [-1, 1] has its whole output scaled down to a peak of 1: ratios survive, nothing
        clips. With no ops the samples are returned untouched. Raises UserError, naming the utterance, for an
        empty or silent wave where an op needs sound.
        """
        if wave.ndim != 1 or not len(wave) or not np.isfinite(wave).all():
            raise UserError(
                f"utterance {utterance_id}: wanted finite samples (n,), found {wave.shape}; check the audio"
            )
        if not self.ops:
            return np.ascontiguousarray(wave, dtype=np.float32)
        out = np.asarray(wave, dtype=np.float64)
        seen: Counter[str] = Counter()
        for op, rows in zip(self.ops, self.resources, strict=True):
            key = _identity(op)
            rng = _generator(self.seed, utterance_id, key, seen[key])
            seen[key] += 1
            try:
                changed = op.run(out, rng, utterance_id, rows)
            except ValueError as error:
                raise UserError(f"utterance {utterance_id}, condition op {op.op}: {error}") from None
            if op.KEEPS_LENGTH and len(changed) != len(out):
                raise AssertionError(f"op {op.op} changed the length from {len(out)} to {len(changed)}")
            peak = float(np.abs(changed).max())
            out = changed / peak if peak > 1.0 else changed
        return np.ascontiguousarray(out, dtype=np.float32)


def build(
    spec: Sequence[Mapping[str, Any]], seed: int = 0, data: Path = DATA, *, training: bool = False
) -> Condition:
    """A condition from its list of ops. `data` is the folder whose corpora the ops read; those that are not there are
    looked for among the user's own. `training` says that something is trained on what comes out.

    Raises UserError for an unknown op or key (with a suggestion), a value out of range, a missing resource or library,
    and in training for what is kept for testing alone.
    """
    ops = tuple(_op(entry, place) for place, entry in enumerate(spec, start=1))
    kept = [op for op in ops if op.test_only()]
    if training and kept:
        raise UserError(f"condition op {kept[0].op}: kept for testing alone, found in training; take another noise")
    resources = tuple(op.resources(data) for op in ops)
    return Condition(ops, resources, seed, _version(ops, resources, seed))


def _op(entry: Any, place: int) -> Op:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("op"), str):
        raise UserError(f"condition op {place}: wanted a mapping with the key 'op', found {entry!r}")
    name = entry["op"]
    if name not in OPS:
        raise UserError(f"condition op {place}: unknown op {name!r}{suggest(name, OPS)}")
    try:
        return OPS[name].model_validate(dict(entry))
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a misspelling explains a gap
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = suggest(key, OPS[name].model_fields)
            raise UserError(f"condition op {place} ({name}): unknown key {key!r}{hint}") from None
        found = "" if first["type"] in ("missing", "value_error") else f", found {first['input']!r}"
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"condition op {place} ({name}): {key + ': ' if key else ''}{message}{found}") from None


def _identity(op: Op) -> str:
    """Parameters and version. Fields left at their default stay out, so that a field added later changes
    nothing."""
    return json.dumps([op.VERSION, op.op, op.model_dump(exclude={"op"}, exclude_defaults=True)], sort_keys=True)


def _generator(seed: int, utterance_id: str, identity: str, occurrence: int) -> np.random.Generator:
    text = json.dumps([seed, utterance_id, identity, occurrence])
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")))


def _version(ops: Sequence[Op], resources: Sequence[Sequence[Utterance]], seed: int) -> str:
    if not ops:
        return CLEAN
    parts: list[Any] = [seed]
    for op, rows in zip(ops, resources, strict=True):
        # ids and speakers count beside the content: babble draws by speaker, in the order of ids
        content = [[row.id, row.speaker, content_key(row)] for row in rows]
        parts.append([_identity(op), content, op.libraries()])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
