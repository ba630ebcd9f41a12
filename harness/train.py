"""The one training loop: K trials side by side on the same batches, for heads and post-training recipes alike.

A trial is one learning rate and one seed; a recipe is the case K = 1. Dev is scored on the way, the best state of each
trial is kept, and everything needed to go on after a kill is written at each evaluation: a resumed run ends in the
same numbers, bit for bit on one machine. Batches are pure functions of the step and the random generators are seeded
anew at every micro-batch, so no generator state needs saving.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from harness import distributed
from harness.contracts import DevScore, Learner, TrialSpec
from harness.errors import UserError
from harness.progress import progress
from harness.results import atomic_file
from harness.schedules import Rate
from harness.training_log import TrainingLog

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class Plan(BaseModel):
    """How long and how to train. `steps` are optimiser updates, each of `accumulate` micro-batches."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int = Field(gt=0)
    accumulate: int = Field(default=1, gt=0)
    optimiser: str = "adam"
    weight_decay: float | None = None
    """None: the optimiser's own default."""
    clip: float = Field(default=1.0, gt=0)
    """Gradient norm of each trial by itself."""
    eval_every: int = Field(gt=0)
    onecycle: dict[str, float] | None = None
    """torch's OneCycleLR arguments (pct_start, div_factor, final_div_factor); its max_lr is the trial's rate. None: the
    rate is constant."""


@dataclass(slots=True)
class Outcome:
    """How one trial went. `state` is the weights at the best dev score; None where it diverged before any."""

    spec: TrialSpec
    curve: list[tuple[int, DevScore]] = field(default_factory=list)
    best: tuple[int, DevScore] | None = None
    state: dict[str, Tensor] | None = None
    last: dict[str, Tensor] | None = None
    diverged: str = ""

    def order(self) -> tuple[float, float, float]:
        """Selection: dev metric, then dev loss, then the smaller learning rate."""
        assert self.best is not None
        return (self.best[1].key, self.best[1].loss, self.spec.lr)


