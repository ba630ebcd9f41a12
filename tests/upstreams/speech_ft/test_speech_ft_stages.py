"""Which trainings a model of Speech-FT stands on, and whether the data of those are the rows here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from speech_ft_toys import SMALL, write_data

from harness import cost_data
from harness.cost_training import clock_of, time_training
from harness.recipe import Job, checkpoint_folder
from upstreams.speech_ft import assemble, posttrain
from upstreams.speech_ft.checkpoint import Checkpoint, Meta, Tensors
from upstreams.speech_ft.posttrain import Recipe
from upstreams.speech_ft.settings import Settings, from_options
from upstreams.speech_ft.training import FineTuning

SUITE = {"pr": "words", "sid": "classification"}
"""Tasks, and of which kind their made-up data are."""


@pytest.fixture
def yamls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """By task, in the place of those of the repository."""
    monkeypatch.setattr(cost_data, "ROOT", tmp_path)
    return {task: write_data(tmp_path / "tasks" / task, kind) for task, kind in SUITE.items()}


def settings(**options: Any) -> Settings:
    return from_options(options, "")


def write(
    yamls: dict[str, Path], made: Settings, *, seed: int = 0, value: float = 1.0, before: str = "", on: str = "toy"
) -> Path:
    """A checkpoint of that recipe, of one tensor of `value`, where a training would have left it."""
    jobs = [Job("speech_ft", on, yamls[task], [seed]) for task in made.tasks]
    recipe = Recipe(SimpleNamespace(**made.model_dump()))  # type: ignore[arg-type]
    meta = Meta(
        origin="test", settings=made, recipe_hash=made.hash, seed=seed, backbone=on, backbone_fingerprint="f",
        backbone_layers=1, backbone_dim=1, stride=320, shapes={"x": [1]}, step=1, before_sha256=before,
        data=", ".join(f"{job.data.suite}/{job.data.name} version {job.data.version}" for job in jobs),
        data_hash=recipe.hash_of(jobs),
    )  # fmt: skip
    path = checkpoint_folder("speech_ft", on, made.hash) / f"seed{seed}.safetensors"
    Checkpoint(meta, Tensors({"x": torch.tensor([value])}), torch.zeros(1, 1)).save(path)
    return path


def learnt(path: Path, *corpora: str, **options: Any) -> cost_data.Learnt | None:
    """Of an upstream whose card has these options."""
    named = [{"corpus": corpus, "labels": "text"} for corpus in corpora or ("crossed_tones",)]
    card = {"name": "u", "family": "speech_ft", "options": options, "trained_on": named}
    return cost_data.training(SimpleNamespace(path=path), card)


def names(found: cost_data.Learnt | None) -> list[str]:
    assert found is not None
    return [",".join(stage.data) for stage in found.stages]


WORDS, VOICES = "tiny/tones_words version 1", "tiny/tones_classification version 1"


def test_of_one_task(yamls):
    found = learnt(write(yamls, settings(task="sid")), task="sid")
    assert names(found) == [VOICES]
    told = found.described()
    # 4 voices x 4 texts to train, 2 texts to validate
    assert (told.clips, told.speakers, told.sentences, len(found.rows)) == (16, 4, 4, 24)
    assert found.stages[0].recipe.settings == settings(task="sid")
    # the alpha and a baseline are the card's, the checkpoint is what was trained
    path = write(yamls, settings(task="sid", baseline="lora"))
    assert names(learnt(path, task="sid", baseline="lora", alpha=1.0)) == [VOICES]


def test_a_changed_manifest_or_head_is_not_what_was_trained_on(yamls):
    one, joint = write(yamls, settings(task="sid")), write(yamls, settings(task="pr+sid"))
    assert learnt(one, task="sid") is not None and learnt(joint, task="pr+sid") is not None
    manifest = yamls["sid"].parent / "data" / "crossed_tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",p03,", ",p04,"))
    assert learnt(one, task="sid") is None and learnt(joint, task="pr+sid") is None
    write(yamls, settings(task="sid"))
    assert learnt(one, task="sid") is not None
    yamls["sid"].write_text(yamls["sid"].read_text().replace("projector: 16", "projector: 8"))
    assert learnt(one, task="sid") is None
    yamls["sid"].unlink()
    assert learnt(one, task="sid") is None


def test_of_several_tasks_together(yamls):
    found = learnt(write(yamls, settings(task="pr+sid")), task="pr+sid")
    assert names(found) == [f"{WORDS},{VOICES}"] and found.described().data == [WORDS, VOICES]


def test_of_models_merged(yamls):
    paths = [write(yamls, settings(task=task), seed=3, value=value) for task, value in (("pr", 1.0), ("sid", 2.0))]
    for method in ("linear", "ties"):
        found = learnt(paths[0], merged=["pr", "sid"], method=method)
        assert names(found) == [WORDS, VOICES] and [stage.path for stage in found.stages] == paths
        assert len(found.described().checkpoints) == 2


def test_of_rounds(yamls):
    first = write(yamls, settings(task="pr"))
    before = assemble.before_sha256([Checkpoint.load(first)])
    second = write(yamls, settings(task="sid", after=("pr",)), value=2.0, before=before)
    found = learnt(second, task="sid", after=["pr"])
    assert names(found) == [VOICES, WORDS] and [stage.path for stage in found.stages] == [second, first]
    # another first round is there now
    write(yamls, settings(task="pr"), value=3.0)
    assert learnt(second, task="sid", after=["pr"]) is None


def test_what_cannot_be_known(yamls, tmp_path):
    path = write(yamls, settings(task="sid"))
    assert learnt(path, "crossed_tones", "another", task="sid") is None
    # a card whose weights are given, of unknown making; a file of another kind
    assert learnt(path) is None
    (tmp_path / "other.safetensors").write_bytes(b"none of ours")
    assert learnt(tmp_path / "other.safetensors", task="sid") is None
    assert learnt(tmp_path, task="sid") is None
    (tmp_path / "other.safetensors.xz").write_bytes(b"none of ours")
    assert learnt(tmp_path / "other.safetensors.xz", task="sid") is None


@pytest.mark.parametrize("task", ["sid", "pr+sid"])
def test_what_a_training_takes(yamls, hf_folder, tmp_path, monkeypatch, task):
    monkeypatch.setattr(posttrain, "_yaml", lambda name: str(yamls[name]))
    made = settings(task=task, **SMALL | {"steps": 40})
    found = learnt(write(yamls, made, on="hubert_base"), task=task)
    folder, phases = hf_folder("hubert"), []
    begin = FineTuning.begin

    def seen(learner: FineTuning, step: int) -> None:
        begin(learner, step)
        phases.append(learner.head_alone)

    monkeypatch.setattr(FineTuning, "begin", seen)
    before = sorted((tmp_path / "cache" / "checkpoints").rglob("*"))
    # it encodes nothing beforehand, so a slow backbone adds nothing
    took = time_training("speech_ft", found.stages, 10, clock_of("cpu"), 1e6, folder=folder)
    assert (took.updates, took.timed) == (40, 10) and 0 < took.seconds < 1000
    # as many of the updates of the head alone as of all: a tenth
    assert sum(phases[-10:]) == 1
    assert before and sorted((tmp_path / "cache" / "checkpoints").rglob("*")) == before


def test_a_shipped_checkpoint():
    path = Checkpoint.shipped / "whisper_tiny" / "asr_seed0.safetensors.xz"
    found = learnt(path, "kokoro_crossed", "kokoro_read", task="asr")
    assert names(found) == ["mini/speech_ft_asr version 1"] and {row.split for row in found.rows} >= {"train", "val"}
