"""The Speech-FT recipe: stable fine-tuning of a backbone with a head on top, and the baselines it is judged against.

    python harness/posttrain.py speech_ft --task asr
    python harness/posttrain.py speech_ft --task asr --baseline lora
    python harness/posttrain.py speech_ft --task sid --backbone hubert_base -k FOLDER --preset paper
    python harness/posttrain.py speech_ft --task asr --alpha 0.25 --export FOLDER

The head is thrown away. What is kept are the fine-tuned weights, whole: upstreams merge them with the pre-trained ones
when they are built, `speech_ft_asr` a quarter of the way, `speech_ft_asr+alpha0.5` half of it, so that one training
serves a sweep. --export writes a merge as a Hugging Face folder.

Dev (the split `val`) picks the weights, as the authors do.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from harness import audio
from harness.contracts import Objective, Utterance
from harness.errors import UserError
from harness.paths import ROOT
from harness.recipe import Job
from harness.results import identity_hash
from harness.shell import writable
from upstreams import recipes
from upstreams.checkpoints import probe
from upstreams.recipes import Train, Training, given, meta_fields, wanted_splits
from upstreams.speech_ft import adapters, assemble
from upstreams.speech_ft.checkpoint import Checkpoint, Form, Meta, Tensors
from upstreams.speech_ft.encoder import Encoder, inner, trainable
from upstreams.speech_ft.export import export, free
from upstreams.speech_ft.model import Options
from upstreams.speech_ft.settings import ALPHA, BASELINES, PRESETS, Settings, from_options
from upstreams.speech_ft.training import FineTuning, Part, Rows, plan, rate
from upstreams.speech_ft.units import MaskedUnits

UNITS = "units"
"""The head of data without labels."""


class Recipe(recipes.Recipe):
    """Follows `harness.recipe.Recipe`."""

    data = "tasks/mini/speech_ft_asr.yaml"
    checkpoint = Checkpoint
    settings: Settings

    @staticmethod
    def options(parser: argparse.ArgumentParser) -> None:
        add, none = parser.add_argument, argparse.SUPPRESS
        add("--task", default=none, help="asr (default), pr, sid, ks, er, spanish; several by +: jointly, as pr+sid")
        add("--baseline", choices=BASELINES, default=none, help="one of what Speech-FT is judged against")
        add("--preset", choices=list(PRESETS), default=none, help="mini (default) or paper, the published figures")
        add("--after", type=_names, default=none, metavar="TASK,TASK", help="begin from the merges of these tasks")
        add("--adapter", choices=["none", "lora", "dora"], default=none, help="low-rank updates, not all weights")
        add("--rank", type=int, default=none, help="of the adapter (default 8)")
        add("--not-stable", dest="stable", action="store_false", default=none, help="all weights from the first update")
        add("--head-only", type=float, default=none, help="part of the updates in which the head learns alone (0.1)")
        add("--hold", type=float, default=none, help="part of the updates at the full rate (default 0.4)")
        add("--until", type=float, default=none, help="stop after this part of the updates (default 1)")
        add("--l2", type=float, default=none, help="weight of the squared distance to the pre-trained weights")
        add("--features", type=float, default=none, help="weight of the squared distance to the pre-trained features")
        add("--dropout", type=float, default=none, help="in the encoder (default mini: 0.1, paper: the model's own)")
        add("--steps", type=int, default=none, help="updates")
        add("--batch", type=int, default=none, help="utterances a micro-batch")
        add("--accumulate", type=int, default=none, help="micro-batches an update (default one a task)")
        add("--eval-every", type=int, default=none, help="updates between looks at validation")
        add("--lr", type=float, default=none, help="greatest learning rate (paper: 1e-4)")
        add("--head-lr", type=float, default=none, help="the head's rate in parts of --lr (default mini: 10, paper: 1)")
        add("--export", type=Path, metavar="FOLDER", default=none,
            help="the merge as a Hugging Face folder too, in the pre-trained types")  # fmt: skip
        add("--alpha", type=float, default=none, help=f"of the export: how far to go (default {ALPHA:g})")
        add("--delta8", type=Path, metavar="FILE", default=none, help="X.safetensors.xz: differences in 8 bits too")

    def __init__(self, args: argparse.Namespace):
        self.given = given(args, Settings)
        baseline = getattr(args, "baseline", None)
        self.settings = from_options(
            self.given | ({"baseline": baseline} if baseline else {}), "posttrain.py speech_ft"
        )
        self.export: Path | None = getattr(args, "export", None)
        self.delta8: Path | None = getattr(args, "delta8", None)
        alpha = getattr(args, "alpha", None)
        if alpha is not None and self.export is None:
            raise UserError(
                f"--alpha {alpha:g} is of the merge, and the checkpoint is kept unmerged: add --export FOLDER, or give"
                f" it to the upstream, as -u speech_ft_asr+alpha{alpha:g}"
            )
        if self.delta8 is not None and not self.delta8.name.endswith(".safetensors.xz"):
            raise UserError(f"--delta8 {self.delta8}: a name that ends in .safetensors.xz wanted, by which it is read")
        self.alpha = ALPHA if alpha is None else alpha
        if not 0 <= self.alpha <= 1:
            raise UserError(f"--alpha: 0 (pre-trained) to 1 (fine-tuned) wanted, found {self.alpha:g}")
        self.data = _yaml(self.settings.tasks[0])

    def making(self, job: Job) -> Train:
        return _Making(self, job).train

    def converted(self, job: Job) -> Checkpoint:
        raise UserError("Speech-FT's authors release merged models: read them with -u speech_ft --checkpoint FILE")

    def jobs(self, job: Job) -> list[Job]:
        """The same call, once a task: the first's data is the job's own."""
        if len(self.settings.tasks) == 1:
            return [job]
        if job.data_path != ROOT / self.data:
            raise UserError("--data goes with one task; of several each has its own")
        return [job, *(job.beside(ROOT / _yaml(task)) for task in self.settings.tasks[1:])]

    def hash_of(self, jobs: Sequence[Job]) -> str:
        """Over the rows and the head of every task."""
        return identity_hash({
            str(place): [part.data_hash, part.head(self.settings.preset).model_dump(mode="json")]
            for place, part in enumerate(jobs)
        })  # fmt: skip

    @classmethod
    def files(cls, upstream: Any, card: Mapping[str, Any]) -> list[Path]:
        """Of a merge each model's own, then those of the rounds before; none for weights of unknown making."""
        options = Options.model_validate(card["options"])
        path = upstream.path
        first = cls.said(path) if options.task or options.merged else None
        if first is None:
            return []
        paths = [path]
        if options.merged:
            wanted = options.wanted(card["name"])
            paths = [found for _, found in assemble.found_for(wanted, first.backbone, first.seed, None)]
        rounds = []
        for place, task in enumerate(first.settings.after):
            earlier = first.settings.model_copy(update={"task": task, "after": first.settings.after[:place]})
            rounds.append(Checkpoint.of(first.backbone, earlier, first.seed, None))
        before = assemble.before_sha256([checkpoint for checkpoint, _ in rounds])
        return [*paths, *(found for _, found in rounds)] if first.before_sha256 == before else []

    def before(self, job: Job, seed: int) -> tuple[assemble.Weights, list[Checkpoint]]:
        """The weights that a seed's fine-tuning begins from, and whose."""
        theta0 = dict(inner(job.backbone).state_dict())
        found, rounds = assemble.began(self.settings, job.backbone.name, theta0, seed)
        for checkpoint in rounds:
            checkpoint.check_base(job.backbone, f"the checkpoint of task {checkpoint.meta.settings.task}")
        return found, rounds

    def current(self, meta: Any, job: Job) -> bool:
        _, rounds = self.before(job, meta.seed)
        return bool(
            meta.data_hash == self.hash_of(self.jobs(job))
            and meta.backbone_fingerprint == job.backbone.fingerprint
            and meta.before_sha256 == assemble.before_sha256(rounds)
        )

    def run(self, job: Job) -> list[Path]:
        if (self.export or self.delta8) and len(job.seeds) > 1:
            raise UserError(f"--export and --delta8 write one model, --seeds names {len(job.seeds)}; give one a call")
        if self.export:  # before training
            target = free(self.export)
            writable(target, "--export")
        if self.delta8:
            writable(self.delta8, "--delta8")
            if job.out and self.delta8.resolve() == job.out.resolve():
                raise UserError(f"--out and --delta8 both name {job.out}; give each its own file")
        paths = super().run(job)
        if self.export or self.delta8:
            checkpoint = Checkpoint.load(paths[0])
            theta0, _ = self.before(job, job.seeds[0])
            if self.delta8:
                checkpoint.eight_bit(theta0).ship(self.delta8)
                paths.append(self.delta8)
            if self.export:
                merged = assemble.combined(theta0, [checkpoint.finetuned(theta0)], "linear", self.alpha)
                paths.append(export(merged, job.backbone_name, job.folder, self.export))
        return paths


