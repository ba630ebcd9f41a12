"""Seeds of a cell train together, several tasks share what is stored, and each kind of task runs from end to end."""

from __future__ import annotations

from pathlib import Path

import killed
import pytest
import torch
from safetensors.torch import load_file

from harness import cell_training, status
from harness.cell import CellName, run_cell, run_group
from harness.cli import main
from harness.config import Runtime
from harness.errors import NotApplicable, UserError
from harness.results import load_result, read_predictions


def runtime(tmp_path: Path, out: str) -> Runtime:
    return Runtime(out=tmp_path / out, cache=tmp_path / "cache")


def names(task: str, *seeds: int, upstream: str = "fbank") -> list[CellName]:
    return [CellName("tiny", task, upstream, seed=seed) for seed in seeds]


@pytest.mark.parametrize("task", ["asv_ood", "take_ood", "say_ood"])
def test_seeds_trained_together_are_what_each_is_alone(tiny: Path, tmp_path: Path, task: str) -> None:
    together = run_group(names(task, 0, 1), runtime(tmp_path, "together"))
    for seed, (folder, result) in zip((0, 1), together, strict=True):
        alone_folder, alone = run_cell(names(task, seed)[0], runtime(tmp_path, "alone"))
        assert folder.name == alone_folder.name and result.seed == seed
        assert (result.selection.lr, result.selection.step) == (alone.selection.lr, alone.selection.step)
        one, other = load_file(folder / "head.safetensors"), load_file(alone_folder / "head.safetensors")
        assert one.keys() == other.keys()
        for key, value in one.items():
            torch.testing.assert_close(value, other[key], atol=1e-4, rtol=1e-4)
    first, second = (folder for folder, _ in together)
    heads = [load_file(folder / "head.safetensors")["featurizer.weights"] for folder in (first, second)]
    projectors = [load_file(folder / "head.safetensors")["projector.weight"] for folder in (first, second)]
    assert not torch.equal(*projectors) and heads[0].shape == heads[1].shape


