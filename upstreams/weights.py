"""Reads model weights from files that others wrote: no code is run, checksums are held to, paths stay inside.

    source = locate(card.weights, "hubert_base", folder=None)   # the folder, the file in it, its checked sha256
    tensors = load_tensors(source.file)                         # safetensors, else torch.load(weights_only=True)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from harness.errors import UserError
from harness.paths import cache_dir
from upstreams.unpacked import shipped

INDEX = ".safetensors.index.json"
"""How the index ends that lists the shards of a large checkpoint's weights."""

WEIGHT_FILES = ("model.safetensors", f"model{INDEX}", "pytorch_model.bin")
"""Names of a checkpoint's weights in a Hugging Face folder, in the order they are looked for."""

TORCH_FILES = (b"PK\x03\x04", b"\x80")
"""How files of torch.save begin: a zip archive, or in the old format a pickle."""

EMBEDDED = Path(__file__).resolve().parent / "weights"
"""What a card's `weights.file` is relative to."""

CODE_KEYS = {"auto_map", "attn_implementation", "experts_implementation", "quantization_config"}

SHA256 = r"^[0-9a-f]{64}$"


class WeightsSpec(BaseModel):
    """A card's `weights`: a file shipped under upstreams/weights, or a repository on the Hugging Face hub."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    file: str | None = None
    hub: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """A commit of the hub repository, only where a source quotes it."""
    sha256: str | None = Field(None, pattern=SHA256)

    @model_validator(mode="after")
    def _one_place(self) -> WeightsSpec:
        if (self.file is None) == (self.hub is None):
            raise ValueError("give either file or hub")
        if self.revision and not self.hub:
            raise ValueError("revision belongs to hub")
        return self


class Source(NamedTuple):
    """Where weights were found: the folder (config.json lies there), the file in it, and its checked sha256."""

    folder: Path
    file: Path
    sha256: str


def locate(spec: WeightsSpec | None, name: str, folder: Path | None) -> Source:
    """A card's weights; `folder`, the user's -k, takes the place of the card's own.

    Raises UserError: nothing given, a missing file, offline, a checksum other than the card's or than the
    first load's.
    """
    if folder is not None:
        if not folder.is_dir():
            raise UserError(f"{name}: -k {folder} is not a folder: wanted one with config.json and {WEIGHT_FILES[0]}")
        file, key = weights_file(folder), str(folder.resolve())
    elif spec is None:
        raise UserError(f"{name}: its card names no weights: pass -k FOLDER")
    elif spec.file is not None:
        file, key = shipped(inside(EMBEDDED, spec.file), spec.sha256), spec.file
    else:
        assert spec.hub is not None
        file, key = weights_file(fetch(spec.hub, spec.revision)), f"{spec.hub}@{spec.revision or 'main'}"
    if spec is not None and spec.sha256 is not None:
        return Source(file.parent, file, check_sha256(file, spec.sha256))
    return Source(file.parent, file, check_recorded_sha256(key, file))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """A flat state dict on the CPU. A Lightning checkpoint's `state_dict` is taken out of it.

    Raises UserError: no such file, an unreadable one, a pickle that holds more than tensors and plain
    containers.
    """
    content = load_plain(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: wanted a state dict of tensors, found {type(content).__name__} with other things")
    return {str(key): value for key, value in content.items()}


def load_plain(path: Path) -> Any:
    """What the file holds, tensors on the CPU, without running any code of it. Errors as `load_tensors`.

    Of classes beyond torch's own only argparse's Namespace is read, in which s3prl keeps settings: it has no code."""
    if not path.is_file():
        raise UserError(f"weights file {path} {'is a folder: a file wanted' if path.is_dir() else 'does not exist'}")
    if path.name.endswith(INDEX):
        return {name: tensor for shard in shards(path) for name, tensor in load_plain(shard).items()}
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            start = file.read(9)
        if start[5:] == b"\0\0\0{":  # the size of the header, then JSON
            raise UserError(f"{path} is safetensors by its content: rename it to {path.stem}.safetensors")
        if not start.startswith(TORCH_FILES):
            raise UserError(f"{path}: wanted model weights, but it is neither safetensors nor a file of torch.save")
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: this pickle holds more than tensors and plain containers and could run code on loading, so it"
            " is refused: save its weights as safetensors"
        ) from None
    except (SafetensorError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: wanted model weights, but it cannot be read: {error}") from None


def shards(index: Path) -> list[Path]:
    """The files of a sharded checkpoint, beside its index and sorted by name; they may be links, as they are in the
    Hugging Face cache.

    Raises UserError: an index that is none, a shard that is missing, unreadable or named with a path, tensors in it
    other than those that the index has there.
    """
    where = _weight_map(index)
    files = [index.parent / name for name in sorted(set(where.values()))]
    for shard in files:
        if not shard.is_file():
            raise UserError(f"{index} names {shard.name}, which is missing beside it: fetch all shards")
        try:
            with safe_open(shard, framework="pt") as file:
                found = set(file.keys())
        except (SafetensorError, OSError) as error:
            raise UserError(f"{shard}: wanted model weights, but it cannot be read: {error}") from None
        if odd := sorted(found ^ {tensor for tensor, its in where.items() if its == shard.name}):
            raise UserError(f"{shard} and {index.name} disagree on the tensor {odd[0]}: fetch both again")
    return files


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor -> the name of its shard."""
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise UserError(f"{index}: weight_map wanted, from tensors to names of shards, found {type(where).__name__}")
    for name in where.values():
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            raise UserError(f"{index}: wanted shards that are .safetensors files beside it, found {name!r}")
    return where


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes; of an index, that of its shards, as `sha256sum model-*.safetensors | sha256sum`
    prints it."""
    if path.name.endswith(INDEX):
        listed = "".join(f"{sha256_file(shard)}  {shard.name}\n" for shard in shards(path))
        return hashlib.sha256(listed.encode()).hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(f"file {path} does not exist") from None


def check_sha256(path: Path, expected: str) -> str:
    """The file's sha256; a UserError if it is not the expected one."""
    found = sha256_file(path)
    if found != expected:
        raise UserError(
            f"{path}: wanted sha256 {expected}, found {found}: fetch the file again, or write a card of its own for"
            " other weights"
        )
    return found


