"""A tiny suite for fine-tuning: four made-up voices saying a word or two, and a small random HuBERT underneath."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml
from crossed_tones import write_said

from harness.recipe import Job
from upstreams.speech_ft.posttrain import Recipe

WORDS = ["A B", "B A", "AB", "BA C", "C A", "CAB"]
SMALL: dict[str, object] = {"steps": 12, "batch": 4, "eval_every": 4, "lr": 3e-3, "dropout": 0.1}
HEADS: dict[str, dict[str, Any]] = {
    "words": {"name": "linear_ctc", "options": {"symbols": "letters", "projector": 16}},
    "classification": {"name": "pooled_linear", "options": {"projector": 16}},
    "units": {"name": "units", "options": {"units": 5}},
}


def write_data(suite: Path, kind: str = "words") -> Path:
    """The YAML of 4 voices x 6 texts: four texts to train, two to validate, all voices in both."""
    path = write_said(suite, WORDS)
    data = yaml.safe_load(path.read_text())
    data |= {"heads": {"mini": HEADS[kind]}, "name": f"tones_{kind}"}
    if kind != "units":
        data |= {"kind": kind, "label": "speaker"}
    path.write_text(yaml.safe_dump(data))
    return path


def job(data: Path, folder: Path, *seeds: int, **more: Any) -> Job:
    return Job("speech_ft", "hubert_base", data, list(seeds or (0,)), folder=folder, say=lambda line: None, **more)


def recipe(**options: object) -> Recipe:
    return Recipe(argparse.Namespace(**({"task": "asr"} | SMALL | options)))
