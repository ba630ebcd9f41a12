"""Corpus modules by name: a file `tasks/corpora/<name>.py` with a `CORPUS` is one, with no list to edit."""

from __future__ import annotations

from pathlib import Path

from harness.registry import resolve, unknown
from tasks.corpora.contract import Corpus

MACHINERY = frozenset({"__init__", "contract", "registry", "tree"})


def names() -> list[str]:
    return sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - MACHINERY)


def load(name: str) -> Corpus:
    """Raises UserError, with a suggestion, for a name that no module has."""
    if name not in names():
        raise unknown("corpus", name, names())
    corpus: Corpus = resolve(f"tasks.corpora.{name}:CORPUS")
    if corpus.name != name:
        raise ValueError(f"tasks/corpora/{name}.py names its corpus {corpus.name}")
    return corpus
