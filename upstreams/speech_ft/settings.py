"""Everything a Speech-FT recipe can be told, as one strict model whose hash names the recipe.

`paper` has the published figures (arXiv 2502.12672 and the authors' code) for speech recognition on ten hours; `mini`
is sized for an hour of speech and minutes on two cores. What else differs was chosen on validation (`val`) on
whisper_tiny, seed 0; the note of each field says where the paper gives nothing.

The merge is no part of it: one fine-tuned checkpoint serves every alpha.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from harness.errors import UserError
from harness.registry import unknown
from upstreams import checkpoints

Baseline = Literal["plain", "unstable", "l2", "features", "lora", "dora", "early"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

TASKS = ("asr", "pr", "sid", "ks", "er", "spanish")
"""The data that there are: tasks/mini/speech_ft_TASK.yaml."""


class Settings(checkpoints.Settings):
    """One fine-tuning."""

    preset: Literal["mini", "paper"] = "mini"
    """Whose head is trained on top: the data names one a preset."""
    task: str
    """A task, or several joined by '+': fine-tuned jointly, in turns within an update."""
    after: tuple[str, ...] = ()
    """Sequential Speech-FT: the tasks whose merges, at alpha 0.25 each, this fine-tuning begins from."""
    adapter: Literal["none", "lora", "dora"] = "none"
    """Low-rank updates of the transformer's matrices, merged back, in place of all weights."""
    rank: int = Field(default=8, gt=0)
    """Of the adapter; the paper does not say."""
    stable: bool = True
    """Stable fine-tuning: the head alone at first, the convolutional front-end frozen, the rate in three stages. False:
    all weights from the first update on, at a constant rate."""
    head_only: float = Field(default=0.1, ge=0, lt=1)
    """Part of the updates in which only the head learns; the rate rises over the same part."""
    hold: float = Field(default=0.4, ge=0, lt=1)
    """Part of the updates at the full rate; then linearly to 0."""
    until: float = Field(default=1.0, gt=0, le=1)
    """Part of the updates that are made: the early checkpoint is the last weights at 0.2."""
    l2: float = Field(default=0.0, ge=0)
    """Weight of the squared distance to the pre-trained weights; the paper does not say."""
    features: float = Field(default=0.0, ge=0)
    """Weight of the mean squared distance to the pre-trained last state; the paper does not say."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """None: the model's own. Whisper was published with 0."""
    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    """Utterances a micro-batch."""
    accumulate: int = Field(default=1, gt=0)
    """Micro-batches an update; torchrun deals them to the devices."""
    eval_every: int = Field(gt=0)
    lr: float = Field(gt=0)
    head_lr: float = Field(default=1.0, gt=0)
    """What the head's rate is, in parts of `lr`. The paper's 5,000 updates of the head alone leave it trained; the 50
    of `mini` do so only at a higher rate, and an encoder below an untrained head is moved at random."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Settings:
        if self.head_only + self.hold >= 1:
            raise ValueError("head_only and hold: parts that leave room for the fall of the rate wanted")
        return self

    @property
    def tasks(self) -> list[str]:
        return self.task.split("+")


PRESETS: dict[str, dict[str, Any]] = {
    "mini": {"steps": 500, "batch": 8, "eval_every": 50, "lr": 2e-4, "head_lr": 10.0, "dropout": 0.1},
    "paper": {"steps": 50_000, "batch": 16, "eval_every": 2000, "lr": 1e-4},
}
OF_TASK: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"er": {"steps": 30_000, "batch": 4, "accumulate": 8, "eval_every": 1000}},
    "mini": {},
}

OF_BASELINE: dict[Baseline, dict[str, Any]] = {
    "plain": {},
    "unstable": {"stable": False},
    "l2": {"l2": 1e-2},
    "features": {"features": 1.0},
    "lora": {"adapter": "lora", "lr": 1e-3},
    "dora": {"adapter": "dora", "lr": 1e-3},
    "early": {"until": 0.2},
}
"""What a baseline trains otherwise; `plain` is the same training, not merged."""

ALPHA = 0.25
"""The paper's, for everything."""


def alpha_of(baseline: Baseline | None) -> float:
    """How far a baseline goes: they are what merging is compared with, but for `unstable`, which is merged too."""
    return ALPHA if baseline in (None, "unstable") else 1.0


def from_options(options: dict[str, Any], where: str) -> Settings:
    """Settings from a card's or the command line's options, by a preset, a task and a baseline. Raises UserError."""
    given = dict(options)
    baseline: Baseline | None = given.pop("baseline", None)
    task = given.setdefault("task", "asr")
    named = [*given.get("after", ()), *str(task).split("+")]
    for name in named:
        if name not in TASKS:
            raise unknown("task to fine-tune on", name, TASKS)
    if len(set(named)) < len(named):
        raise UserError(f"{where}: each task wanted once, found {', then '.join(named)}")
    if baseline is not None and baseline not in BASELINES:
        raise UserError(f"{where}: baseline {baseline!r} unknown; one of {', '.join(BASELINES)} wanted")
    several = len(str(task).split("+"))
    presets = {}
    for name, values in PRESETS.items():
        own = values | OF_TASK[name].get(str(task), {}) | (OF_BASELINE[baseline] if baseline else {})
        # an update of several tasks has a micro-batch of each, and as many utterances as that of one
        shared = {"accumulate": several * own.get("accumulate", 1), "batch": max(1, own["batch"] // several)}
        presets[name] = own | {"preset": name} | shared
    return checkpoints.from_options(Settings, presets, given, where)
