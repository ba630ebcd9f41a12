"""The suite `superb` on miniatures of its corpora."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import miniature
import miniature_ood
import pytest

from harness.cell import CellName, run_cell
from harness.cli import main
from harness.config import Rows, Runtime
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
    lines = catalogue.left_out(["asr_ood", "er_fold1_ood", "er_fold2_ood"], "superb")
    several = "splits l2_arctic, l2_arabic, l2_chinese, l2_hindi, l2_korean, l2_spanish, l2_vietnamese"
    assert any(line.startswith(f"asr_ood: {several} of corpus l2_arctic; ") for line in lines)
    assert any(line.startswith("er_fold1_ood, er_fold2_ood: split emodb of corpus emodb; ") for line in lines)
    assert sum("l2_" in line for line in lines) == sum("emodb" in line for line in lines) == 1


def test_a_split_without_rows_says_what_to_do(tmp_path: Path, folders: Callable[..., Path]) -> None:
    root, cv = miniature.librispeech(tmp_path / "ls"), miniature_ood.common_voice(tmp_path / "cv")
    shutil.rmtree(root / "test-clean")
    (tmp_path / "mine").mkdir()
    miniature.sound(tmp_path / "mine" / "a.wav")
    (tmp_path / "mine" / "a.csv").write_text("file,split\na.wav,test\n")
    file = folders(librispeech=root, common_voice=cv, mine="{manifest: mine/a.csv}")
    rows = catalogue.Corpora(tmp_path).rows
    with pytest.raises(UserError, match="no split 'test-clean'; it has .*; get test-clean.tar.gz from https://www.open"):
        rows([Rows(corpus="librispeech", split="test-clean")])
    with pytest.raises(UserError) as caught:
        rows([Rows(corpus="common_voice", split="train")])
    said = f"option `splits: test` reads no other: write `options: {{splits: test train}}` in {file}"
    assert said in str(caught.value)
    with pytest.raises(UserError, match="no split 'dev'; it has test; write it into the column `split` of .*a.csv"):
        rows([Rows(corpus="mine", split="dev")])


def test_the_folds_are_described_together(corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "er", "--suite", "superb"]) == 0
    said = capsys.readouterr().out
    assert "er (superb): 5 folds, a cell each: er_fold1, er_fold2, er_fold3" in said
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("er_fold")] == [
        [fold, split] for fold in FOLDS for split in ("train", "dev", "test")
    ]


def test_a_class_that_the_in_domain_copy_lacks_stops_the_run(
    tmp_path: Path, folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (miniature.speech_commands(tmp_path / f"v{n}", f"0.0{n}") for n in (1, 2))
    shutil.rmtree(one / "speech_commands_test_set_v0.01" / "_silence_")
    folders(speech_commands=one, speech_commands_v2=two)
    line = ["--suite", "superb", "-u", "fbank", "--preset", "trial", "--out", str(tmp_path / "runs"), "--dry-run"]
    assert main([*line, "-d", "ks_ood"]) == 2
    said = capsys.readouterr().err
    assert "split v2 (speech_commands_v2 test) has class '_silence_', which the in-domain test (speech_commands" in said
    assert "complete it (`run.py validate --suite superb -d ks` says what a corpus lacks), or run `-d ks`" in said
    assert main([*line, "-d", "ks"]) == 0


def test_a_trial_is_said_to_be_no_result(corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--suite", "superb", "-u", "fbank", "-d", "ks", "--out", str(tmp_path / "runs"), "--preset", "trial"]
    assert main(line) == 0
    assert "preset trial: 1 cell of a few updates, to see a corpus go through, and no" in capsys.readouterr().out


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
    # of whatever was asked for: er, er_ood, all_ood, each fold by name
    found = _over_folds("superb", [cell("ks", 1.0), *cells, cell("pr_frames", 1.0)])
    assert found == ["fbank on er, mean of 5 folds, seed 0: accuracy 62.00"]
    assert _over_folds("superb", cells[:4]) == [], "four folds are no cross-validation"
    assert _over_folds("superb", [*cells[:4], cell(FOLDS[4], 1.0, seed=1)]) == []


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
