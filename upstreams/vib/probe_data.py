"""What VIB's latents are probed for: targets, the rows and labels of each, and the check that test rows are new.

The splits of the data's YAML come in sets of three, `SET_train`, `SET_dev` and `SET_test`; a target names its set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from harness.contracts import SplitData, Utterance
from harness.errors import UserError
from harness.features import Features
from harness.paths import ROOT
from harness.progress import progress
from harness.recipe import Job
from harness.results import identity_hash
from harness.text import normalise
from upstreams import prosody
from upstreams.vib.analysis import Stage

SPLITS = ("train", "dev", "test")
QUARTILE = 25.0
"""Per cent: chance of a measure cut into four equal parts of the training set."""
VOICES = "voices.csv"
"""Beside the data's YAML: columns `voice`, the manifest's speaker, and `gender`."""
KNOWN_GENDERS = ("female", "male")


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked of a representation."""

    rows: str
    """The set of splits."""
    kind: Literal["words", "speaker", "gender", "label", "measure"]


MEASURED = "voices"
"""The set of the acoustic measures: the same voices in train and test, so that quartiles of one cut the other too."""

TARGETS = {
    "transcription": Target("read", "words"),
    "speaker": Target("voices", "speaker"),
    "gender": Target("read", "gender"),
    "emotion": Target("taunts", "label"),
    **{name: Target(MEASURED, "measure") for name in prosody.MEASURES},
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A target's splits with references, by 'train', 'dev' and 'test'."""

    splits: dict[str, SplitData]
    undefined: dict[str, int]
    """By split, the rows whose measure is undefined and counts as 0; empty for other targets."""
    edges: list[float]
    """The quartiles of the training set; empty for other targets."""

    @property
    def sha256(self) -> str:
        """Over the ids, audio and references."""
        lines = [
            f"{name}|{u.id}|{u.sha256}|{u.start}|{u.duration}|{u.speaker}|{split.references[u.id]}"
            for name, split in sorted(self.splits.items())
            for u in split.utterances
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def labelled(target: str, job: Job, measured: Mapping[str, Mapping[str, float]]) -> Labelled:
    """The rows of a target with their references; `measured`: what `measure_all` gives. Raises UserError for a split
    that the data lacks, and for a voice whose gender is not in the list."""
    wanted = TARGETS[target]
    found = {name: _split(job, f"{wanted.rows}_{name}") for name in SPLITS}
    undefined: dict[str, int] = {}
    edges: list[float] = []
    if wanted.kind == "measure":
        cuts = prosody.quartiles([measured[u.id][target] for u in found["train"].utterances])
        edges = [float(cut) for cut in cuts]
    genders = _genders(job.data_path.parent) if wanted.kind == "gender" else {}
    splits = {}
    for name, split in found.items():
        rows = split.utterances
        if wanted.kind == "measure":
            values = [measured[u.id][target] for u in rows]
            undefined[name] = sum(math.isnan(value) for value in values)
            references = dict(zip([u.id for u in rows], prosody.classes(values, cuts), strict=True))
        elif wanted.kind == "gender":
            rows = [u for u in rows if _gender(u, genders) in KNOWN_GENDERS]
            references = {u.id: genders[u.speaker] for u in rows}
        elif wanted.kind == "words":
            references = {u.id: normalise(u.text) for u in rows}
        else:
            references = {u.id: u.speaker if wanted.kind == "speaker" else u.label for u in rows}
        splits[name] = SplitData(name, rows, references=references)
    return Labelled(splits, undefined, edges)


def _split(job: Job, name: str) -> SplitData:
    if name not in job.splits:
        raise UserError(f"{job.data_path.name}: split {name} wanted, found {', '.join(job.splits)}; add it")
    return job.splits[name]


def _genders(folder: Path) -> dict[str, str]:
    path = folder / VOICES
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return dict(zip(table["voice"], table["gender"], strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: a table with columns voice and gender wanted, found none ({error})") from None


def _gender(utterance: Utterance, genders: Mapping[str, str]) -> str:
    if utterance.speaker not in genders:
        raise UserError(f"{VOICES}: the gender of {utterance.speaker} wanted, found none; add the voice, or 'unknown'")
    return genders[utterance.speaker]


def measure_all(rows: Iterable[Utterance], features: Features) -> dict[str, dict[str, float]]:
    """Praat's measures by utterance id, kept in the store beside the features."""
    key = identity_hash({"module": "upstreams.prosody", "version": prosody.VERSION})
    found = {}
    wanted = list(rows)
    for utterance in progress(wanted, "acoustic measures", len(wanted)):
        path = features.store.path(key, "measures", hashlib.sha256(f"{utterance.sha256}|{utterance.start:.6f}|"
                                   f"{utterance.duration:.6f}".encode()).hexdigest()[:40])  # fmt: skip
        stored = features.store.load(path)
        if stored is None:
            values = prosody.measures(features.wave(utterance).numpy())
            stored = np.array([values[name] for name in prosody.MEASURES])
            features.store.name(key, "praat")
            features.store.save(path, stored)
        found[utterance.id] = dict(zip(prosody.MEASURES, map(float, stored), strict=True))
    return found


def check_new(job: Job, test: Iterable[SplitData], stages: Iterable[Stage]) -> dict[str, str]:
    """By stage, 'yes' where no test row is among those that it was trained on, 'unknown' where it does not say on what.

    Raises UserError for a row that is, and for a stage whose recipe's data has changed since."""
    rows = {u.sha256: u.id for split in test for u in split.utterances}
    found = {}
    for stage in stages:
        meta = stage.checkpoint.meta
        if not meta.data:
            found[stage.name] = "unknown"
            continue
        trained = _trained_on(job, stage)
        seen = sorted(rows[u.sha256] for u in trained if u.sha256 in rows)
        if seen:
            raise UserError(
                f"test rows that no stage was trained on wanted, {stage.name} was trained on {len(seen)} of them, "
                f"first {seen[0]}; correct {job.data_path.name}"
            )
        found[stage.name] = "yes"
    return found


def _trained_on(job: Job, stage: Stage) -> list[Utterance]:
    """The train rows of the recipe that made a stage, by the name in its metadata ('mini/vib_text version 1')."""
    meta = stage.checkpoint.meta
    path = ROOT / "tasks" / f"{meta.data.partition(' ')[0]}.yaml"
    made = Job(job.family, job.backbone_name, path, job.seeds)
    if made.data_hash != meta.data_hash:
        raise UserError(f"{stage.path}: the data that it was trained on is not that of {path.name} now; make it again")
    return made.splits["train"].utterances


