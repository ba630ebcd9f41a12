"""The data that a post-trained upstream learnt from, found by what its checkpoints say, and what the tasks' tests
share with it.

A checkpoint names its data and their hash, and by the sha256 of its tensors the one that it was conditioned on. The
rows count only where that hash is theirs, so that a changed manifest is never passed off as what was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.audio import content_key
from harness.config import read_yaml
from harness.contracts import Utterance
from harness.cost_record import Overlap, Training, key
from harness.errors import UserError
from harness.paths import ROOT, cache_dir
from harness.recipe import Job
from harness.registry import resolve
from harness.text import normalise

KEY = "post_superb"
"""Of the metadata in a checkpoint."""


@dataclass
class Learnt:
    """Rows of every stage."""

    rows: list[Utterance]
    trained: list[Utterance]
    """Of `rows`, those that are not only for choosing the weights."""
    data: list[str]
    checkpoints: list[str]
    seconds: float | None = None

    def described(self) -> Training:
        return Training(
            data=self.data,
            checkpoints=self.checkpoints,
            clips=len(self.trained),
            hours=round(sum(row.duration for row in self.trained) / 3600, 4),
            speakers=len({row.speaker for row in self.trained}),
            sentences=len({row.text for row in self.trained if row.text}),
            seconds=self.seconds,
        )


def training(upstream: Any, card: Mapping[str, Any]) -> Learnt | None:
    """What the upstream's own checkpoints were trained on, the backbone's data left aside; None where nothing was
    trained, and where the card names data that its checkpoints do not lead to."""
    named = {row["corpus"] for row in card.get("trained_on", [])}
    if card.get("family") == "backbones" or not named:
        return None
    said = _stages([path for _, path in getattr(upstream, "sources", [])])
    found = [_rows(meta) for meta in said]
    if not said or any(rows is None for rows in found):
        return None
    rows = {(row.corpus, row.id): row for part in found for _, row in part or []}
    if {corpus for corpus, _ in rows} != named:
        return None
    trained = {(row.corpus, row.id): row for part in found for split, row in part or [] if split == "train"}
    durations = [meta.get("seconds") for meta in said]
    known = [value for value in durations if isinstance(value, (int, float))]
    return Learnt(
        list(rows.values()),
        list(trained.values()),
        [str(meta["data"]) for meta in said],
        [str(meta["tensors_sha256"]) for meta in said],
        sum(known) if len(known) == len(said) else None,
    )


def _stages(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What the checkpoints and those that they were conditioned on say of themselves, each once."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [(path, _said(path)) for path in paths]
    while waiting:
        path, meta = waiting.pop(0)
        if meta is None or meta.get("tensors_sha256") in found:
            continue
        found[str(meta["tensors_sha256"])] = meta
        for field, value in meta.items():
            if field.endswith("_sha256") and field != "tensors_sha256" and value and value not in found:
                waiting.append(_with_tensors(path, str(value)))
    return list(found.values())


def _said(path: Path) -> dict[str, Any] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get(KEY, "null"))
    except (OSError, SafetensorError, ValueError):
        return None
    return said if isinstance(said, dict) and {"data", "data_hash", "tensors_sha256"} <= set(said) else None


def _with_tensors(beside: Path, wanted: str) -> tuple[Path, dict[str, Any] | None]:
    """The checkpoint of these tensors: in the same folder, or in the cache beside this one's recipe."""
    near = sorted(beside.parent.glob("*.safetensors"))
    if cache_dir() in beside.parents:
        near += sorted(beside.parent.parent.glob("*/*.safetensors"))
    for path in near:
        meta = _said(path)
        if meta is not None and meta["tensors_sha256"] == wanted:
            return path, meta
    return beside, None


def _rows(meta: Mapping[str, Any]) -> list[tuple[str, Utterance]] | None:
    """The rows that a checkpoint's data now have, each with its split, as dev rows chose the weights; None where no
    file of data has that name or its rows are not those that were trained on."""
    for path in sorted((ROOT / "tasks").glob("*/*.yaml")):
        said = read_yaml(path)
        if f"{said.get('suite')}/{said.get('name')} version {said.get('version')}" == meta["data"]:
            job = Job("", "", path, [])
            rows = [(name, row) for name, split in job.splits.items() for row in split.utterances]
            return rows if job.data_hash == meta["data_hash"] else None
    return None


def overlaps(learnt: Learnt) -> dict[str, Overlap]:
    """By `key`: of every test of every task whose rows are here."""
    sha, data_of = resolve("tasks.catalogue:data_sha256"), resolve("tasks.catalogue:Data")
    names, load = resolve("tasks.catalogue:names"), resolve("tasks.catalogue:load")
    mine = _kinds(learnt.rows)
    found: dict[str, Overlap] = {}
    for suite in sorted({path.split("/")[0] for path in learnt.data}):
        for name in names(suite):
            task, with_ood = load(name, suite)
            if with_ood:
                continue
            data = data_of(task)
            for split in ["test", *(ood.name for ood in task.ood)]:
                part = data.named(split)
                theirs = _kinds(part.utterances)
                fields = {
                    what: (len(own & other), len(other))
                    for what, own, other in zip(Overlap.model_fields, mine, theirs, strict=True)
                    if own & other
                }
                found[key(suite, task.task, split, sha(part))] = Overlap(**fields)
    return found


def _kinds(rows: Iterable[Utterance]) -> tuple[set[str], set[str], set[str]]:
    """Speakers, sentences and recordings. A text that cannot be normalised, of digits, stands as it is."""
    rows = list(rows)
    texts = {row.text for row in rows if row.text}
    return {row.speaker for row in rows} - {""}, {_plain(text) for text in texts}, {content_key(row) for row in rows}


def _plain(text: str) -> str:
    try:
        return normalise(text)
    except UserError:
        return text
