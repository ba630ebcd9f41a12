"""What a post-training recipe is, and what it is handed: the frozen backbone, the data that it names, features of it.

A family `x` keeps its recipe in `upstreams/x/posttrain.py` as `Recipe`; `harness/posttrain.py` finds it by that
convention and hands a `Job` in, so that the recipe imports neither the data's room nor the heads'.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from harness import distributed
from harness.audio import content_key
from harness.config import Rows, Strict, parse, read_yaml
from harness.contracts import Form, Objective, SplitData, Upstream, Utterance
from harness.errors import UserError
from harness.features import Features
from harness.paths import cache_dir
from harness.registry import resolve
from harness.store import FeatureStore
from harness.train import Outcome, fit


class Recipe(Protocol):
    """One family's post-training, set up from the command line's options."""

    data: str
    """The YAML of the data that it trains on, from the repository's root; an instance may name another than its class,
    by its options."""

    @staticmethod
    def options(parser: argparse.ArgumentParser) -> None:
        """Add the family's own options."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Raises UserError for options that do not go together."""

    def run(self, job: Job) -> list[Path]:
        """Train by `job.fit`, on `job.features` where it is on features, and return the checkpoints, one a seed.
        Interrupted and called again, it goes on. What else it keeps lies in `job.folder_of`."""
        ...

    def hash_of(self, jobs: Sequence[Job]) -> str:
        """What a checkpoint's `data_hash` is, of trainings on the data of `jobs`."""
        ...

    @classmethod
    def stages(cls, upstream: Any, card: Mapping[str, Any]) -> list[Stage]:
        """The trainings that a built upstream's weights stand on, those of its own checkpoints first. Empty where a
        checkpoint is no longer to be found, or is none of this recipe's."""
        ...


@dataclass(frozen=True)
class Stage:
    """One training, as its checkpoint tells it."""

    recipe: Recipe
    """Set up as it was."""
    path: Path
    seed: int
    backbone: str
    data: list[str]
    """'suite/name version 1', one a YAML."""
    data_hash: str
    tensors_sha256: str


class HeadSpec(Strict):
    """A head by name, and what it is told."""

    name: str
    options: dict[str, Any] = {}


class RecipeData(Strict):
    """A recipe's data, from YAML: named splits of manifests that lie in `data/<corpus>` beside the file."""

    name: str
    suite: str
    version: int
    title: str
    splits: dict[str, list[Rows]]
    disjoint: dict[str, list[list[str]]] = {}
    """By 'speaker', 'recording' or 'text': groups of splits that must not share any."""
    kind: Literal["classification", "words", "phones"] | None = None
    """What a recipe with a head trains for; None where the recipe needs none."""
    label: Literal["speaker", "label"] = "label"
    """Of kind classification: the manifest's column."""
    heads: dict[str, HeadSpec] = {}
    """By the recipe's preset: what is trained on top, and thrown away."""
    note: str = ""


@dataclass
class Job:
    """A call of `posttrain.py`. What is slow to make is made when first asked for."""

    family: str
    backbone_name: str
    data_path: Path
    seeds: list[int]
    device: str = "cpu"
    folder: Path | None = None
    """The backbone's weights in place of its card's."""
    out: Path | None = None
    """Where the one seed's checkpoint goes in place of the cache."""
    again: bool = False
    """Make a checkpoint anew that is there already."""
    tensorboard: bool = False
    say: Any = field(default=print)

    @cached_property
    def backbone(self) -> Upstream:
        built: Upstream = resolve("upstreams.catalogue:build")(
            self.backbone_name, folder=self.folder, device=self.device
        )
        if built.base is not None:
            raise UserError(f"--backbone wants a backbone, {self.backbone_name} itself stands on {built.base}")
        return built

    @cached_property
    def data(self) -> RecipeData:
        parsed: RecipeData = parse(RecipeData, read_yaml(self.data_path), self.data_path.name)
        return parsed

    @cached_property
    def splits(self) -> dict[str, SplitData]:
        """Rows by split name. Raises UserError for a split without rows, and where two share what they must not."""
        corpora = resolve("tasks.catalogue:Corpora")(self.data_path.parent)
        found = {name: self._split(name, corpora.rows(wanted)) for name, wanted in self.data.splits.items()}
        resolve("tasks.splits:disjoint")({name: split.utterances for name, split in found.items()}, self.data.disjoint)
        return found

    def _split(self, name: str, rows: list[Utterance]) -> SplitData:
        kind, label = self.data.kind, self.data.label
        if kind is None:
            return SplitData(name, rows)
        lexicon = None
        if kind == "phones":
            lexicon = resolve("tasks.lexicon:read_lexicon")(self.data_path.parent / "lexicon.csv")
        one = resolve("tasks.references:reference")
        found = {u.id: one(u, kind, label, lexicon) for u in rows}
        empty = next((u for u in rows if not found[u.id]), None)
        if empty is not None:
            raise UserError(f"{self.data_path.name}: {kind} wanted in each row, {empty.corpus} {empty.id} has none")
        return SplitData(name, rows, references=found)

    def beside(self, data_path: Path) -> Job:
        """The same call on other data."""
        other = replace(self, data_path=data_path)
        other.backbone = self.backbone
        return other

    def head(self, preset: str) -> HeadSpec:
        """What the data wants trained on top. Raises UserError where it names none for the preset."""
        found = self.data.heads.get(preset)
        if found is None:
            named = ", ".join(self.data.heads) or "none"
            raise UserError(f"{self.data_path.name}: `heads` wants one for preset {preset}, found {named}")
        return found

    def objective(self, preset: str, seed: int) -> Objective:
        """The head that the data names, fresh, on the backbone's last state. Raises UserError for an unknown one."""
        made: Objective = resolve("downstreams.objectives:build")(
            self.head(preset).name, self.head(preset).options, self.splits["train"], self.backbone.dim, seed
        )
        return made

    @cached_property
    def data_hash(self) -> str:
        """sha256 over the rows of every split: audio, cut, speaker, text and label."""
        digest = hashlib.sha256()
        for name, split in sorted(self.splits.items()):
            for u in split.utterances:
                digest.update(f"{name}|{u.id}|{content_key(u)}|{u.speaker}|{u.text}|{u.label}\n".encode())
        return digest.hexdigest()

    @cached_property
    def features(self) -> Features:
        """The frozen backbone's features of all splits, from the store or encoded on the fly."""
        rows = [u for split in self.splits.values() for u in split.utterances]
        return Features(self.backbone, None, rows, FeatureStore(cache_dir() / "features"), device=self.device)

    def prepare(self, form: Form) -> None:
        """Features of all rows made ready; of several processes the first encodes."""
        ids = [u.id for split in self.splits.values() for u in split.utterances]
        for turn in (True, False):
            if (distributed.rank() == 0) == turn:
                self.features.prepare(ids, form, f"features of {self.backbone.name}")
            distributed.barrier()

    def fit(self, *args: Any, **more: Any) -> list[Outcome]:
        """As `harness.train.fit`."""
        return fit(*args, **more)

    def folder_of(self, recipe_hash: str) -> Path:
        return checkpoint_folder(self.family, self.backbone_name, recipe_hash)


def checkpoint_folder(family: str, backbone: str, recipe_hash: str) -> Path:
    """Where a recipe's checkpoints are kept, one a seed; the hash is over the recipe's settings."""
    return cache_dir() / "checkpoints" / family / backbone.replace(":", "_") / recipe_hash[:16]
