"""The suite `superb` on miniatures of its corpora."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cell import CellName, run_cell
from harness.config import Runtime
from harness.errors import UserError
from tasks import catalogue

FOLDS = [f"er_fold{k}" for k in range(1, 6)]
TASKS = ["asr", "asv", *FOLDS, "ks", "pr", "sid"]
PAPER = {
    "asr": ("blstm_ctc", 200_000, 1, 16),
    "asv": ("xvector", 200_000, 5, 10),
    "er_fold1": ("pooled_linear", 30_000, 1, 32),
    "ks": ("pooled_linear", 200_000, 1, 32),
    "pr": ("linear_ctc", 100_000, 2, 16),
    "sid": ("pooled_linear", 200_000, 1, 32),
}
"""Head, updates, accumulation, batch. SUPERB's 8 x 4 (sid) and 4 x 8 (er) are one batch of 32."""


@pytest.fixture
def corpora(trees: Path, folders: Callable[..., Path]) -> Path:
    folders(**{path.name: path for path in trees.iterdir()})
    return trees


def test_the_tasks() -> None:
    assert [name for name in catalogue.names("superb") if not name.endswith("_ood")] == TASKS
    assert catalogue.unreadable("superb") == []


@pytest.mark.parametrize("name", sorted(PAPER))
def test_the_paper_s_steps_and_grids(name: str) -> None:
    task = catalogue.whole(name, "superb")
    head, steps, accumulate, batch = PAPER[name]
    preset = task.heads[task.default_head("frame")].presets["superb"]
    assert task.default_head("frame") == head and preset.plan is not None
    assert (preset.plan.steps, preset.plan.accumulate, preset.options["batch"]) == (steps, accumulate, batch)
    assert preset.lrs == [10.0**-n for n in range(1, 8)]


@pytest.mark.parametrize("name", TASKS)
def test_every_split_of_every_task(name: str, corpora: Path) -> None:
    task, _ = catalogue.load(f"{name}_ood", "superb")
    data = catalogue.Data(task)
    data.check_disjoint()
    for split in ("train", "dev", "test", *(one.name for one in task.ood)):
        found = data.named(split)
        assert found.utterances
        if task.kind == "verification":
            assert found.trials or split == "train"
        else:
            assert set(found.references) == {u.id for u in found.utterances}
        catalogue.condition(task, split)


def test_folds_are_tasks(corpora: Path) -> None:
    assert catalogue.expand("er", "superb") == FOLDS
    assert catalogue.expand("er_ood", "superb") == [f"{fold}_ood" for fold in FOLDS]
    assert catalogue.expand("ks_ood", "superb") == ["ks_ood"]
    assert catalogue.load("er_fold3", "superb")[0].title == "Emotion recognition, fold3"
    with pytest.raises(UserError, match="task er has a cell a fold: name one of er_fold1, er_fold2"):
        catalogue.load("er", "superb")
    with pytest.raises(UserError, match="unknown task 'er_fold6'; did you mean er_fold"):
        catalogue.load("er_fold6", "superb")


def test_ood_splits_without_a_folder_are_left_out_and_named(corpora: Path) -> None:
    task, _ = catalogue.load("ks_ood", "superb")
    assert [split.name for split in task.ood] == ["noise", "telephone", "noise_room"]
    line, *_ = catalogue.left_out(["ks_ood", "ks", "asv_ood"], "superb")
    assert line.startswith("ks_ood: split v2 of corpus speech_commands_v2; no folder for it in ")


def test_a_missing_corpus_stops_a_cell_before_it_trains(folders: Callable[..., Path], tmp_path: Path) -> None:
    folders()
    with pytest.raises(UserError, match="corpus speech_commands: no folder given; add `speech_commands: FOLDER`"):
        run_cell(CellName("superb", "ks", "fbank", preset="trial"), Runtime(out=tmp_path, cache=tmp_path))


@pytest.mark.parametrize("name", ["ks", "er_fold2", "pr"])
def test_a_cell_runs(name: str, corpora: Path, tmp_path: Path) -> None:
    runtime = Runtime(out=tmp_path / "runs", cache=tmp_path / "cache")
    folder, result = run_cell(CellName("superb", name, "fbank", preset="trial"), runtime)
    assert result.task == name and result.splits["test"].scored == result.splits["test"].expected > 0
    assert folder.is_relative_to(tmp_path / "runs" / "superb" / name)


def test_the_mean_of_the_folds_is_printed() -> None:
    from types import SimpleNamespace as Some

    from harness.cli import _over_folds

    def cell(task: str, value: float, seed: int = 0) -> tuple[Path, Some]:
        split = Some(metrics={"accuracy": value})
        upstream = Some(name="fbank")
        names = {"task": task, "recipe_seed": 0, "seed": seed, "metric": "accuracy"}
        return Path(), Some(upstream=upstream, splits={"test": split}, **names)

    cells = [cell(fold, 60.0 + number) for number, fold in enumerate(FOLDS)]
    assert _over_folds("ks,er_ood", "superb", cells) == ["fbank on er, mean of 5 folds, seed 0: accuracy 62.00"]
    assert _over_folds("er", "superb", cells[:4]) == [], "four folds are no cross-validation"
    assert _over_folds("er", "superb", [*cells[:4], cell(FOLDS[4], 1.0, seed=1)]) == []


@pytest.mark.parametrize("name", ["asr", "asv", "er", "ks", "sid"])
def test_the_embedded_suite_has_the_paper_s_presets_from_here(name: str) -> None:
    mini, paper = catalogue.whole(name, "mini"), catalogue.whole("er_fold1" if name == "er" else name, "superb")
    for head in set(mini.heads) & set(paper.heads):
        assert mini.heads[head].presets["superb"] == paper.heads[head].presets["superb"]
        assert "trial" not in mini.heads[head].presets


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"folds": "a"}, "folds: a list of names wanted, found 'a'"),
        ({"folds": ["../a"]}, "folds: a list of names wanted"),
        ({"presets_from": "../x"}, "presets_from: the name of a suite wanted, found '../x'"),
        ({"presets_from": "nosuch"}, "say.yaml is missing"),
    ],
)
def test_what_is_wrong_with_a_yaml_is_said(wrong: dict[str, object], said: str, tiny: Path) -> None:
    import yaml

    path = tiny / "say.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **wrong}))
    (error,) = catalogue.unreadable("tiny")
    assert said in str(error)
