"""A tiny suite for VIB: four made-up voices, a word or two an utterance, and the backbone `Toy` underneath."""

from __future__ import annotations

import argparse
from pathlib import Path

from crossed_tones import Toy, write_said

from harness.recipe import Job
from upstreams.vib.posttrain import Recipe

WORDS = ["a b", "b a", "ab", "ba c", "c a", "cab"]
SMALL: dict[str, object] = {
    "standardise": True, "beta": (0.1, 1.0), "dim": 6, "epochs": 4, "hold": 2, "batch": 5, "lr": 3e-3,
}  # fmt: skip


def write_data(suite: Path) -> Path:
    """The YAML of 4 voices x 6 texts: four texts to train, two to validate, all voices in both."""
    return write_said(suite, WORDS)


def job(data: Path, *seeds: int, backbone: Toy | None = None, **more: object) -> Job:
    toy = backbone or Toy()
    made = Job("vib", toy.name, data, list(seeds or (0,)), say=lambda line: None, **more)  # type: ignore[arg-type]
    made.backbone = toy
    return made


def recipe(stage: str = "text", **options: object) -> Recipe:
    target = {"target": "speaker"} if stage == "acoustic" else {}
    return Recipe(argparse.Namespace(**({"stage": stage} | target | options)))
