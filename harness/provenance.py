"""Where a result came from: commit, packages, machine, time and memory. Kept in the JSON, never in the CSV."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import torch

from harness.paths import ROOT
from harness.results import Provenance

PACKAGES = ("torch", "torchaudio", "transformers", "s3prl", "numpy", "scipy", "pandas", "soundfile", "safetensors")

WRITTEN = ("leaderboard/costs", "leaderboard/analyses")
"""Folders of ROOT that `cost.py` and `analyse.py` write and nothing is computed from, so that the first of several
files does not make the others' tree a changed one."""


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> tuple[str, bool]:
    """(commit, dirty), dirty of changes outside of `WRITTEN`. Without git: ('unknown', True), so that such a result is
    never taken for a committed one."""
    changes = _git("status", "--porcelain", "--", ".", *(f":(exclude){folder}" for folder in WRITTEN))
    head = _git("rev-parse", "HEAD")
    return ("unknown", True) if head is None or changes is None else (head, bool(changes))


def peak_memory_mb() -> float:
    """Largest resident size of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 2)


def provenance(watch: Stopwatch, device: str, command: str) -> Provenance:
    head, dirty = commit()
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return Provenance(
        command=command,
        commit=head,
        dirty=dirty,
        packages=versions,
        python=platform.python_version(),
        platform=platform.platform(),
        device=device,
        threads=torch.get_num_threads(),
        started=watch.started,
        seconds=watch.seconds,
        peak_memory_mb=round(peak_memory_mb(), 1),
    )