def step_seed(*parts: int | str) -> int:
    """A 63-bit seed from a tuple, the same in every process."""
    text = ":".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def fit(
    learner: Learner,
    specs: Sequence[TrialSpec],
    batch: Callable[[int, int], Any],
    dev: Callable[[int], DevScore],
    plan: Plan,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    on_step: Callable[[int], None] | None = None,
    on_state: Callable[[int, int, dict[str, Tensor]], None] | None = None,
    rate: Rate | None = None,
    log: Path | None = None,
    tensorboard: bool = False,
    what: str = "training",
    say: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Train every trial for `plan.steps` updates and return how each went, in the order of `specs`.

    batch(step, micro) gives a micro-batch; dev(k) scores trial k as it stands. on_step(step) runs before an update (a
    phase of a recipe: a schedule of its loss, a freeze); on_state(k, step, weights) after each dev score of a trial,
    and again for those that a resumed run repeats. `rate` multiplies the trials' learning rates. `checkpoint` is where
    progress is kept; one that was written for another `identity` raises UserError. `log` is a CSV of losses and dev
    scores (and of the learner's `terms()`, where it has that). `say` is told where a resumed run goes on. Under
    torchrun the micro-batches of an update are dealt to the processes and only the first writes. Out of memory is never
    skipped: it ends the run.
    """
    if distributed.world() > plan.accumulate:
        raise UserError(
            f"{distributed.world()} processes and {plan.accumulate} micro-batches an update: start as many or fewer"
        )
    run = _Run(learner, list(specs), plan, rate)
    start = run.load(checkpoint, identity) if checkpoint else 0
    if start and say:
        say(f"{what}: going on from update {start:,} of {plan.steps:,}")
    run.log = TrainingLog(log if distributed.rank() == 0 else None, start, tensorboard)
    distributed.barrier()  # no process writes before all have read
    for step in progress(range(start, plan.steps), what, plan.steps, initial=start):
        if not run.active:
            break
        if on_step:
            on_step(step)
        run.update(step, batch)
        if (step + 1) % plan.eval_every == 0 or step + 1 == plan.steps:
            run.evaluate(step + 1, dev, on_state)
            if checkpoint and distributed.rank() == 0:
                run.save(checkpoint, identity, step + 1)
            run.log.write()
    for k, outcome in enumerate(run.outcomes):
        if not outcome.diverged:
            outcome.last = learner.state(k)
    return run.outcomes


def sample(
    learner: Learner, specs: Sequence[TrialSpec], batch: Callable[[int, int], Any], dev: Callable[[int], DevScore],
    plan: Plan, steps: Sequence[int], *, on_step: Callable[[int], None], rate: Rate | None = None,
) -> list[Outcome]:  # fmt: skip
    """`fit` with none but the updates `steps`, then a look at dev: for what a training costs, not for its weights."""
    run = _Run(learner, list(specs), plan, rate)
    for step in steps:
        on_step(step)
        run.update(step, batch)
    run.evaluate(plan.steps, dev)
    for k, outcome in enumerate(run.outcomes):
        outcome.last = learner.state(k)
    return run.outcomes


def select(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """The index that dev picks and how many tie with it on the metric. Raises UserError when all trials diverged."""
    alive = [i for i, outcome in enumerate(outcomes) if outcome.best is not None and not outcome.diverged]
    if not alive:
        tried = ", ".join(f"{outcome.spec.lr:g} ({outcome.diverged})" for outcome in outcomes)
        raise UserError(f"every learning rate diverged: {tried}; give the task smaller ones")
    best = min(alive, key=lambda i: outcomes[i].order())
    tied = sum(outcomes[i].order()[0] == outcomes[best].order()[0] for i in alive)
    return best, tied


def _seed(seed: int) -> None:
    """`torch.manual_seed`, which takes as long as a small head's forward pass where no accelerator is in use."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


class _Run:
    """The state of a training under way."""

    def __init__(self, learner: Learner, specs: list[TrialSpec], plan: Plan, rate: Rate | None = None):
        if rate is not None and plan.onecycle is not None:
            raise UserError("one schedule of the learning rate wanted: `onecycle` in the plan, or `rate`")
        self.learner, self.plan, self.rate, self.log = learner, plan, rate, TrainingLog(None)
        self.outcomes = [Outcome(spec) for spec in specs]
        self.optimisers = [self._optimiser(k, spec) for k, spec in enumerate(specs)]
        self.schedules = [self._schedule(o, spec) for o, spec in zip(self.optimisers, specs, strict=True)]

    @property
    def active(self) -> list[int]:
        return [k for k, outcome in enumerate(self.outcomes) if not outcome.diverged]

    def _optimiser(self, k: int, spec: TrialSpec) -> torch.optim.Optimizer:
        make = OPTIMISERS.get(self.plan.optimiser)
        if make is None:
            known = ", ".join(sorted(OPTIMISERS))
            raise UserError(f"optimiser {self.plan.optimiser!r} unknown; one of {known} wanted")
        options: dict[str, Any] = dict(getattr(self.learner, "optimiser_options", {}))
        if self.plan.weight_decay is not None:
            options["weight_decay"] = self.plan.weight_decay
        groups = getattr(self.learner, "groups", None)
        if groups is None:
            return make(self.learner.trial_parameters(k), lr=spec.lr, **options)
        own = [{"params": parameters, "lr": spec.lr * factor, "factor": factor} for parameters, factor in groups(k)]
        return make(own, **options)

    def _schedule(self, optimiser: torch.optim.Optimizer, spec: TrialSpec) -> OneCycleLR | None:
        if self.plan.onecycle is None:
            return None
        options: dict[str, Any] = dict(self.plan.onecycle)
        return OneCycleLR(optimiser, max_lr=spec.lr, total_steps=self.plan.steps, **options)

    def update(self, step: int, batch: Callable[[int, int], Any]) -> None:
        self.learner.train(True)
        self.learner.zero_grad()
        sums = [0.0] * len(self.outcomes)
        for micro in range(distributed.rank(), self.plan.accumulate, distributed.world()):
            active = self.active
            if not active:
                break
            _seed(step_seed("step", step, micro))
            losses = self.learner.losses(batch(step, micro), active)
            for k, loss in zip(active, losses.tolist(), strict=True):
                sums[k] += loss
                if not math.isfinite(loss) and distributed.world() == 1:
                    self.outcomes[k].diverged = f"loss {loss} at step {step}"
            # a diverged trial's NaN stays in its own parameters: they share no weights with the others
            (losses.sum() / self.plan.accumulate).backward()  # type: ignore[no-untyped-call]
        sums = distributed.total(sums)
        for k in self.active:
            # every process learns of a loss that diverged in one of them
            if not math.isfinite(sums[k]):
                self.outcomes[k].diverged = f"loss {sums[k]} at step {step}"
                continue
            self._step(k, step)
            self._note(k, step, sums[k] / self.plan.accumulate)

    def _step(self, k: int, step: int) -> None:
        parameters, optimiser, schedule = self.learner.trial_parameters(k), self.optimisers[k], self.schedules[k]
        distributed.sum_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.plan.clip)
        if not torch.isfinite(norm):
            self.outcomes[k].diverged = f"gradient norm {norm.item()} at step {step}"
            return
        if self.rate is not None:
            for group in optimiser.param_groups:
                group["lr"] = self.outcomes[k].spec.lr * self.rate(step) * group.get("factor", 1.0)
        optimiser.step()
        if schedule is not None:
            schedule.step()

    def _note(self, k: int, step: int, loss: float) -> None:
        if self.log.path is None:
            return
        lr = self.outcomes[k].spec.lr
        terms: Mapping[str, float] = getattr(self.learner, "terms", dict)()
        if self.rate is not None:
            terms = {**terms, "rate": lr * self.rate(step)}
        for what, value in {"loss": loss, **terms}.items():
            self.log.add(step + 1, k, lr, what, value)

    def evaluate(
        self,
        step: int,
        dev: Callable[[int], DevScore],
        on_state: Callable[[int, int, dict[str, Tensor]], None] | None = None,
    ) -> None:
        self.learner.train(False)
        for k in self.active:
            outcome = self.outcomes[k]
            with torch.no_grad():
                score = dev(k)
            if not math.isfinite(score.metric) or not math.isfinite(score.loss):
                outcome.diverged = f"dev score {score.metric}, loss {score.loss} at step {step}"
                continue
            outcome.curve.append((step, score))
            self.log.add(step, k, outcome.spec.lr, "dev_metric", score.metric)
            self.log.add(step, k, outcome.spec.lr, "dev_loss", score.loss)
            if on_state:
                on_state(k, step, self.learner.state(k))
            if outcome.best is None or (score.key, score.loss) < (outcome.best[1].key, outcome.best[1].loss):
                outcome.best, outcome.state = (step, score), self.learner.state(k)

    def save(self, path: Path, identity: str, step: int) -> None:
        trials = [
            {
                "curve": [(at, s.metric, s.loss, s.key) for at, s in outcome.curve],
                "best": None if outcome.best is None else outcome.best[0],
                "state": outcome.state,
                "diverged": outcome.diverged,
                "weights": self.learner.state(k),
                "optimiser": self.optimisers[k].state_dict(),
                "schedule": _plain(self.schedules[k]),
            }
            for k, outcome in enumerate(self.outcomes)
        ]
        # straight to the disk: the trials of a large head twice over in memory were the suite's peak
        try:
            with atomic_file(path) as file:
                torch.save({"identity": identity, "step": step, "trials": trials}, file)
        except RuntimeError as error:  # what torch makes of a write that failed
            raise UserError(f"could not write {path} ({error}); free space or choose another folder") from error

    def load(self, path: Path, identity: str) -> int:
        """Take up what `save` left; 0 where there is nothing."""
        if not path.exists():
            return 0
        try:
            saved = torch.load(path, weights_only=True)
            if saved["identity"] != identity:
                raise UserError(f"{path} belongs to other settings or data; remove it to begin anew")
            for k, trial in enumerate(saved["trials"]):
                self._restore(k, trial)
            return int(saved["step"])
        except (OSError, KeyError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise UserError(f"{path} cannot be resumed ({type(error).__name__}); remove it to begin anew") from error

    def _restore(self, k: int, trial: Mapping[str, Any]) -> None:
        outcome = self.outcomes[k]
        outcome.curve = [(at, DevScore(metric, loss, key)) for at, metric, loss, key in trial["curve"]]
        outcome.best = next(((at, s) for at, s in outcome.curve if at == trial["best"]), None)
        outcome.state, outcome.diverged = trial["state"], trial["diverged"]
        self.learner.load_state(k, trial["weights"])
        self.optimisers[k].load_state_dict(trial["optimiser"])
        schedule = self.schedules[k]
        if schedule is not None:
            schedule.load_state_dict(trial["schedule"])


def _plain(schedule: OneCycleLR | None) -> dict[str, Any] | None:
    """A scheduler's counters: what `torch.load(weights_only=True)` will read back (no bound methods)."""
    if schedule is None:
        return None
    plain = (bool, int, float, str, list, dict, type(None))
    return {key: value for key, value in schedule.state_dict().items() if isinstance(value, plain)}
