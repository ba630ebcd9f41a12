"""What the recipes of post-trained upstreams share: one checkpoint a seed, made once, resumed where it stopped."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from safetensors import SafetensorError

from harness import distributed
from harness.contracts import DevScore, Learner, TrialSpec
from harness.errors import UserError
from harness.paths import cache_dir
from harness.recipe import Job, Stage
from harness.results import identity_hash
from harness.schedules import Rate
from harness.train import Outcome, Plan
from upstreams.checkpoints import Checkpoint, Settings, backbone_fields

Train = Callable[[int, Path], None]
"""Trains one seed and writes its checkpoint to the path, by `Training.finish`."""


def given(args: argparse.Namespace, kind: type[Settings]) -> dict[str, Any]:
    """The settings that the command line names."""
    names = {*kind.model_fields, "preset"}
    return {name: value for name, value in vars(args).items() if name in names}


class Recipe(ABC):
    """Follows `harness.recipe.Recipe`. A family fills in its options, `making` and `converted`."""

    data: str
    checkpoint: ClassVar[type[Checkpoint[Any, Any]]]
    settings: Settings
    convert: Path | None = None
    """A file of the authors' own to read in place of training."""
    stands_on: ClassVar[Mapping[str, str]] = {}
    """By the field of a checkpoint's metadata that names another one by the sha256 of its tensors: the option of the
    command line that gives that one's file."""

    @staticmethod
    @abstractmethod
    def options(parser: argparse.ArgumentParser) -> None:
        """Add the family's own options."""

    @abstractmethod
    def __init__(self, args: argparse.Namespace):
        """Raises UserError for options that do not go together."""

    @abstractmethod
    def making(self, job: Job) -> Train:
        """Reads features and data; called only where a seed's checkpoint is missing."""

    @abstractmethod
    def converted(self, job: Job) -> Checkpoint[Any, Any]:
        """The checkpoint in the file `convert`."""

    def current(self, meta: Any, job: Job) -> bool:
        """Whether a file of this recipe and seed is of what else it depends on; a family may add to that."""
        same: bool = meta.data_hash == self.hash_of([job]) and meta.backbone_fingerprint == job.backbone.fingerprint
        return same

    def hash_of(self, jobs: Sequence[Job]) -> str:
        (job,) = jobs
        return job.data_hash

    @classmethod
    def files(cls, upstream: Any, card: Mapping[str, Any]) -> list[Path]:
        """The checkpoints that a built upstream is made of; those that they stand on need not be among them."""
        return [path for _, path in getattr(upstream, "sources", [])]

    @classmethod
    def stages(cls, upstream: Any, card: Mapping[str, Any]) -> list[Stage]:
        found: dict[str, Stage] = {}
        waiting = cls.files(upstream, card)
        while waiting:
            path = waiting.pop(0)
            meta = cls.said(path)
            if meta is None:
                return []
            if meta.tensors_sha256 in found:
                continue
            options: dict[str, Any] = meta.settings.model_dump()
            for name, option in cls.stands_on.items():
                wanted = getattr(meta, name)
                below = cls._with_tensors(path, meta.backbone, wanted) if wanted else None
                if below is not None:
                    options[option] = below
                    waiting.append(below)
                elif wanted:
                    return []
            recipe = cls(argparse.Namespace(**options))
            found[meta.tensors_sha256] = Stage(
                recipe, path, meta.seed, meta.backbone, meta.data.split(", "), meta.data_hash, meta.tensors_sha256
            )
        return list(found.values())

    @classmethod
    def said(cls, path: Path) -> Any:
        """A checkpoint's metadata; None for a file that is none of this family and version."""
        try:
            text, _ = cls.checkpoint.read(path)
            return None if text is None else cls.checkpoint.meta_type.model_validate_json(text)
        except (OSError, SafetensorError, ValueError):
            return None

    @classmethod
    def _with_tensors(cls, beside: Path, backbone: str, wanted: str) -> Path | None:
        """The checkpoint of these tensors: in the same folder, in the cache beside this one's recipe, or shipped."""
        near = sorted(beside.parent.glob("*.safetensors"))
        if cache_dir() in beside.parents:
            near += sorted(beside.parent.parent.glob("*/*.safetensors"))
        near += sorted((cls.checkpoint.shipped / backbone.replace(":", "_")).glob("*.safetensors*"))
        for path in near:
            meta = cls.said(path)
            if meta is not None and meta.tensors_sha256 == wanted:
                return path
        return None

    def run(self, job: Job) -> list[Path]:
        if self.convert is not None:
            return [self._convert(job)]
        paths = {seed: job.out or job.folder_of(self.settings.hash) / f"seed{seed}.safetensors" for seed in job.seeds}
        missing = [seed for seed, path in paths.items() if job.again or not self._made(job, path, seed)]
        distributed.barrier()  # no process writes before all have looked
        train = self.making(job) if missing else None
        for seed in missing:
            assert train is not None
            train(seed, paths[seed])
        return list(paths.values())

    def _convert(self, job: Job) -> Path:
        if len(job.seeds) > 1:
            raise UserError("--convert reads one checkpoint: give the one seed that it was trained with")
        checkpoint = self.converted(job)
        path = job.out or job.folder_of(checkpoint.meta.recipe_hash) / f"seed{job.seeds[0]}.safetensors"
        checkpoint.save(path)
        return path

    def _made(self, job: Job, path: Path, seed: int) -> bool:
        """Whether the file is there already, of this recipe, seed, data and backbone."""
        if not path.is_file():
            return False
        try:
            meta = self.checkpoint.load(path).meta
        except UserError as error:
            raise UserError(f"{error}; --again writes a new one in its place") from None
        return (meta.recipe_hash, meta.seed) == (self.settings.hash, seed) and self.current(meta, job)


