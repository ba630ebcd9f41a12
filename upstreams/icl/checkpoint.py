"""ICL checkpoints: one safetensors file that says itself what it is, of which recipe, data and backbone.

A name's checkpoint is looked for in this order: the file that was given, the cache (what `harness/posttrain.py` made),
the ones shipped beside this module.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from harness.contracts import SAMPLE_RATE, Upstream
from harness.errors import UserError
from harness.features import time_mean
from harness.recipe import checkpoint_folder
from harness.results import atomic_write
from upstreams.icl.network import InputMap, Kind, Network
from upstreams.icl.settings import Settings
from upstreams.weights import check_sha256

SHIPPED = Path(__file__).resolve().parent / "weights"
PROBE_TOLERANCE = 0.02
"""Largest relative difference of a layer's mean on the probe that still counts as the same backbone: kernels and half
precision differ by far less, other weights by far more."""


class Choice(BaseModel):
    """An input that was tried on the crossed validation set. `eer` is the mean over the blocks, in per cent."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layers: list[int]
    kind: Kind
    standardise: bool
    eer: float
    loss: float


class Meta(BaseModel):
    """What a checkpoint says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["post-superb icl 1"] = "post-superb icl 1"
    origin: str
    """'harness/posttrain.py icl', or the file that was converted."""
    settings: Settings
    recipe_hash: str
    seed: int
    backbone: str
    backbone_fingerprint: str
    backbone_layers: int
    backbone_dim: int
    stride: int
    layers: list[int]
    """The backbone's layers that the network reads."""
    kind: Kind
    standardise: bool
    data: str = ""
    data_hash: str = ""
    choices: list[Choice] = []
    """Every input tried, best first; empty where none was chosen."""
    validation: dict[str, float] = {}
    """Of these weights on the crossed validation set: cosine EER (%) by block, and the loss."""
    licence: str = "Apache-2.0"
    tensors_sha256: str = ""


class Checkpoint:
    """Metadata, the network in eval mode and the backbone's answer to the probe, (L, D)."""

    def __init__(self, meta: Meta, network: Network, probe: Tensor):
        self.meta, self.network, self.probe = meta, network.requires_grad_(False).eval(), probe

    def save(self, path: Path) -> None:
        tensors = _tensors(self.network, self.probe)
        meta = self.meta.model_copy(update={"tensors_sha256": _digest(tensors)})
        # one key: the order of several is not fixed, and the same run is to give the same bytes
        atomic_write(path, save(tensors, {"post_superb": json.dumps(meta.model_dump(mode="json"), sort_keys=True)}))

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
            f"with {command(base.name, self.meta.settings, self.meta.seed)}"
        )


def new_network(settings: Settings, layers: list[int], kind: Kind, width: int) -> Network:
    return Network(InputMap(layers, width, kind), settings.hidden, settings.block_dim, len(settings.blocks))


@torch.no_grad()
def probe(base: Upstream) -> Tensor:
    """(L, D): time-means of the backbone's states on half a second of a fixed sound, a sweep over noise."""
    time = torch.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    wave = 0.2 * torch.sin(2 * torch.pi * (150 * time + 1500 * time.square())) + 0.02 * noise
    return time_mean(base.layers([wave.float()])[0]).cpu()


def load(path: Path) -> Checkpoint:
    """A checkpoint from its file. Raises UserError: missing, not ours, changed since it was written."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("post_superb")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if text is None:
            raise UserError(
                f"{path} is no ICL checkpoint of this project (it does not say of which recipe it is); the authors' "
                "own are read by posttrain.py icl --convert FILE"
            )
        meta = Meta.model_validate_json(text)
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: wanted an ICL checkpoint (safetensors), but it cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}: not an ICL checkpoint of this version ({where}: {first['msg']}); make it again"
        ) from None
    if _digest(tensors) != meta.tensors_sha256:
        raise UserError(f"{path}: its weights do not match the checksum inside it; the file was changed, make it again")
    network = new_network(meta.settings, meta.layers, meta.kind, meta.backbone_dim)
    own = network.state_dict()
    wrong = [name for name in own if name not in tensors or tensors[name].shape != own[name].shape]
    if wrong or set(tensors) != {*own, "probe"}:
        raise UserError(
            f"{path}: tensors do not fit its recipe (first {(wrong or sorted(set(tensors) - set(own)))[0]})"
        )
    network.load_state_dict({name: tensors[name].float() for name in own})
    return Checkpoint(meta, network, tensors["probe"])


def find(backbone: str, settings: Settings, seed: int) -> Path:
    """The cached or shipped checkpoint of a recipe. Raises UserError with the command that makes a missing one."""
    name = f"seed{seed}.safetensors"
    cached = checkpoint_folder("icl", backbone, settings.hash) / name
    if cached.is_file():
        return cached
    shipped = SHIPPED / backbone.replace(":", "_") / name
    if shipped.is_file():
        check_sha256(shipped, _shipped_sum(shipped))
        if load(shipped).meta.recipe_hash == settings.hash:
            return shipped
    raise UserError(
        f"no ICL checkpoint for {backbone}, recipe {settings.hash[:16]}, seed {seed}: make it with "
        f"{command(backbone, settings, seed)}"
    )


def of(backbone: str, settings: Settings, seed: int, path: Path | None) -> tuple[Checkpoint, Path]:
    """The checkpoint for a name, and its file; a given file takes the place of the recipe and seed."""
    path = find(backbone, settings, seed) if path is None else path
    checkpoint = load(path)
    if checkpoint.meta.backbone != backbone:
        raise UserError(
            f"{path} is for backbone {checkpoint.meta.backbone}, {backbone} is wanted: name it as "
            f"u@{checkpoint.meta.backbone}, or make one with {command(backbone, settings, seed)}"
        )
    return checkpoint, path


def command(backbone: str, settings: Settings, seed: int) -> str:
    """The command line that makes a recipe's checkpoint."""
    default = Settings()
    parts = [f"python harness/posttrain.py icl --backbone {backbone}"]
    for name, value in settings.model_dump(mode="json").items():
        if (
            value == getattr(default, name)
            or name == "version"
            or list(settings.hidden) == value == list(default.hidden)
        ):
            continue
        parts.append(_flag(name, value))
    return " ".join([*parts, f"--seed {seed}"])


def _flag(name: str, value: Any) -> str:
    if name == "standardise":
        return "--standardise" if value else "--raw"
    if name == "residual":
        return "--residual"
    shown = ",".join(map(str, value)) if isinstance(value, list) else value
    return f"--{name.replace('_', '-')} {shown}"


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


def _tensors(network: Network, probe_answer: Tensor) -> dict[str, Tensor]:
    """What a file holds: weights in half precision (see `halved`), statistics and probe in single."""
    kept = {
        name: value.half() if _halves(name, value) else value.float() for name, value in network.state_dict().items()
    }
    return {name: value.detach().cpu().contiguous() for name, value in {**kept, "probe": probe_answer.float()}.items()}


def _halves(name: str, value: Tensor) -> bool:
    return name.startswith("mlp.") and value.dim() == 2


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they will be read back, so that a recipe judges what it ships."""
    return {name: value.half().float() if _halves(name, value) else value for name, value in state.items()}


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        little = value.numpy() if sys.byteorder == "little" else value.numpy().byteswap()
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode() + little.tobytes())
    return digest.hexdigest()
