"""Weights that are shipped compressed, unpacked once into the cache.

    upstreams/weights/whisper_tiny/model.safetensors.xz  ->  <cache>/weights/<its sha256>/model.safetensors

The settings beside them come along. A card names the unpacked file, whose checksum it has.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
from pathlib import Path

from harness.errors import UserError
from harness.paths import cache_dir
from harness.results import atomic_file, atomic_write

SUFFIX = ".xz"


def shipped(file: Path, sha256: str | None) -> Path:
    """`file`, or where only its compressed form is there, what that holds; `sha256` is the unpacked file's.

    A file in the cache that is not whole is unpacked again. Raises UserError for a damaged archive or a full disk."""
    packed = file.with_name(file.name + SUFFIX)
    if file.is_file() or not packed.is_file():
        return file
    target = cache_dir() / "weights" / _sum(packed)[:16] / file.name
    if not target.is_file() or sha256 is not None and _sum(target) != sha256:
        for beside in sorted(file.parent.glob("*.json")):
            atomic_write(target.parent / beside.name, beside.read_bytes())
        try:
            with lzma.open(packed) as source, atomic_file(target) as out:
                shutil.copyfileobj(source, out)
        except (lzma.LZMAError, EOFError) as error:
            raise UserError(f"{packed}: wanted compressed weights, but it is damaged ({error}); restore it") from None
    return target


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
