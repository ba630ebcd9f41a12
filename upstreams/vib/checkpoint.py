"""VIB checkpoints, one stage a file. Stage 2 names by its sha256 the stage 1 that it was conditioned on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from harness.errors import UserError
from harness.recipe import checkpoint_folder
from upstreams import checkpoints
from upstreams.vib.network import Vib, seeded
from upstreams.vib.settings import PRESETS, Settings, from_options, hold_of


class Meta(checkpoints.Meta):
    """What a checkpoint says of itself. `validation`: wer or accuracy (%), the task's loss, and kl (nats a frame)."""

    format: Literal["post-superb vib 1"] = "post-superb vib 1"
    settings: Settings
    layers: list[int]
    """The backbone's layers that the mix reads."""
    symbols: list[str] = []
    """Stage 1: what the decoder puts out, the blank first; '|' parts words, '<…>' are specials."""
    classes: list[str] = []
    """Stage 2, in the order of the decoder's outputs."""
    text_sha256: str = ""
    """Stage 2: `tensors_sha256` of the stage 1 that it was conditioned on."""
    step: int = 0
    """The update whose weights dev picked."""

    @property
    def outputs(self) -> int:
        return len(self.symbols) or len(self.classes)


class Checkpoint(checkpoints.Checkpoint[Meta, Vib]):
    family, title, meta_type = "vib", "VIB", Meta
    shipped = Path(__file__).resolve().parent / "weights"
    off = {"standardise": "--raw"}
    named = ("stage", "target")

    @staticmethod
    def network_of(meta: Meta) -> Vib:
        settings = meta.settings
        text = settings.stage == "text"
        return seeded(meta.layers, meta.backbone_dim, settings.dim, meta.outputs, text, settings.bottleneck, meta.seed)

    @classmethod
    def defaults(cls, settings: Settings) -> Settings:
        """Of the same stage and target, since a preset differs by those."""
        return _preset("mini", settings)

    @classmethod
    def presets(cls, settings: Settings) -> dict[str, Settings]:
        return {name: _preset(name, settings) for name in PRESETS if name != "mini"}

    def words(self, ids: Iterable[int]) -> str:
        """The words of a stage 1's symbols, repeats and blanks taken out before; specials are dropped."""
        found = [self.meta.symbols[index] for index in ids]
        return " ".join("".join(s for s in found if not s.startswith("<")).replace("|", " ").split())

    def check_text(self, text: Checkpoint, what: str) -> None:
        """Raise UserError unless `text`, from the file `what`, is the stage 1 that this was conditioned on."""
        if text.meta.tensors_sha256 != self.meta.text_sha256:
            raise UserError(
                f"{what} is not the stage 1 that this stage 2 was conditioned on: wanted one whose tensors have sha256 "
                f"{self.meta.text_sha256[:16]}, found {text.meta.tensors_sha256[:16]}"
            )

    def text(self, path: Path) -> tuple[Checkpoint, Path]:
        """The stage 1 that this stage 2, from the file `path`, was conditioned on: beside it, in the cache or shipped.
        A damaged copy is passed over for another. Raises UserError where it is in none of them."""
        backbone, wanted = self.meta.backbone, self.meta.text_sha256
        files = list(dict.fromkeys(_files(path.parent, backbone)))
        damaged = ""
        for candidate in files:
            if _said(candidate) == wanted:
                try:
                    return type(self).load(candidate), candidate
                except UserError as error:
                    damaged = damaged or f" (a copy is damaged: {error})"
        raise UserError(
            f"{path} was conditioned on a stage 1 whose tensors have sha256 {wanted[:16]}, which is none of the "
            f"{len(files)} files beside it, in the cache or shipped{damaged}; put it beside it, or make stage 2 again"
        )


def _preset(name: str, settings: Settings) -> Settings:
    """A preset's settings for the same stage and target, and with the `hold` that follows the epochs given."""
    found = from_options({"preset": name, "stage": settings.stage, "target": settings.target}, "defaults")
    if settings.epochs == found.epochs:
        return found
    return found.model_copy(update={"hold": hold_of(settings.epochs)})


def _files(folder: Path, backbone: str) -> Iterator[Path]:
    cached = checkpoint_folder("vib", backbone, "x").parent
    yield from sorted(folder.glob("*.safetensors"))
    yield from sorted(cached.glob("*/*.safetensors"))
    yield from sorted((Checkpoint.shipped / backbone.replace(":", "_")).glob("*.safetensors"))


def _said(path: Path) -> str:
    """The `tensors_sha256` that a file gives itself; `load` holds it to that. Empty where it is no checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get(checkpoints.KEY, "{}"))
    except (SafetensorError, OSError, ValueError):
        return ""
    return str(found.get("tensors_sha256", "")) if isinstance(found, dict) else ""


load, find, of, command, halved = (
    Checkpoint.load,
    Checkpoint.find,
    Checkpoint.of,
    Checkpoint.command,
    Checkpoint.halved,
)
