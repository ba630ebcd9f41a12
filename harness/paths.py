"""Where things are kept on the user's disk: the one place that reads POST_SUPERB_CACHE, _RUNS and _CORPORA."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository's root."""


def cache_dir() -> Path:
    """Features, recorded checksums and checkpoints made by recipes: $POST_SUPERB_CACHE, else
    ~/.cache/post-superb.

    The folder may not exist yet.
    """
    return _from_environment("POST_SUPERB_CACHE", Path("~/.cache/post-superb"))


def runs_dir() -> Path:
    """Results of the user's own cells: $POST_SUPERB_RUNS, else `runs` in the repository. It may not exist yet."""
    return _from_environment("POST_SUPERB_RUNS", ROOT / "runs")


def corpora_file() -> Path:
    """The YAML with the folders of the user's corpora: $POST_SUPERB_CORPORA, else `corpora.yaml` in the working folder.
    It may not exist."""
    return _from_environment("POST_SUPERB_CORPORA", Path("corpora.yaml"))


def corpora_file_named() -> bool:
    """Did the user name that file?"""
    return bool(os.environ.get("POST_SUPERB_CORPORA"))


def _from_environment(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().absolute()
