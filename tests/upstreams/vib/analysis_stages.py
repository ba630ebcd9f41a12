"""Untrained VIB stages on the backbone `toy`, as checkpoints on disk: what the analyses read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from crossed_tones import Toy, write_crossed

from harness.ctc import Symbols
from upstreams.checkpoints import backbone_fields, probe
from upstreams.vib.checkpoint import Checkpoint, Meta
from upstreams.vib.network import seeded
from upstreams.vib.settings import Settings, from_options

CLASSES = ["p00", "p01", "p02"]
LAYERS = [1, 2]


def write_stage(path: Path, settings: Settings, text: Checkpoint | None, more: dict[str, Any]) -> Checkpoint:
    """An untrained stage in `path`; an acoustic one is conditioned on `text`."""
    base = Toy()
    outputs: dict[str, Any] = {"symbols": list(Symbols("letters").symbols)} if text is None else {"classes": CLASSES}
    meta = Meta(
        origin="a test", settings=settings, recipe_hash=settings.hash, seed=0, layers=LAYERS,
        text_sha256="" if text is None else text.meta.tensors_sha256, **outputs, **more, **backbone_fields(base),
    )  # fmt: skip
    network = seeded(LAYERS, base.dim, settings.dim, meta.outputs, text is None, settings.bottleneck, seed=3)
    with torch.no_grad():
        network.mix.weights.copy_(torch.tensor([0.0, 1.0]))
    checkpoint = Checkpoint(meta, network, probe(base))
    checkpoint.save(path)
    return checkpoint


def write_stages(folder: Path, **more: Any) -> tuple[Path, Path]:
    """A text stage and a speaker stage conditioned on it, as files; `more` goes into what they say of themselves."""
    text = write_stage(folder / "text.safetensors", from_options({"dim": 16}, "a test"), None, more)
    settings = from_options({"stage": "acoustic", "target": "speaker", "dim": 16}, "a test")
    write_stage(folder / "speaker.safetensors", settings, text, more)
    return folder / "text.safetensors", folder / "speaker.safetensors"


def write_probe_data(suite: Path) -> Path:
    """The YAML of probes on a crossed set of tones of 10 speakers: `read` by speaker, `voices` by sentence."""
    write_crossed(suite, train=(5, 6), val=(5, 3))
    (suite / "lists").mkdir()
    sets = {
        "read_train": [f"p{p:02d}-s{s:02d}" for p in range(5) for s in range(4)],
        "read_dev": [f"p{p:02d}-s06" for p in range(5, 10)],
        "read_test": [f"p{p:02d}-s0{s}" for p in range(5, 10) for s in (7, 8)],
        "voices_train": [f"p{p:02d}-s0{s}" for p in range(3) for s in range(3)],
        "voices_dev": [f"p{p:02d}-s03" for p in range(3)],
        "voices_test": [f"p{p:02d}-s0{s}" for p in range(3) for s in (4, 5)],
    }
    for name, ids in sets.items():
        (suite / "lists" / f"{name}.csv").write_text("id\n" + "".join(f"{i}\n" for i in ids))
    genders = [f"p{p:02d},{('female', 'male', 'mixed')[p % 3]}" for p in range(10)]
    (suite / "voices.csv").write_text("\n".join(["voice,gender", *genders]) + "\n")
    splits = {name: [{"corpus": "crossed_tones", "ids": name}] for name in sets}
    path = suite / "probe.yaml"
    path.write_text(yaml.safe_dump({"name": "probe", "suite": "tiny", "version": 1, "title": "t", "splits": splits}))
    return path