def meta_fields(job: Job, settings: Settings, seed: int) -> dict[str, Any]:
    """`Meta`'s fields of a training."""
    return {
        "origin": f"harness/posttrain.py {job.family}",
        "settings": settings,
        "recipe_hash": settings.hash,
        "seed": seed,
        "data": f"{job.data.suite}/{job.data.name} version {job.data.version}",
        "data_hash": job.data_hash,
        **backbone_fields(job.backbone),
    }


def wanted_splits(job: Job, *names: str) -> None:
    """Raise UserError unless the recipe's data has these splits."""
    if any(name not in job.splits for name in names):
        wanted = " and ".join(f"`{name}`" for name in names)
        raise UserError(f"{job.data_path.name}: splits {wanted} wanted, found {', '.join(job.splits)}")


@dataclass
class Training:
    """One call of `Job.fit` for a recipe: what its state belongs to and where that is kept."""

    job: Job
    settings: Settings
    what: str
    seed: int
    more: dict[str, Any] = field(default_factory=dict)
    """What else the weights depend on."""

    @property
    def identity(self) -> str:
        return identity_hash(
            {
                "what": self.what,
                "settings": self.settings.model_dump(mode="json"),
                "data": self.job.data_hash,
                "backbone": self.job.backbone.fingerprint,
                "seed": self.seed,
                "device": self.job.device.partition(":")[0],
                **self.more,
            }
        )

    @property
    def kept(self) -> Path:
        """The state on disk. A file a run: another recipe, data or backbone begins its own and never meets this one."""
        name = f"{self.what.replace(' ', '-')}-{self.identity[:12]}.training.pt"
        return self.job.folder_of(self.settings.hash) / name

    def fit(
        self,
        learner: Learner,
        lrs: Sequence[float],
        batch: Callable[[int, int], Any],
        dev: Callable[[int], DevScore],
        plan: Plan,
        *,
        log: Path | None = None,
        rate: Rate | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> list[Outcome]:
        """How each trial went, one a learning rate."""
        return self.job.fit(
            learner,
            [TrialSpec(lr, self.seed) for lr in lrs],
            batch,
            dev,
            plan,
            checkpoint=self.kept,
            identity=self.identity,
            on_step=on_step,
            rate=rate,
            log=log,
            tensorboard=self.job.tensorboard,
            what=self.what,
            say=self.job.say,
        )

    def finish(self, write: Callable[[], None]) -> None:
        """Write what was made and drop the state; of several processes the first does both."""
        if distributed.rank() == 0:
            write()
            self.kept.unlink(missing_ok=True)
        distributed.barrier()
