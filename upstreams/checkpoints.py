"""What the checkpoints of post-trained upstreams share: one safetensors file that says itself what it is.

A family has a `Settings` whose hash names a recipe, a `Meta` and a `Checkpoint` of its own. A recipe's checkpoint is
looked for in this order: the file that was given, the cache (what `harness/posttrain.py` made), the ones shipped beside
the family's modules.
"""

from __future__ import annotations

import hashlib
import json
import sys
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from harness.config import parse
from harness.contracts import SAMPLE_RATE, Upstream
from harness.errors import UserError
from harness.features import time_mean
from harness.recipe import checkpoint_folder
from harness.results import atomic_write, identity_hash
from upstreams.weights import check_sha256

PROBE_TOLERANCE = 0.02
"""Largest relative difference of a layer's mean on the probe that still counts as the same backbone: kernels and half
precision differ by far less, other weights by far more."""

KEY = "post_superb"
"""Of the metadata in the file: one key, since the order of several is not fixed and the same run is to give the same
bytes."""


class Settings(BaseModel):
    """Everything a recipe can be told; its hash names the recipe. Numbers are finite: nothing else has a hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    version: int = 1
    """Raised when the recipe gives other weights for a reason that no field shows."""

    @property
    def hash(self) -> str:
        return identity_hash(self.model_dump(mode="json"))


S = TypeVar("S", bound=Settings)


def from_options(kind: type[S], presets: Mapping[str, dict[str, Any]], options: dict[str, Any], where: str) -> S:
    """Settings from a card's or the command line's options, with an optional `preset`. Raises UserError."""
    given = dict(options)
    preset = given.pop("preset", "mini")
    if preset not in presets:
        raise UserError(f"{where}: preset {preset!r} unknown; one of {', '.join(presets)} wanted")
    settings: S = parse(kind, presets[preset] | given, where)
    return settings


class Meta(BaseModel):
    """What a checkpoint says of itself. A family adds `format`, its own `settings` and what its network needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    origin: str
    """The command that made it, or the file that was converted."""
    settings: Settings
    recipe_hash: str
    seed: int
    backbone: str
    backbone_fingerprint: str
    backbone_layers: int
    backbone_dim: int
    stride: int
    data: str = ""
    data_hash: str = ""
    validation: dict[str, float] = {}
    """Scores of these weights on the recipe's validation set."""
    licence: str = "Apache-2.0"
    tensors_sha256: str = ""


def backbone_fields(backbone: Upstream) -> dict[str, Any]:
    """`Meta`'s fields of a backbone."""
    return {
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "backbone_layers": backbone.num_layers,
        "backbone_dim": backbone.dim,
        "stride": backbone.stride,
    }


M = TypeVar("M", bound=Meta)
N = TypeVar("N", bound=nn.Module)


