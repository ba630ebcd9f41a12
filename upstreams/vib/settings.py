"""Everything a VIB recipe can be told, as one strict model whose hash names the recipe.

`paper` has the authors' figures (their code and arXiv 2410.03037) for base models; for large ones their learning rate
is 1e-4. `mini` is sized for an hour of speech and minutes on two cores, with fewer epochs of larger batches. What else
differs was chosen on validation (`val`) on whisper_tiny, seed 0:

    beta         the paper's last value, 1, closes the bottleneck on so little data: WER 90 % at 0.8 nats a frame; 0.3
                 gives 62 % at 3.9; 0.1 gives 59 % at 7.0, which is what no bottleneck gives (59 % at 600 nats)
    standardise  raw is better for text (WER 56 against 59 %), standardised for speakers (accuracy 56 against 15 % half
                 of the way); the 15 clips for emotion do not tell the two apart
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.errors import UserError
from upstreams import checkpoints

Stage = Literal["text", "acoustic"]
Target = Literal["speaker", "emotion"]
TARGETS: tuple[Target, ...] = ("speaker", "emotion")


class Settings(checkpoints.Settings):
    """A recipe of one stage."""

    stage: Stage = "text"
    target: Target | None = None
    """What the acoustic stage is trained to tell."""
    bottleneck: bool = True
    """False: no noise and no KL, the control. An acoustic control is conditioned on the text control."""
    dim: int = Field(default=128, gt=0)
    """The paper searched 16, 32, 64, 128 and 256."""
    layer: int | None = Field(default=None, ge=0)
    """One of the backbone's states in place of the mix over its transformer's layers."""
    standardise: bool
    """Each dimension of each layer to mean 0, deviation 1 over the training frames."""
    beta: tuple[float, float]
    """The weight of the KL at the first update and from the end of its linear rise on; equal: constant."""
    epochs: int = Field(gt=0)
    hold: int = Field(ge=0)
    """Epochs at the end with the last beta; it rises over those before."""
    batch: int = Field(gt=0)
    """Utterances a micro-batch."""
    accumulate: int = Field(default=1, gt=0)
    """Micro-batches an update; torchrun deals them to the devices."""
    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.005, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Part of the updates over which the learning rate rises; then half a cosine down to 0."""

    @field_validator("beta", mode="before")
    @classmethod
    def _one_is_constant(cls, beta: Any) -> Any:
        return (beta, beta) if isinstance(beta, (int, float)) else beta

    @model_validator(mode="after")
    def _stage_fits(self) -> Settings:
        if (self.stage == "acoustic") != (self.target is not None):
            raise ValueError("stage acoustic, and only that, has a target: speaker or emotion")
        if min(self.beta) < 0:
            raise ValueError("beta: 0 or more wanted")
        if self.beta[0] > self.beta[1]:
            first, last = self.beta
            raise ValueError(f"beta: it rises, so a first of at most the last, {last:g}, wanted, found {first:g}")
        if self.hold >= self.epochs:
            raise ValueError(f"hold: less than epochs ({self.epochs}) wanted, found {self.hold}; give a smaller --hold")
        return self


PAPER: dict[str, Any] = {"standardise": False, "beta": (0.1, 1.0), "epochs": 50, "hold": 5, "lr": 1e-3}
MINI: dict[str, Any] = {"beta": (0.01, 0.1), "batch": 16, "lr": 1e-3}
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "mini": {
        "text": MINI | {"standardise": False, "epochs": 20, "hold": 2},
        "speaker": {"standardise": True, "epochs": 20, "hold": 2, "beta": (0.001, 0.05), "batch": 8, "lr": 2e-3},
        "emotion": MINI | {"standardise": True, "epochs": 50, "hold": 5},
    },
    "paper": {"text": PAPER | {"batch": 1}, "speaker": PAPER | {"batch": 8}, "emotion": PAPER | {"batch": 8}},
}
"""By name, then by what the stage is trained for."""


def hold_of(epochs: int) -> int:
    """Of the epochs, those with the last beta where nothing is said of it: a tenth, as the presets have it."""
    return epochs // 10


def from_options(options: dict[str, Any], where: str) -> Settings:
    """Settings from a card's or the command line's options, with an optional `preset`; without a stage the text one is
    meant. Raises UserError."""
    stage, target = options.get("stage", "text"), options.get("target")
    if stage == "acoustic" and target is None:
        raise UserError(f"{where}: stage acoustic wants a target, one of {', '.join(TARGETS)}")
    trained_for = "text" if stage != "acoustic" or target not in TARGETS else target
    presets = {name: of_stage[trained_for] for name, of_stage in PRESETS.items()}
    epochs = options.get("epochs")
    if isinstance(epochs, int) and "hold" not in options:
        options = {**options, "hold": hold_of(epochs)}
    return checkpoints.from_options(Settings, presets, options, where)


def text_stage(settings: Settings, preset: str = "mini") -> Settings:
    """The recipe of the text stage that an acoustic one is conditioned on, unless a file is given: the preset's, of
    the same size, with or without the bottleneck."""
    same = {name: getattr(settings, name) for name in ("dim", "bottleneck", "layer")}
    return from_options({"preset": preset, "stage": "text", **same}, "stage text")
