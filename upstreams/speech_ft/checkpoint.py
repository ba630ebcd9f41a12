"""Checkpoints of Speech-FT: what fine-tuning made of an encoder's weights, apart from the weights it began with.

Three forms of the same, by `Meta.form`:

    weights   the fine-tuned tensors, in single precision: what a recipe writes
    adapter   LoRA's or DoRA's small matrices, which give the fine-tuned tensors together with those they began with
    delta8    the differences in 8 bits, a step a tensor, compressed: what is shipped

Only tensors that could move are in it.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load as load_bytes
from torch import Tensor, nn

from harness.errors import UserError
from harness.results import atomic_write
from upstreams import checkpoints
from upstreams.speech_ft.merge import delta_of
from upstreams.speech_ft.settings import Settings, from_options

Form = Literal["weights", "adapter", "delta8"]

STEP, A, B, MAGNITUDE = ":step", ":a", ":b", ":magnitude"
"""What a tensor's name is followed by: the step of its 8-bit codes, and an adapter's parts."""

LEVELS = 127
"""Of 8-bit codes, to either side of 0."""


class Meta(checkpoints.Meta):
    format: Literal["speech_ft-1"] = "speech_ft-1"
    settings: Settings
    form: Form = "weights"
    shapes: dict[str, list[int]]
    """Of the file's tensors."""
    step: int
    """The update whose weights these are."""
    before_sha256: str = ""
    """Sequential Speech-FT: over the checkpoints whose merges it began from."""


class Tensors(nn.Module):
    """Tensors by names that have dots, which a module's own cannot."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        super().__init__()
        self.tensors = dict(tensors)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        return dict(self.tensors)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        self.tensors = dict(state_dict)


class Checkpoint(checkpoints.Checkpoint[Meta, Tensors]):
    family, title, meta_type = "speech_ft", "Speech-FT", Meta
    shipped = Path(__file__).resolve().parent / "weights"
    off = {"stable": "--not-stable"}
    named = ("task",)

    @staticmethod
    def network_of(meta: Meta) -> Tensors:
        return Tensors({name: torch.empty(shape) for name, shape in meta.shapes.items()})

    @classmethod
    def defaults(cls, settings: Settings) -> Settings:
        return from_options({"task": settings.task, "preset": settings.preset}, "defaults")

    @staticmethod
    def halves(name: str, value: Tensor) -> bool:
        """Adapters are kept in half precision; weights as they are, since a merge is to end at them bit for bit."""
        return name.endswith((A, B))

    def kept(self, name: str, value: Tensor) -> Tensor:
        if self.meta.form == "delta8" and not name.endswith(STEP):
            return value.to(torch.int8)
        return super().kept(name, value)

    def finetuned(self, theta0: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The fine-tuned tensors by name, in theta0's types, given those that fine-tuning began with.

        LoRA (Hu et al. 2022): W + B A, its scale folded into B. DoRA (Liu et al. 2024): m (W + B A) / |W + B A|, the
        norm of each output row. Raises UserError for tensors that theta0 lacks or has in another shape."""
        held, made = self.network.tensors, {}
        for name in self.moved:
            began = theta0.get(name)
            if began is None:
                raise UserError(f"{self.meta.backbone}: tensor {name} wanted, which the checkpoint has moved")
            if self.meta.form == "weights":
                new = held[name]
            elif self.meta.form == "delta8":
                new = began.float() + held[name] * held[name + STEP]
            else:
                new = began.float() + held[name + B] @ held[name + A]
                if name + MAGNITUDE in held:
                    new = new * (held[name + MAGNITUDE] / new.norm(dim=1))[:, None]
            if new.shape != began.shape:
                raise UserError(f"{name}: shape {tuple(began.shape)} wanted, the checkpoint has {tuple(new.shape)}")
            made[name] = new.to(began.dtype)
        return made

    @property
    def moved(self) -> list[str]:
        """Names of the encoder's tensors that are not those it began with."""
        ends = {"weights": "", "delta8": STEP, "adapter": B}[self.meta.form]
        return [name.removesuffix(ends) for name in self.network.tensors if name.endswith(ends)]

    def eight_bit(self, theta0: Mapping[str, Tensor]) -> Checkpoint:
        """The same with its differences to theta0 in 8 bits: a tensor's largest is 127 steps."""
        tensors: dict[str, Tensor] = {}
        for name, theta in self.finetuned(theta0).items():
            delta = delta_of(theta0[name], theta)
            step = delta.abs().max().clamp(min=torch.finfo(torch.float32).tiny) / LEVELS
            tensors[name] = (delta / step).round()
            tensors[name + STEP] = step
        shapes = {name: list(value.shape) for name, value in tensors.items()}
        meta = self.meta.model_copy(update={"form": "delta8", "shapes": shapes})
        return Checkpoint(meta, Tensors(tensors), self.probe)

    @classmethod
    def read(cls, path: Path) -> tuple[str | None, dict[str, Tensor]]:
        if not path.name.endswith(".xz"):
            return super().read(path)
        try:
            content = lzma.decompress(path.read_bytes())
        except lzma.LZMAError as error:
            raise OSError(str(error)) from None
        head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return head.get("__metadata__", {}).get(checkpoints.KEY), load_bytes(content)

    def ship(self, path: Path) -> None:
        """Write it compressed, to a path that ends in .safetensors.xz. The same checkpoint gives the same bytes."""
        atomic_write(path, lzma.compress(self.bytes(), preset=9 | lzma.PRESET_EXTREME))


load, find, of, command = Checkpoint.load, Checkpoint.find, Checkpoint.of, Checkpoint.command