def test_all_learning_rates_and_seeds_are_one_training(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    fit, calls = cell_training.fit, []

    def watched(learner, specs, *args, **kwargs):
        calls.append([(spec.lr, spec.seed) for spec in specs])
        return fit(learner, specs, *args, **kwargs)

    monkeypatch.setattr(cell_training, "fit", watched)
    run_group(names("take", 0, 1, 2), runtime(tmp_path, "runs"))
    assert calls == [[(lr, seed) for seed in (0, 1, 2) for lr in (1e-2, 1e-3)]]
    results = run_group(names("take", 0, 1, 2), runtime(tmp_path, "runs"))
    assert len(calls) == 1 and [len(result.selection.trials) for _, result in results] == [2, 2, 2]
    assert all(trial.curve for _, result in results for trial in result.selection.trials)


def test_a_seed_more_trains_that_seed_alone(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    run_group(names("take", 0), runtime(tmp_path, "runs"))
    fit, calls = cell_training.fit, []
    monkeypatch.setattr(
        cell_training, "fit", lambda learner, specs, *a, **k: calls.append(specs) or fit(learner, specs, *a, **k)
    )
    run_group(names("take", 0, 1), runtime(tmp_path, "runs"))
    assert [{spec.seed for spec in specs} for specs in calls] == [{1}]


def test_a_group_killed_in_training_goes_on(tiny: Path, tmp_path: Path) -> None:
    whole = run_group(names("take_ood", 0, 1), runtime(tmp_path, "whole"))
    with killed.in_training(5):
        run_group(names("take_ood", 0, 1), runtime(tmp_path, "cut"))
    assert list((tmp_path / "cut").rglob("training-*.pt"))
    resumed = run_group(names("take_ood", 0, 1), runtime(tmp_path, "cut"))
    for (_, one), (_, other) in zip(whole, resumed, strict=True):
        assert one.selection == other.selection
        assert {n: s.predictions_sha256 for n, s in one.splits.items()} == {
            n: s.predictions_sha256 for n, s in other.splits.items()
        }
    assert not list((tmp_path / "cut").rglob("training-*.pt"))


def test_an_interrupted_group_does_not_stand_in_the_way_of_one_seed(tiny: Path, tmp_path: Path) -> None:
    with killed.in_training(5):
        run_group(names("take", 0, 1), runtime(tmp_path, "runs"))
    (_, result), = run_group(names("take", 0), runtime(tmp_path, "runs"))
    assert result.splits["test"].scored == 27
    assert not list((tmp_path / "runs").rglob("training-*.pt"))


def test_fewer_classes_out_of_domain_are_compared_with_the_same_classes(tiny: Path, tmp_path: Path) -> None:
    folder, result = run_cell(names("take_ood", 0)[0], runtime(tmp_path, "runs"))
    few, inside = result.splits["few"], result.splits["test"]
    assert (few.expected, inside.expected) == (18, 27) and not inside.id_shared
    predictions = read_predictions(folder / "predictions" / "test.jsonl.gz")
    kept = [row for name, row in predictions.items() if not name.endswith("-2")]
    right = sum(row["label"] == f"take{row['id'][-1]}" for row in kept)
    assert few.id_shared["accuracy"] == pytest.approx(100 * right / 18)


def test_words_are_scored_after_one_normalisation(tiny: Path, tmp_path: Path) -> None:
    folder, result = run_cell(names("say_ood", 0)[0], runtime(tmp_path, "runs"))
    assert result.identity["norm"] and set(result.splits["own"].metrics) >= {"wer", "cer"}
    text = {row["text"] for row in read_predictions(folder / "predictions" / "own.jsonl.gz").values()}
    assert all(found == found.upper() for found in text)
    assert (folder / "head-own.safetensors").exists()


def test_a_norm_is_no_part_of_the_other_tasks(tiny: Path, tmp_path: Path) -> None:
    _, result = run_cell(names("asv", 0)[0], runtime(tmp_path, "runs"))
    assert "norm" not in result.identity


def test_several_tasks_encode_a_clip_once(tiny: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    from harness import audio

    read, opened = audio.read, []
    monkeypatch.setattr(audio, "read", lambda u: (opened.append(u.id), read(u))[1])
    assert main(["-u", "fbank", "-d", "take_ood,say_ood", "--suite", "tiny", "--seeds", "0,1"]) == 0
    assert len(opened) == len(set(opened)) == 45
    out = capsys.readouterr().out
    assert "fbank on take" in out and "fbank on say" in out


def test_all_stands_for_every_task_of_the_suite(tiny: Path, tmp_path: Path) -> None:
    assert main(["-u", "fbank", "-d", "all", "--suite", "tiny"]) == 0
    found = {load_result(path.parent).task for path in (tmp_path / "runs").rglob("result.json")}
    assert found == {"asv", "take", "say"}


def test_all_leaves_out_what_an_upstream_cannot_do(tiny: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    from harness import config

    task_class, default = config.Task, config.Task.default_head
    monkeypatch.setattr(
        task_class, "default_head", lambda self, level: default(self, "utterance" if self.task == "say" else level)
    )
    assert main(["-u", "fbank", "-d", "all", "--suite", "tiny"]) == 0
    captured = capsys.readouterr()
    assert "left out: task say has no head" in captured.err and "fbank on take" in captured.out
    assert main(["-u", "fbank", "-d", "say", "--suite", "tiny"]) == 2  # asked for by name it is an error


def test_a_layer_cannot_be_picked_without_a_training_free_head(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="training-free"):
        run_cell(names("take", 0, upstream="fbank+dev")[0], runtime(tmp_path, "runs"))
    assert status.table(tmp_path / "runs") == f"no cell was ever started under {tmp_path / 'runs'}"


def test_recipe_seeds_of_a_backbone_are_said_to_change_nothing(tiny: Path, tmp_path: Path, capsys) -> None:
    assert main(["-u", "fbank", "-d", "take", "--suite", "tiny", "--recipe-seeds", "1"]) == 0
    shown = capsys.readouterr()
    assert "fbank: --recipe-seeds" in shown.err and "read as recipe seed 0" in shown.err
    assert [path.name.split("-")[-2] for path in (tmp_path / "runs" / "tiny" / "take" / "fbank").iterdir()] == ["r0"]


def test_a_text_that_the_symbols_cannot_spell_is_named_by_its_row(tiny: Path, tmp_path: Path) -> None:
    manifest = tiny / "data" / "tones" / "manifest.csv"
    first, _, rest = manifest.read_text().partition("train one")
    manifest.write_text(f"{first}train {chr(0x17C)}one{rest}")
    with pytest.raises(UserError, match="corpus tones, row p00-1: .*found"):
        run_cell(names("say", 0)[0], runtime(tmp_path, "runs"))


def test_an_unlisted_id_and_a_negative_budget_are_one_line(tiny: Path, capsys) -> None:
    (tiny / "lists" / "few.csv").write_text("id\np99-0\n")
    assert main(["-u", "fbank", "-d", "take_ood", "--suite", "tiny"]) == 2
    assert "p99-0" in capsys.readouterr().err
    assert main(["-u", "fbank", "-d", "take", "--suite", "tiny", "--cache-gb", "-1"]) == 2
    assert "size in GB" in capsys.readouterr().err


def test_a_task_that_an_upstream_cannot_do_leaves_the_others(tiny: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    from harness import config

    default = config.Task.default_head
    monkeypatch.setattr(
        config.Task, "default_head", lambda self, level: default(self, "utterance" if self.task == "say" else level)
    )
    assert main(["-u", "fbank", "-d", "say,take", "--suite", "tiny"]) == 2
    captured = capsys.readouterr()
    assert "1 of 2 cells failed" in captured.err and "fbank on take" in captured.out


def test_a_finished_cell_that_lost_its_files_is_made_again(tiny: Path, tmp_path: Path) -> None:
    folder, whole = run_cell(names("take_ood", 0)[0], runtime(tmp_path, "runs"))
    kept = (folder / "predictions" / "test.jsonl.gz").read_bytes()
    for damage in ("predictions", "result", "splits"):
        if damage == "predictions":
            (folder / "predictions" / "test.jsonl.gz").unlink()
        else:
            (folder / f"{damage}.json").write_text("[1,2]")
        _, again = run_cell(names("take_ood", 0)[0], runtime(tmp_path, "runs"))
        assert again.splits == whole.splits and load_result(folder).splits == whole.splits
        assert (folder / "predictions" / "test.jsonl.gz").read_bytes() == kept


def test_a_misspelled_option_of_a_head_is_one_line(tiny: Path, capsys) -> None:
    path = tiny / "take.yaml"
    path.write_text(path.read_text().replace("batch: 4", "bach: 4"))
    assert main(["-u", "fbank", "-d", "take", "--suite", "tiny"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and "bach" in error[0] and "pooled_linear" in error[0]
