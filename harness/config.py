"""Task YAML -> strict models: an unknown key is an error that names it. Every field is identity or runtime.

Identity fields decide the figures and enter the cell's hash; runtime fields (`Runtime`) only say where and how fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import NotApplicable, UserError
from harness.metrics import metric_named
from harness.registry import suggest
from harness.train import Plan

MAX_YAML = 1 << 20


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rows(Strict):
    """Manifest rows of one corpus: those of a split, or those that a list names (`lists/<ids>.csv` of the suite)."""

    corpus: str
    split: str | None = None
    ids: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Rows:
        if (self.split is None) == (self.ids is None):
            raise ValueError(f"rows of {self.corpus}: either `split` or `ids` wanted")
        return self


class Split(Strict):
    """Rows a head trains, selects or is tested on; `trials` names a verification trial list."""

    rows: list[Rows]
    trials: str | None = None


class OODSplit(Strict):
    """A test set outside the training domain. `kind`: Z another corpus, R a new head on it, C a corruption of `of`."""

    name: str
    kind: Literal["Z", "R", "C"]
    shift: str
    """What differs from the training domain, in words for the table."""
    rows: list[Rows] = Field(default_factory=list)
    trials: str | None = None
    of: str | None = None
    """The split whose rows and trials are corrupted (kind C)."""
    condition: list[dict[str, Any]] = Field(default_factory=list)
    train: Split | None = None
    dev: Split | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    """Of the new head of kind R, over those of the preset (another language's symbols, say)."""
    confounded: str = ""

    @model_validator(mode="after")
    def _kind_fits(self) -> OODSplit:
        if self.kind == "C" and (not self.of or not self.condition or self.rows):
            raise ValueError(f"OOD split {self.name}: kind C wants `of` and `condition`, and no rows of its own")
        if self.kind != "C" and (not self.rows or self.condition):
            raise ValueError(f"OOD split {self.name}: kind {self.kind} wants `rows` and no condition")
        if (self.kind == "R") != (self.train is not None and self.dev is not None):
            raise ValueError(f"OOD split {self.name}: kind R, and only R, wants `train` and `dev` of its own")
        if self.options and self.kind != "R":
            raise ValueError(f"OOD split {self.name}: only kind R has a head of its own to give `options` to")
        return self


class Preset(Strict):
    """How one head trains: the plan, the learning-rate grid and the head's own options."""

    plan: Plan | None = None
    lrs: list[float] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)


class TaskHead(Strict):
    default_for: list[Literal["frame", "utterance"]] = Field(default_factory=list)
    presets: dict[str, Preset]


TaskKind = Literal["verification", "classification", "words", "phones", "frames"]
"""How a task is scored: trials; a class an utterance; its words (WER); its canonical phones (PER); the phones of a
manifest that says when each ends, by time."""


class Task(Strict):
    """A task of a suite: what is measured, on what."""

    task: str
    suite: str
    version: int
    """Raised when the task's own figures change for another reason than a field below."""
    kind: TaskKind
    label: Literal["label", "speaker"] = "label"
    """The manifest column that holds the class (kind classification)."""
    title: str
    metric: str
    higher_is_better: bool
    front_end: list[dict[str, Any]] = Field(default_factory=list)
    """Applied to every wave after its condition: part of the task, as in SUPERB's own loaders."""
    train: Split
    dev: Split
    test: Split
    test_shift: str = ""
    ood: list[OODSplit] = Field(default_factory=list)
    disjoint: dict[str, list[list[str]]] = Field(default_factory=dict)
    """By 'speaker', 'channel', 'recording' or 'text': groups of splits that must not share any."""
    heads: dict[str, TaskHead]
    note: str = ""

    @model_validator(mode="after")
    def _names_unique(self) -> Task:
        try:
            metric = metric_named(self.metric)
        except UserError as error:
            raise ValueError(str(error)) from None
        if metric.kind != self.kind:
            raise ValueError(f"metric {self.metric} is for kind {metric.kind}, this task is of kind {self.kind}")
        names = [split.name for split in self.ood]
        twice = {name for name in names if names.count(name) > 1 or name in ("train", "dev", "test")}
        if twice:
            raise ValueError(f"OOD split names must be unique and not train, dev or test: {', '.join(sorted(twice))}")
        for split in self.ood:
            if split.of and split.of not in ("test", *names):
                raise ValueError(f"OOD split {split.name}: `of: {split.of}` names no split")
        return self

    def default_head(self, level: str) -> str:
        """The head that an upstream of this level gets by itself. Raises NotApplicable if there is none."""
        for name, head in self.heads.items():
            if level in head.default_for:
                return name
        found = f"task {self.task} has no head for an upstream of level {level}"
        raise NotApplicable(f"{found}; its heads read frames")


class Runtime(Strict):
    """Where and how fast a cell runs; nothing here changes a figure."""

    out: Path
    cache: Path
    device: str = "cpu"
    folder: Path | None = None
    checkpoint: Path | None = None
    memory_mb: int = 400
    cache_gb: float = 20.0
    """The feature store's share of the disk; frames beyond it are encoded anew when read."""
    encode_batch: int = 1
    """Utterances of equal length encoded together."""
    s3prl_practice: bool = False
    """Add the EER of the checkpoint that is best on test (`harness/s3prl_practice.py`)."""


TWICE = "is there twice"


class _Once(yaml.SafeLoader):
    """YAML's safe loader, to which a key that is given twice is an error and not the last of the two."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key.value!r} {TWICE}; keep one", problem_mark=key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file, read safely. Raises UserError for a missing, oversized or malformed file."""
    try:
        if path.stat().st_size > MAX_YAML:
            raise UserError(f"{path}: a YAML file of at most 1 MiB wanted, found {path.stat().st_size} bytes")
        text = path.read_text(encoding="utf-8")
        if text.count("*") and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise UserError(f"{path}: YAML aliases are not read here; write the value out")
        data = _Once(text).get_single_data()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)  # without it, the lines that the parser quotes
        place = f", line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else f": {error}"
        raise UserError(f"{path} is not readable YAML{place}") from error
    if not isinstance(data, dict):
        found = "an empty file" if data is None else type(data).__name__
        raise UserError(f"{path}: a mapping wanted, found {found}")
    return data


def parse(model: type[Any], data: dict[str, Any], where: str | Path) -> Any:
    """Validate; the first problem becomes one line with its path and, for an unknown key, a suggestion."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a misspelling explains a gap
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = suggest(str(first["loc"][-1]), _keys_beside(model, first["loc"]))
            raise UserError(f"{where}: unknown key {path!r}{near}") from error
        place = f"{where}: {path}" if path else where  # of several values that do not go together there is no path
        raise UserError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def _keys_beside(model: type[BaseModel], path: Sequence[str | int]) -> set[str]:
    """The keys that are known where the last part of a path stands: of (heads, xvector, presets, mini, plan, stepz),
    those of a plan."""
    level = {model}
    for part in path[:-1]:  # a place in a list or a key of a mapping leaves the level as it is
        fields = [one.model_fields[str(part)] for one in level if part in one.model_fields]
        level = set[type[BaseModel]]().union(*(_models_in(field.annotation) for field in fields)) if fields else level
    return {key for one in level for key in one.model_fields}


def _models_in(kind: Any) -> set[type[BaseModel]]:
    """The models that a type is made of: `dict[str, Preset] | None` -> {Preset}."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {kind}
    return set[type[BaseModel]]().union(*(_models_in(part) for part in get_args(kind)))