class _Making:
    """Data read, then an encoder a seed."""

    def __init__(self, recipe: Recipe, job: Job):
        self.recipe, self.job, self.settings = recipe, job, recipe.settings
        self.jobs = recipe.jobs(job)
        for part in self.jobs:
            wanted_splits(part, "train", "val")
            part.head(self.settings.preset)
        self.theta0 = {name: value.clone() for name, value in inner(job.backbone).state_dict().items()}

    def train(self, seed: int, path: Path) -> None:
        settings, job = self.settings, self.job
        began, rounds = self.recipe.before(job, seed)
        answer = probe(job.backbone)
        inner(job.backbone).load_state_dict(began)
        objectives = [self._objective(part, seed) for part in self.jobs]
        encoder = trainable(job.backbone, front=not settings.stable, dropout=settings.dropout)
        if settings.adapter != "none":
            adapters.attach(encoder, settings.adapter, settings.rank, seed)
        parts = [
            Part(Rows(part.splits["train"], encoder), Rows(part.splits["val"], encoder), objective.to(job.device))
            for part, objective in zip(self.jobs, objectives, strict=True)
        ]
        learner = FineTuning(encoder.to(job.device), parts, settings, seed)
        before = assemble.before_sha256(rounds)
        data_hash = self.recipe.hash_of(self.jobs)
        what = f"training {settings.task} seed {seed}"
        training = Training(job, settings, what, seed, {"data": data_hash, "before": before})
        (outcome,) = training.fit(
            learner,
            [settings.lr],
            learner.batch,
            learner.dev,
            plan(settings),
            log=path.with_suffix(".csv"),
            rate=rate(settings),
            on_step=learner.begin,
        )
        if outcome.diverged or outcome.state is None or outcome.best is None:
            raise UserError(f"seed {seed} diverged ({outcome.diverged}); give a smaller --lr")
        early = settings.until < 1
        state = outcome.last if early and outcome.last is not None else outcome.state
        learner.load_state(0, state)
        learner.train(False)
        scores = learner.scores()
        tensors, form = self._moved(state)
        figures = {
            f"{part.data.name}_{made.metric}": score.metric
            for part, made, score in zip(self.jobs, objectives, scores, strict=True)
        }
        fields = meta_fields(job, settings, seed) | {
            "data": ", ".join(f"{part.data.suite}/{part.data.name} version {part.data.version}" for part in self.jobs),
            "data_hash": data_hash,
        }
        meta = Meta(
            form=form,
            shapes={name: list(value.shape) for name, value in tensors.items()},
            step=plan(settings).steps if early else outcome.best[0],
            before_sha256=before,
            validation=figures,
            **fields,
        )
        self._put_back(encoder)
        checkpoint = Checkpoint(meta, Tensors(tensors), answer)
        training.finish(lambda: checkpoint.save(path))
        told = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
        job.say(f"seed {seed}: {settings.task}, update {meta.step} of {settings.steps}; validation: {told}")

    def _objective(self, part: Job, seed: int) -> Any:
        head = part.head(self.settings.preset)
        if head.name != UNITS:
            made: Objective = part.objective(self.settings.preset, seed)
            return made
        splits = [part.splits["train"], part.splits["val"]]
        return MaskedUnits(head.options, splits, _wave, self.job.backbone, seed)

    def _moved(self, state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Form]:
        found = {n.removeprefix("encoder."): v for n, v in state.items() if n.startswith("encoder.")}
        return (found, "weights") if self.settings.adapter == "none" else (adapters.parts(found), "adapter")

    def _put_back(self, encoder: Encoder) -> None:
        """The pre-trained weights into the backbone, whose modules were trained, for the next seed."""
        adapters.detach(encoder)
        module = inner(self.job.backbone)
        module.load_state_dict(self.theta0)
        module.requires_grad_(False).eval()


def _wave(utterance: Utterance) -> torch.Tensor:
    return torch.from_numpy(audio.read(utterance))


def _yaml(task: str) -> str:
    return f"tasks/mini/speech_ft_{task}.yaml"


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)