def check_recorded_sha256(key: str, path: Path) -> str:
    """The file's sha256, recorded under the cache at the first load and compared at later ones.

    For weights whose checksum no source quotes. `key` says where they come from (repository and revision, or
    folder).
    """
    found = sha256_file(path)
    label = hashlib.sha256(f"{key}/{path.name}".encode()).hexdigest()[:16]
    record = cache_dir() / "checksums" / f"{label}.json"
    if not record.exists():
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            draft = record.with_suffix(f".{os.getpid()}.tmp")
            draft.write_text(json.dumps({"source": key, "file": path.name, "sha256": found}) + "\n")
            draft.replace(record)
        except OSError as error:
            raise UserError(
                f"could not record a checksum in {record.parent}: {error.strerror or error}; free space, or set"
                " POST_SUPERB_CACHE to a folder with room"
            ) from None
        return found
    expected = read_json(record).get("sha256")
    if found != expected:
        raise UserError(
            f"{path}: sha256 {found} is not the one recorded when {key} was first loaded ({expected}): fetch it"
            f" again, or if the change is meant, delete {record}"
        )
    return found


def inside(root: Path, relative: str) -> Path:
    """`root / relative`; a UserError if that is absolute, has '..', or leaves root through a link."""
    parts = PurePosixPath(relative)
    path = root / relative
    if parts.is_absolute() or ".." in parts.parts or "\\" in relative:
        raise UserError(f"path {relative!r} wants to leave {root}: give one below it")
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"path {relative!r} leaves {root} through a link: give a plain file")
    return path


def weights_file(folder: Path) -> Path:
    """The checkpoint in a Hugging Face folder; a UserError names what is missing."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"folder {folder} has none of {', '.join(WEIGHT_FILES)}: point -k to one that has")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; a UserError if the file is missing or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.name} is missing in folder {path.parent}: point -k to a Hugging Face folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: wanted a JSON object, found {type(content).__name__}")
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """A model's config.json, without the keys by which a config can name code to load."""
    config = read_json(folder / "config.json")
    return {key: value for key, value in config.items() if not key.startswith("_") and key not in CODE_KEYS}


def fetch(repository: str, revision: str | None = None) -> Path:
    """Folder with config.json, the weights and, where there is one, preprocessor_config.json; downloads if need be.

    Repository code is never fetched. Without a revision the repository's default branch is meant.
    """
    local = not _hub_reachable()
    config = _fetch_file(repository, "config.json", revision, local)
    if config is None:
        raise _offline(repository, "config.json")
    _fetch_file(repository, "preprocessor_config.json", revision, local)
    found = next(filter(None, (_fetch_file(repository, name, revision, local) for name in WEIGHT_FILES)), None)
    if found is None:
        raise _offline(repository, " or ".join(WEIGHT_FILES))
    if found.name.endswith(INDEX):
        for name in sorted(set(_weight_map(found).values())):
            if _fetch_file(repository, name, revision, local) is None:
                raise _offline(repository, name)
    return config.parent


def _hub_reachable() -> bool:
    """Asked first, since the hub's client retries for half a minute a file. Of a proxy it is asked whether it is there:
    what lies behind it only the client knows."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    hub, proxies = urlsplit(constants.ENDPOINT), getproxies()
    proxy = None if proxy_bypass(hub.hostname or "") else proxies.get(hub.scheme) or proxies.get("all")
    next_hop = urlsplit(proxy if proxy and "//" in proxy else f"//{proxy}") if proxy else hub
    try:
        port = next_hop.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(next_hop.scheme, 80)
        socket.create_connection((next_hop.hostname or "", port), timeout=5).close()
    except (OSError, ValueError):
        return False
    return True


def _fetch_file(repository: str, name: str, revision: str | None, local: bool) -> Path | None:
    """The file in the Hugging Face cache; None where the repository has no such file or it cannot be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        return Path(hf_hub_download(repository, name, revision=revision, local_files_only=local))
    except EntryNotFoundError:  # also what "not in the cache and offline" is a kind of
        return None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"{_offline(repository, name)} ({type(error).__name__})") from None


def _offline(repository: str, name: str) -> UserError:
    return UserError(
        f"{repository}/{name} is not in the Hugging Face cache and cannot be downloaded here: copy the"
        " repository's folder to this machine and pass -k FOLDER"
    )


def fingerprint(modules: Iterable[ModuleType], weights_sha: str, options: Mapping[str, Any]) -> str:
    """sha256 over the weights' checksum, the card's options and the source text of the upstream's own modules."""
    digest = hashlib.sha256()
    digest.update(json.dumps([weights_sha, dict(options)], sort_keys=True).encode())
    for module in sorted(modules, key=lambda module: module.__name__):
        assert module.__file__ is not None
        digest.update(module.__name__.encode() + b"\0" + Path(module.__file__).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
