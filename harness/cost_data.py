"""The data that a post-trained upstream learnt from, found by what its checkpoints say, and what the tasks' tests
share with it.

Which trainings an upstream stands on its family's recipe says; each names its data and their hash. The rows count only
where that hash is theirs, so that a changed manifest is never passed off as what was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.audio import content_key
from harness.config import read_yaml
from harness.contracts import Utterance
from harness.cost_record import Overlap, Training, key
from harness.errors import UserError
from harness.paths import ROOT
from harness.posttrain import families
from harness.recipe import Job, Stage
from harness.registry import resolve
from harness.text import normalise


@dataclass
class Learnt:
    """Rows of every stage."""

    rows: list[Utterance]
    trained: list[Utterance]
    """Of `rows`, those that are not only for choosing the weights."""
    stages: list[Stage]

    def described(self) -> Training:
        return Training(
            data=list(dict.fromkeys(name for stage in self.stages for name in stage.data)),
            checkpoints=[stage.tensors_sha256 for stage in self.stages],
            clips=len(self.trained),
            hours=round(sum(row.duration for row in self.trained) / 3600, 4),
            speakers=len(_people(self.trained)),
            sentences=len({row.text for row in self.trained if row.text}),
        )


def training(upstream: Any, card: Mapping[str, Any]) -> Learnt | None:
    """What the upstream's own checkpoints were trained on, the backbone's data left aside; None where nothing was
    trained, and where the card names data that its checkpoints do not lead to."""
    named = {row["corpus"] for row in card.get("trained_on", [])}
    if card.get("family") not in families() or not named:
        return None
    stages: list[Stage] = resolve(f"upstreams.{card['family']}.posttrain:Recipe").stages(upstream, card)
    found = [_rows(stage) for stage in stages]
    if not stages or any(rows is None for rows in found):
        return None
    rows = {(row.corpus, row.id): row for part in found for _, row in part or []}
    if {corpus for corpus, _ in rows} != named:
        return None
    trained = {(row.corpus, row.id): row for part in found for split, row in part or [] if split == "train"}
    return Learnt(list(rows.values()), list(trained.values()), stages)


def jobs(stage: Stage, **more: Any) -> list[Job] | None:
    """Of each YAML of a stage's data; None where one is no longer there, or its rows or what is trained on them are not
    those of the checkpoint."""
    paths = [_yaml(name) for name in stage.data]
    made = [Job("", stage.backbone, path, [stage.seed], **more) for path in paths if path is not None]
    same = len(made) == len(paths) and stage.recipe.hash_of(made) == stage.data_hash
    return made if same else None


def _yaml(name: str) -> Path | None:
    """Of data by the name that a checkpoint gives them, 'suite/name version 1'."""
    for path in sorted((ROOT / "tasks").glob("*/*.yaml")):
        said = read_yaml(path)
        if f"{said.get('suite')}/{said.get('name')} version {said.get('version')}" == name:
            return path
    return None


def _rows(stage: Stage) -> list[tuple[str, Utterance]] | None:
    """The rows of a stage, each with its split, as dev rows chose the weights."""
    made = jobs(stage)
    if made is None:
        return None
    return [(name, row) for job in made for name, split in job.splits.items() for row in split.utterances]


def overlaps(learnt: Learnt) -> dict[str, Overlap]:
    """By `key`: of every test of every task whose rows are here."""
    sha, data_of = resolve("tasks.catalogue:data_sha256"), resolve("tasks.catalogue:Data")
    names, load = resolve("tasks.catalogue:names"), resolve("tasks.catalogue:load")
    mine = _kinds(learnt.rows)
    found: dict[str, Overlap] = {}
    for suite in sorted({name.split("/")[0] for stage in learnt.stages for name in stage.data}):
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
    return _people(rows), {_plain(text) for text in texts}, {content_key(row) for row in rows}


def _people(rows: Iterable[Utterance]) -> set[str]:
    """Without "-", which stands for nobody, such as the speaker of a clip of silence."""
    return {row.speaker for row in rows} - {"", "-"}


def _plain(text: str) -> str:
    try:
        return normalise(text)
    except UserError:
        return text
