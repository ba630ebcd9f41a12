"""The VIB recipe, two stages on a frozen backbone's stored frames.

    python harness/posttrain.py vib --backbone whisper_tiny --stage text
    python harness/posttrain.py vib --backbone whisper_tiny --stage acoustic --target speaker
    python harness/posttrain.py vib --stage text --convert model.pth --backbone hubert_base -k FOLDER

Stage 2 is conditioned on the frozen stage 1 of the same backbone, size and seed, or on the file that `--text` gives.
Dev (the split `val`) picks the weights, by WER or accuracy, among those at the ends of epochs with the last beta, since
before that the bottleneck is still closing. The learning rate is near 0 there, so they differ little. The authors take
the last weights and report the test.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.errors import UserError
from harness.recipe import Job
from harness.schedules import cosine
from upstreams import recipes
from upstreams.checkpoints import probe
from upstreams.recipes import Train, Training, given, meta_fields, wanted_splits
from upstreams.vib.checkpoint import Checkpoint, Meta, halved
from upstreams.vib.convert import converted
from upstreams.vib.network import seeded
from upstreams.vib.settings import PRESETS, TARGETS, Settings, from_options, text_stage
from upstreams.vib.training import Classification, Learner, Rows, Steps, Task, Transcription, Validation, means


class Recipe(recipes.Recipe):
    """Follows `harness.recipe.Recipe`."""

    data = "tasks/mini/vib_text.yaml"
    checkpoint = Checkpoint
    stands_on = {"text_sha256": "text"}
    settings: Settings

    @staticmethod
    def options(parser: argparse.ArgumentParser) -> None:
        add, none = parser.add_argument, argparse.SUPPRESS
        add("--preset", choices=list(PRESETS), default=none, help="mini (default) or paper, the authors' figures")
        add("--stage", choices=["text", "acoustic"], default=none, help="which is trained (default text)")
        add("--target", choices=TARGETS, default=none, help="what stage acoustic learns to tell")
        add("--text", type=Path, metavar="FILE", default=none, help="the stage 1 that stage acoustic stands on")
        add(
            "--no-bottleneck",
            dest="bottleneck",
            action="store_false",
            default=none,
            help="the control: no noise, no KL",
        )
        add("--dim", type=int, default=none, help="size of the latent (default 128)")
        add("--layer", type=int, default=none, help="one of the backbone's states (default: a mix of 1 to L)")
        scale = parser.add_mutually_exclusive_group().add_argument
        scale("--standardise", action="store_true", default=none, help="each input dimension to mean 0, deviation 1")
        scale("--raw", dest="standardise", action="store_false", default=none, help="the input as it is")
        add("--beta", type=_beta, default=none, help="weight of the KL: first,last, or one number (paper: 0.1,1)")
        add("--epochs", type=int, default=none, help="passes over the data")
        add("--hold", type=int, default=none, help="epochs at the end with the last beta (default a tenth)")
        add("--batch", type=int, default=none, help="utterances a micro-batch")
        add("--accumulate", type=int, default=none, help="micro-batches an update (default 1)")
        add("--lr", type=float, default=none, help="greatest learning rate (paper: 1e-3, for large models 1e-4)")
        add("--weight-decay", type=float, default=none, help="of AdamW (default 0.005)")
        add("--warmup", type=float, default=none, help="part of the updates in which the rate rises (default 0.1)")
        add("--convert", type=Path, metavar="FILE", default=none, help="read the authors' own weights, train nothing")

    def __init__(self, args: argparse.Namespace):
        self.given = given(args, Settings)
        self.convert = getattr(args, "convert", None)
        self.text: Path | None = getattr(args, "text", None)
        self.settings = from_options(self.given, "posttrain.py vib")
        if self.text is not None and self.settings.stage == "text":
            raise UserError("--text is for stage acoustic, which is conditioned on a stage 1; give --stage acoustic")
        self.data = f"tasks/mini/vib_{self.settings.target or 'text'}.yaml"

    def making(self, job: Job) -> Train:
        if self.settings.stage == "acoustic":
            for seed in job.seeds:  # before minutes of encoding
                self.condition(job, seed)
        return _Making(self, job).train

    def converted(self, job: Job) -> Checkpoint:
        assert self.convert is not None
        text = self.condition(job, job.seeds[0]) if self.settings.stage == "acoustic" else None
        return converted(self.convert, job.backbone, {"preset": "paper"} | self.given, job.seeds[0], text)

    def current(self, meta: Any, job: Job) -> bool:
        same = super().current(meta, job)
        if same and self.settings.stage == "acoustic":
            return bool(meta.text_sha256 == self.condition(job, meta.seed).meta.tensors_sha256)
        return same

    def condition(self, job: Job, seed: int) -> Checkpoint:
        """Stage 1 for stage 2. Raises UserError: missing, of another backbone, of another size or kind."""
        wanted = text_stage(self.settings, "paper" if self.convert else self.given.get("preset", "mini"))
        try:
            text, path = Checkpoint.of(job.backbone.name, wanted, seed, self.text)
        except UserError as error:
            if self.text is not None:
                raise
            raise UserError(f"{error}, or give one by --text FILE") from None
        text.check_base(job.backbone, str(path))
        for name in ("stage", "dim", "bottleneck"):
            want, found = getattr(wanted, name), getattr(text.meta.settings, name)
            if want != found:
                raise UserError(f"{path} as stage 1: {name} {want} wanted, found {found}; give another --text")
        return text


class _Making:
    """Rows read, then a network a seed."""

    def __init__(self, recipe: Recipe, job: Job):
        self.recipe, self.job, self.settings = recipe, job, recipe.settings
        backbone, layer = job.backbone, self.settings.layer
        if layer is not None and layer >= backbone.num_layers:
            raise UserError(f"--layer {layer}: {backbone.name} has states 0 to {backbone.num_layers - 1}")
        # state 0 is what enters the transformer; a backbone with one state has no other
        first = min(1, backbone.num_layers - 1)
        self.layers = list(range(first, backbone.num_layers)) if layer is None else [layer]
        wanted_splits(job, "train", "val")
        job.prepare("frames")
        self.train_rows, self.val_rows = (self._rows(name, self.layers) for name in ("train", "val"))

    def _rows(self, split: str, layers: list[int]) -> Rows:
        return Rows(self.job.splits[split], self.job.features, layers, self.job.device)

    def _tasks(self, text: Checkpoint | None) -> tuple[Task, Task]:
        """Of train and val."""
        train, val = self.job.splits["train"], self.job.splits["val"]
        if text is None:
            return Transcription(train), Transcription(val)
        field = "speaker" if self.settings.target == "speaker" else "label"
        labels = {split.name: [getattr(u, field) for u in split.utterances] for split in (train, val)}
        classes = sorted(set(labels["train"]))
        if len(classes) < 2:
            raise UserError(f"{self.job.data_path.name}: two classes or more wanted in `train`, found {classes}")
        network = text.network.to(self.job.device)
        layers = text.meta.layers
        below = {
            "train": self.train_rows if layers == self.layers else self._rows("train", layers),
            "val": self.val_rows if layers == self.layers else self._rows("val", layers),
        }
        made = [Classification(labels[name], classes, means(network, below[name])) for name in ("train", "val")]
        return made[0], made[1]

    def train(self, seed: int, path: Path) -> None:
        settings, job = self.settings, self.job
        text = self.recipe.condition(job, seed) if settings.stage == "acoustic" else None
        task, val_task = self._tasks(text)
        network = seeded(
            self.layers, job.backbone.dim, settings.dim, len(task.outputs), text is None, settings.bottleneck, seed
        ).to(job.device)
        if settings.standardise:
            _standardise(network.mix, *self.train_rows.statistics())
        learner = Learner(network, task, self.train_rows, settings, seed)
        validation = Validation(learner, val_task, self.val_rows)
        more = {"text": text.meta.tensors_sha256} if text else {}
        what = f"training {settings.target or 'text'} seed {seed}"
        training = Training(job, settings, what, seed, more)
        steps = Steps(settings, len(self.train_rows))
        (outcome,) = training.fit(
            learner,
            [settings.lr],
            learner.batch,
            lambda k: validation.score(),
            steps.plan(),
            log=path.with_suffix(".csv"),
            rate=cosine(steps.all, settings.warmup),
            on_step=learner.begin,
        )
        if outcome.diverged or outcome.state is None or outcome.best is None:
            raise UserError(f"seed {seed} diverged ({outcome.diverged}); give a smaller --lr")
        learner.load_state(0, halved(outcome.state))
        learner.train(False)
        score, info = validation.score(), validation.kl()
        figures = {task.metric: score.metric, "loss": score.loss, "kl": info}
        meta = Meta(
            layers=self.layers,
            symbols=[] if text else task.outputs,
            classes=task.outputs if text else [],
            text_sha256=text.meta.tensors_sha256 if text else "",
            step=outcome.best[0],
            validation=figures,
            **meta_fields(job, settings, seed),
        )
        checkpoint = Checkpoint(meta, network, probe(job.backbone))
        training.finish(lambda: checkpoint.save(path))
        control = "" if settings.bottleneck else ", no bottleneck"
        job.say(
            f"seed {seed}: stage {settings.stage}{control}, update {meta.step} of {steps.all}; validation: "
            f"{task.metric.upper() if text is None else task.metric} {score.metric:.1f} %, KL {info:.2f} nats a frame"
        )


def _standardise(mix: torch.nn.Module, mean: Tensor, std: Tensor) -> None:
    mix.load_state_dict({**mix.state_dict(), "mean": mean, "std": std})


def _beta(text: str) -> tuple[float, float]:
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2):
        raise UserError(f"--beta: one number, or first,last wanted, found {text!r}")
    return parts[0], parts[-1]