class Checkpoint(Generic[M, N]):
    """Metadata, the network in eval mode and the backbone's answer to the probe, (L, D).

    A family fills in the class members and `network_of`."""

    family: ClassVar[str]
    title: ClassVar[str]
    """In messages."""
    meta_type: ClassVar[type[Meta]]
    shipped: ClassVar[Path]
    """Folders by backbone, each with a SHA256SUMS."""
    off: ClassVar[Mapping[str, str]] = {}
    """Of a setting that is false: its flag, where that is not --no-NAME."""
    named: ClassVar[tuple[str, ...]] = ()
    """Settings whose flag a command always has, default or not."""

    def __init__(self, meta: M, network: N, probe: Tensor):
        self.meta, self.network, self.probe = meta, network.requires_grad_(False).eval(), probe

    @staticmethod
    @abstractmethod
    def network_of(meta: Any) -> nn.Module:
        """A network of the sizes that the metadata says, its weights not yet set."""

    @classmethod
    @abstractmethod
    def defaults(cls, settings: Any) -> Settings:
        """The settings that the command line gives where no flag says otherwise."""

    @classmethod
    def presets(cls, settings: Any) -> Mapping[str, Settings]:
        """By name, presets that a command may begin from in place of the defaults; `preset` is no setting itself."""
        return {}

    @staticmethod
    def halves(name: str, value: Tensor) -> bool:
        """Whether a tensor is kept in half precision: the matrices of linear layers, not statistics."""
        return name.endswith("weight") and value.dim() == 2

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        atomic_write(path, self.bytes())

    def bytes(self) -> bytes:
        """The file's content, in safetensors."""
        tensors = self._tensors()
        self.meta = self.meta.model_copy(update={"tensors_sha256": digest(tensors)})
        said = json.dumps(self.meta.model_dump(mode="json"), sort_keys=True)
        return save(tensors, {KEY: said})

    def kept(self, name: str, value: Tensor) -> Tensor:
        """A tensor in the type that a file holds it in: matrices in half precision (see `halved`), the rest in
        single."""
        return value.half() if self.halves(name, value) else value.float()

    def _tensors(self) -> dict[str, Tensor]:
        """What a file holds, the probe with it."""
        kept = {name: self.kept(name, value) for name, value in self.network.state_dict().items()}
        whole = {**kept, "probe": self.probe.float()}
        return {name: value.detach().cpu().contiguous() for name, value in whole.items()}

    @classmethod
    def halved(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights as they will be read back, so that a recipe judges what it ships."""
        return {name: value.half().float() if cls.halves(name, value) else value for name, value in state.items()}

    @classmethod
    def read(cls, path: Path) -> tuple[str | None, dict[str, Tensor]]:
        """What a file says of itself, and its tensors. Raises what safetensors and the disk do; `load` puts it well."""
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            return text, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping

    @classmethod
    def load(cls, path: Path) -> Self:
        """A checkpoint from its file. Raises UserError: missing, a folder, not ours, changed since it was written."""
        if path.is_dir():
            raise UserError(f"{path} is a folder: wanted a file, a checkpoint of {cls.title}")
        try:
            text, tensors = cls.read(path)
            if text is None:
                raise UserError(
                    f"{path} is no {cls.title} checkpoint of this project (it does not say of which recipe it is); the "
                    f"authors' own are read by posttrain.py {cls.family} --convert FILE"
                )
            meta: Any = cls.meta_type.model_validate_json(text)
        except FileNotFoundError:
            raise UserError(f"checkpoint {path} does not exist") from None
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path}: wanted a checkpoint of {cls.title} (safetensors), but it cannot be read: {error}"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(
                f"{path} is no {cls.title} checkpoint of this version ({where}: {first['msg']}); make it again"
            ) from None
        if digest(tensors) != meta.tensors_sha256:
            raise UserError(
                f"{path}: its weights do not match the checksum inside it; the file was changed, make it again"
            )
        network: Any = cls.network_of(meta)
        own = network.state_dict()
        wrong = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
        if wrong or set(tensors) != {*own, "probe"}:
            raise UserError(
                f"{path}: tensors do not fit its recipe (first {(wrong or sorted(set(tensors) - set(own)))[0]})"
            )
        network.load_state_dict({name: tensors[name].float() for name in own})
        return cls(meta, network, tensors["probe"])

    @classmethod
    def find(cls, backbone: str, settings: Settings, seed: int) -> Path:
        """The cached or shipped checkpoint of a recipe. Raises UserError with the command that makes a missing one."""
        cached = checkpoint_folder(cls.family, backbone, settings.hash) / f"seed{seed}.safetensors"
        if cached.is_file():
            return cached
        for path in sorted((cls.shipped / backbone.replace(":", "_")).glob(f"*seed{seed}.safetensors*")):
            check_sha256(path, _shipped_sum(path))
            if cls.load(path).meta.recipe_hash == settings.hash:
                return path
        raise UserError(
            f"no {cls.title} checkpoint for {backbone}, recipe {settings.hash[:16]}, seed {seed}: make it with "
            f"{cls.command(backbone, settings, seed)}"
        )

    @classmethod
    def of(cls, backbone: str, settings: Settings, seed: int, path: Path | None) -> tuple[Self, Path]:
        """The checkpoint for a name, and its file; a given file takes the place of the recipe and seed."""
        path = cls.find(backbone, settings, seed) if path is None else path
        checkpoint = cls.load(path)
        if checkpoint.meta.backbone != backbone:
            raise UserError(
                f"{path} is for backbone {checkpoint.meta.backbone}, {backbone} is wanted: name it as "
                f"u@{checkpoint.meta.backbone}, or make one with {cls.command(backbone, settings, seed)}"
            )
        return checkpoint, path

    @classmethod
    def command(cls, backbone: str, settings: Settings, seed: int) -> str:
        """The command line that makes a recipe's checkpoint: by its own flags, or by a preset and fewer of them."""
        ways = [cls._flags(settings, cls.defaults(settings))]
        for preset, usual in cls.presets(settings).items():
            # no flag takes a value back to None
            if all(value is not None or getattr(usual, name) is None for name, value in settings):
                ways.append([f"--preset {preset}", *cls._flags(settings, usual)])
        flags = min(ways, key=lambda way: len(" ".join(way)))
        return " ".join([f"python harness/posttrain.py {cls.family} --backbone {backbone}", *flags, f"--seed {seed}"])

    @classmethod
    def _flags(cls, settings: Settings, usual: Settings) -> list[str]:
        """Those that tell the settings from the usual ones, and those that a command always has."""
        default = usual.model_dump(mode="json")
        return [
            cls._flag(name, value)
            for name, value in settings.model_dump(mode="json").items()
            if name in cls.named and value is not None or value != default[name] and name != "version"
        ]

    @classmethod
    def _flag(cls, name: str, value: Any) -> str:
        words = name.replace("_", "-")
        if isinstance(value, bool):
            return f"--{words}" if value else cls.off.get(name, f"--no-{words}")
        return f"--{words} {','.join(map(str, value)) if isinstance(value, list) else value}"

    # -- the backbone -----------------------------------------------------------------------------------------------

    def check_base(self, base: Upstream, what: str) -> None:
        """Raise UserError unless `base` is the backbone that this was trained on: by fingerprint, else, since that
        changes with a comment in the backbone's code too, by its answer to the probe."""
        if base.fingerprint == self.meta.backbone_fingerprint:
            return
        answer = probe(base)
        if answer.shape == self.probe.shape:
            apart = (answer - self.probe).norm(dim=1) / self.probe.norm(dim=1).clamp(min=1e-6)
            if float(apart.max()) <= PROBE_TOLERANCE:
                return
        raise UserError(
            f"{what} was trained on another backbone: wanted {self.meta.backbone} with fingerprint "
            f"{self.meta.backbone_fingerprint[:12]}, found {base.name} with {base.fingerprint[:12]}; make one for it "
            f"with {self.command(base.name, self.meta.settings, self.meta.seed)}"
        )


@torch.no_grad()
def probe(base: Upstream) -> Tensor:
    """(L, D): time-means of the backbone's states on half a second of a fixed sound, a sweep over noise."""
    time = torch.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    wave = 0.2 * torch.sin(2 * torch.pi * (150 * time + 1500 * time.square())) + 0.02 * noise
    return time_mean(base.layers([wave.float()])[0]).cpu()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and little-endian bytes of tensors on the CPU."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        little = value.numpy() if sys.byteorder == "little" else value.numpy().byteswap()
        found.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode() + little.tobytes())
    return found.hexdigest()


def _shipped_sum(path: Path) -> str:
    """The file's line in SHA256SUMS beside it."""
    sums = path.parent / "SHA256SUMS"
    try:
        lines = [line.split() for line in sums.read_text().splitlines()]
    except OSError as error:
        raise UserError(f"{sums} cannot be read ({error.strerror}); restore it") from None
    found = [line[0] for line in lines if len(line) == 2 and line[1] == path.name]
    if not found:
        raise UserError(f"{sums} has no line for {path.name}; restore it")
    return found[0]
