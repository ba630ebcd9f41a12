"""The shipped VIB files, and the names that stand on them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.errors import UserError
from upstreams import catalogue
from upstreams.vib.checkpoint import Checkpoint, load
from upstreams.vib.settings import from_options


def shipped() -> list[Path]:
    return sorted((Checkpoint.shipped / "whisper_tiny").glob("*.safetensors"))


def test_the_three_streams_are_shipped() -> None:
    assert len(shipped()) == 3


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_the_shipped_checkpoints_are_small_and_of_the_default_recipe_and_of_this_backbone(path: Path) -> None:
    assert path.stat().st_size < 1 << 20
    checkpoint = load(path)
    meta = checkpoint.meta
    wanted = from_options({"stage": meta.settings.stage, "target": meta.settings.target}, "")
    assert meta.recipe_hash == wanted.hash and Checkpoint.find("whisper_tiny", wanted, meta.seed) == path
    checkpoint.check_base(catalogue.build("whisper_tiny"), str(path))


@pytest.mark.parametrize("name", ["vib_text", "vib_acoustic_speaker", "vib_both_emotion"])
def test_names_build_from_the_catalogue(name: str) -> None:
    built = catalogue.build(name)
    assert built.name == name and built.base == "whisper_tiny"
    (out,) = built.transform([torch.randn(6, 5, 384)])
    assert out.shape == (6, 1, built.dim)


def test_a_control_that_is_not_made_yet_names_its_command() -> None:
    with pytest.raises(UserError, match="--backbone whisper_tiny --stage text --no-bottleneck --seed 0"):
        catalogue.build("vib_text_control")
    with pytest.raises(UserError, match="--backbone wavlm_base_plus --stage acoustic --target emotion --seed 0"):
        catalogue.build("vib_both_emotion@wavlm_base_plus")
