"""The ICL recipe: crossed voices and sentences, a frozen backbone's time-means, a small network on them.

    python harness/posttrain.py icl --backbone whisper_tiny --seeds 0,1,2

Which input the network reads is chosen once a recipe, with seed 0 and the full number of steps, by the mean of the
blocks' cosine EERs on the crossed validation set, then by the loss on it: no task's data is seen. The networks are
those at the end of training, as the authors evaluate theirs. The validation figures in a checkpoint are of the set that
chose its input, so they flatter it a little.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from harness import distributed
from harness.errors import UserError
from harness.recipe import Job
from harness.results import atomic_write
from harness.train import Outcome
from upstreams import recipes
from upstreams.checkpoints import probe
from upstreams.icl.checkpoint import Checkpoint, Choice, Meta, halved
from upstreams.icl.convert import converted
from upstreams.icl.settings import BLOCKS, PRESETS, Settings, from_options
from upstreams.icl.training import Crossed, Input, Learner, Validation, inputs, plan
from upstreams.recipes import Train, Training, given, meta_fields, wanted_splits

SELECTION_SEED = 0


class Recipe(recipes.Recipe):
    """Follows `harness.recipe.Recipe`."""

    data = "tasks/mini/crossed.yaml"
    checkpoint = Checkpoint
    settings: Settings

    @staticmethod
    def options(parser: argparse.ArgumentParser) -> None:
        add, none = parser.add_argument, argparse.SUPPRESS
        add(
            "--preset", choices=list(PRESETS), default=none, help="sizes: mini (default) or paper, the authors' figures"
        )
        add("--variant", choices=list(BLOCKS), default=none, help="which blocks are trained (default joint)")
        add("--residual", action="store_true", default=none, help="add a block that no variable supervises")
        add(
            "--layers",
            default=none,
            help="auto (default: what does best on crossed validation), last, concat, mix or a number",
        )
        scale = parser.add_mutually_exclusive_group().add_argument
        scale("--standardise", action="store_true", default=none, help="each input dimension to mean 0, deviation 1")
        scale(
            "--raw",
            dest="standardise",
            action="store_false",
            default=none,
            help="the input as it is (default: what does best)",
        )
        add(
            "--orth-mode",
            choices=["dimension", "batch"],
            default=none,
            help="form of the orthogonality term (default dimension)",
        )
        add("--orth-weight", type=float, default=none, help="its weight (default 1)")
        add("--margin", type=float, default=none, help="taken off the cosine of positives (default 0)")
        add("--temperature", type=float, default=none, help="of the contrastive term (default 0.1)")
        add("--hidden", type=_widths, default=none, help="widths of the hidden layers, with commas (default 384,384)")
        add("--block-dim", type=int, default=none, help="size of a block (default 192)")
        add(
            "--batch", type=int, default=none, help="utterances a batch, laid out as speakers x sentences (default 480)"
        )
        add("--lr", type=float, default=none, help="greatest learning rate (default 1e-3)")
        add("--steps", type=int, default=none, help="updates (default 480)")
        add(
            "--convert",
            type=Path,
            metavar="FILE",
            default=none,
            help="read the authors' own checkpoint in place of training",
        )

    def __init__(self, args: argparse.Namespace):
        self.given = given(args, Settings)
        self.convert = getattr(args, "convert", None)
        self.settings = from_options(self.given, "posttrain.py icl")

    def making(self, job: Job) -> Train:
        return _Making(job, self.settings).train

    def converted(self, job: Job) -> Checkpoint:
        assert self.convert is not None
        return converted(self.convert, job.backbone, self.given, job.seeds[0])


class _Making:
    """Features read, the input chosen, then a network a seed."""

    def __init__(self, job: Job, settings: Settings):
        self.job, self.settings = job, settings
        backbone, wanted = job.backbone, settings.layers
        if wanted.isdigit() and int(wanted) >= backbone.num_layers:
            raise UserError(f"--layers {wanted}: {backbone.name} has layers 0 to {backbone.num_layers - 1}")
        wanted_splits(job, "train", "val")
        job.prepare("means")
        self.train_set, self.val_set = (
            Crossed(job.splits[name], job.features, job.device) for name in ("train", "val")
        )
        self.choices = self._choose()

    def _training(self, what: str, seed: int, tried: list[Input]) -> Training:
        return Training(self.job, self.settings, what, seed, {"inputs": [asdict(one) for one in tried]})

    def _fit(
        self, training: Training, tried: list[Input], log: Path | None = None
    ) -> tuple[Learner, Validation, list[Outcome]]:
        learner = Learner(self.train_set, tried, self.settings, training.seed)
        validation = Validation(self.val_set, learner)
        outcomes = training.fit(
            learner,
            [self.settings.lr] * len(tried),
            learner.batch,
            lambda k: validation.score(learner.networks[k]),
            plan(self.settings),
            log=log,
        )
        return learner, validation, outcomes

    def _choose(self) -> list[Choice]:
        """Every input tried, best first, from the cache if it was done before; a single one is not tried."""
        tried = inputs(self.settings, self.job.backbone.num_layers)
        if len(tried) == 1:
            return []
        training = self._training("choosing the input", SELECTION_SEED, tried)
        path = self.job.folder_of(self.settings.hash) / f"choice-{training.identity[:12]}.json"
        stored = _stored(path)
        distributed.barrier()  # no process writes before all have looked
        if stored:
            return stored
        _, _, outcomes = self._fit(training, tried)
        choices = []
        for one, outcome in zip(tried, outcomes, strict=True):
            if not outcome.diverged:
                last = outcome.curve[-1][1]
                choices.append(
                    Choice(
                        layers=list(one.layers),
                        kind=one.kind,
                        standardise=one.standardise,
                        eer=last.metric,
                        loss=last.loss,
                    )
                )
        if not choices:
            raise UserError(f"every input diverged ({outcomes[0].diverged}); give a smaller --lr")
        choices.sort(key=lambda choice: (choice.eer, choice.loss))
        text = json.dumps([c.model_dump() for c in choices], indent=1) + "\n"
        training.finish(lambda: atomic_write(path, text.encode()))
        return choices

    def train(self, seed: int, path: Path) -> None:
        """The chosen input's network of one seed, into `path`."""
        settings, job = self.settings, self.job
        if self.choices:
            best = self.choices[0]
            chosen = Input(tuple(best.layers), best.kind, best.standardise)
        else:
            (chosen,) = inputs(settings, job.backbone.num_layers)
        training = self._training(f"training seed {seed}", seed, [chosen])
        learner, validation, (outcome,) = self._fit(training, [chosen], path.with_suffix(".csv"))
        if outcome.diverged or outcome.last is None:
            raise UserError(f"seed {seed} diverged ({outcome.diverged}); give a smaller --lr")
        learner.load_state(0, halved(outcome.last))
        learner.train(False)
        score = validation.score(learner.networks[0])
        eers = {f"{block}_eer": value for block, value in validation.eers(learner.networks[0]).items()}
        meta = self._meta(chosen, seed, {**eers, "loss": score.loss})
        network = Checkpoint.network_of(meta)
        network.load_state_dict(learner.state(0))
        checkpoint = Checkpoint(meta, network, probe(job.backbone))
        training.finish(lambda: checkpoint.save(path))
        shown = ", ".join(f"{name.removesuffix('_eer')} EER {value:.2f} %" for name, value in eers.items())
        job.say(f"seed {seed}: {_words(chosen)}; crossed validation: {shown}")

    def _meta(self, chosen: Input, seed: int, validation: dict[str, float]) -> Meta:
        return Meta(
            layers=list(chosen.layers),
            kind=chosen.kind,
            standardise=chosen.standardise,
            choices=self.choices,
            validation=validation,
            **meta_fields(self.job, self.settings, seed),
        )


def _stored(path: Path) -> list[Choice]:
    try:
        return [Choice.model_validate(row) for row in json.loads(path.read_text())]
    except (OSError, ValueError, ValidationError, TypeError):
        return []


def _words(one: Input) -> str:
    layers = f"layer {one.layers[0]}" if len(one.layers) == 1 else f"{len(one.layers)} layers, {one.kind}"
    return f"{layers}, {'standardised' if one.standardise else 'raw'}"


def _widths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError:
        raise UserError(f"--hidden: widths with commas wanted, such as 384,384, found {text!r}") from None
