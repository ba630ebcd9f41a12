"""A cell from end to end on made-up tones: what it writes, that it resumes, and that it cannot cheat."""

from __future__ import annotations

import json
from pathlib import Path

import killed
import pytest
import torch
import yaml

from harness import cell as cell_module
from harness import cell_training
from harness.cell import CellName, run_cell
from harness.config import Runtime
from harness.contracts import SplitData
from harness.errors import UserError
from harness.results import Selection, load_result, read_predictions
from harness.selection import Sealed


def runtime(tmp_path: Path, out: str = "runs") -> Runtime:
    return Runtime(out=tmp_path / out, cache=tmp_path / "cache")


def figures(result) -> dict:
    return {name: (split.metrics, split.predictions_sha256) for name, split in result.splits.items()}


def test_a_cell_holds_every_split_with_its_kind(tiny: Path, tmp_path: Path) -> None:
    folder, result = run_cell(CellName("tiny", "asv_ood", "fbank"), runtime(tmp_path))
    assert {name: split.kind for name, split in result.splits.items()} == {"test": "ID", "band": "C", "others": "R"}
    assert result.splits["test"].speakers == 9 and "eer" in result.splits["test"].intervals
    assert load_result(folder) == result
    assert (
        len(read_predictions(folder / "predictions" / "test.jsonl.gz"))
        == result.splits["test"].expected
        == 27 * 26 // 2
    )
    assert len(result.selection.trials) == 2 and all(len(t.curve) == 3 for t in result.selection.trials)
    assert result.splits["band"].condition and not result.splits["test"].condition


def test_a_second_run_only_reads(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first = run_cell(CellName("tiny", "asv_ood", "fbank"), runtime(tmp_path))
    monkeypatch.setattr(cell_training, "fit", None)
    monkeypatch.setattr(cell_module, "evaluate", None)
    _, second = run_cell(CellName("tiny", "asv_ood", "fbank"), runtime(tmp_path))
    assert second == first


def test_in_domain_first_then_ood_adds_to_the_same_result(tiny: Path, tmp_path: Path) -> None:
    folder, inside = run_cell(CellName("tiny", "asv", "fbank"), runtime(tmp_path))
    assert list(inside.splits) == ["test"]
    again, both = run_cell(CellName("tiny", "asv_ood", "fbank"), runtime(tmp_path))
    assert again == folder and list(both.splits) == ["test", "band", "others"]
    assert both.splits["test"] == inside.splits["test"]


@pytest.mark.parametrize("at", [3, 5])
def test_killed_while_training_it_ends_in_the_same_numbers(tiny: Path, tmp_path: Path, at: int) -> None:
    name = CellName("tiny", "asv_ood", "fbank")
    _, whole = run_cell(name, runtime(tmp_path, "whole"))
    with killed.in_training(at):
        run_cell(name, runtime(tmp_path, "cut"))
    _, resumed = run_cell(name, runtime(tmp_path, "cut"))
    assert figures(resumed) == figures(whole)
    assert resumed.selection == whole.selection


def test_killed_between_splits_it_keeps_what_was_scored(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = CellName("tiny", "asv_ood", "fbank")
    _, whole = run_cell(name, runtime(tmp_path, "whole"))
    evaluate, seen = cell_module.evaluate, []

    def once(*args, **kwargs):
        seen.append(args[3].name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(cell_module, "evaluate", once)
    with pytest.raises(KeyboardInterrupt):
        run_cell(name, runtime(tmp_path, "cut"))
    _, resumed = run_cell(name, runtime(tmp_path, "cut"))
    assert seen == ["test", "band", "band", "others"]
    assert figures(resumed) == figures(whole)


def test_test_rows_are_sealed_until_dev_has_selected() -> None:
    sealed = Sealed(lambda split: SplitData(split, []))
    with pytest.raises(RuntimeError, match="before dev had selected"):
        sealed.open("test")
    sealed.freeze(Selection(rule="", metric="eer"))
    assert sealed.open("test").name == "test"


def test_no_test_row_is_read_before_selection(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were training or selection to look at test audio, this fails: the test clips cannot even be decoded."""
    from harness import audio

    read, opened = audio.read, []
    monkeypatch.setattr(audio, "read", lambda u: (opened.append(u.split), read(u))[1])
    fit = cell_training.fit

    def watched(*args, **kwargs):
        outcomes = fit(*args, **kwargs)
        if "others" not in kwargs["identity"]:
            assert "test" not in opened
        return outcomes

    monkeypatch.setattr(cell_training, "fit", watched)
    run_cell(CellName("tiny", "asv_ood", "fbank"), runtime(tmp_path))
    assert "test" in opened


def test_a_warm_store_gives_the_same_figures(tiny: Path, tmp_path: Path) -> None:
    name = CellName("tiny", "asv_ood", "fbank")
    _, cold = run_cell(name, runtime(tmp_path, "cold"))
    _, warm = run_cell(name, runtime(tmp_path, "warm"))
    assert figures(cold) == figures(warm)


def test_dev_picks_the_layer_and_the_result_says_which(tiny: Path, tmp_path: Path) -> None:
    _, result = run_cell(CellName("tiny", "asv", "fbank+dev", head="cosine"), runtime(tmp_path))
    assert result.selection.layer == 0 and result.upstream.base == "fbank"
    _, plain = run_cell(CellName("tiny", "asv", "fbank", head="cosine"), runtime(tmp_path))
    assert plain.splits["test"].metrics == result.splits["test"].metrics


def test_a_changed_condition_is_scored_again_and_nothing_is_trained_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = CellName("tiny", "asv_ood", "fbank")
    folder, before = run_cell(name, runtime(tmp_path))
    text = (tiny / "asv.yaml").read_text()
    (tiny / "asv.yaml").write_text(text.replace("high: 3400", "high: 2000"))
    monkeypatch.setattr(cell_training, "fit", None)
    again, after = run_cell(name, runtime(tmp_path))
    assert again == folder
    assert after.splits["test"] == before.splits["test"]
    assert after.splits["band"].condition != before.splits["band"].condition


def test_a_changed_learning_rate_is_another_cell(tiny: Path, tmp_path: Path) -> None:
    folder, _ = run_cell(CellName("tiny", "asv", "fbank"), runtime(tmp_path))
    task = yaml.safe_load((tiny / "asv.yaml").read_text())
    task["heads"]["xvector"]["presets"]["tiny"]["lrs"] = [5e-4]
    (tiny / "asv.yaml").write_text(yaml.safe_dump(task))
    other, _ = run_cell(CellName("tiny", "asv", "fbank"), runtime(tmp_path))
    assert other != folder


def test_a_second_process_on_the_cell_is_told_so(tiny: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    folder, _ = run_cell(CellName("tiny", "asv", "fbank"), runtime(tmp_path))
    with FileLock(folder / "lock"), pytest.raises(UserError, match="being run by another process"):
        run_cell(CellName("tiny", "asv", "fbank"), runtime(tmp_path))


def test_shared_speakers_stop_the_run(tiny: Path, tmp_path: Path) -> None:
    manifest = tiny / "data" / "tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",p05,", ",p00,"))
    with pytest.raises(UserError, match="p00"):
        run_cell(CellName("tiny", "asv", "fbank"), runtime(tmp_path))


def test_missing_audio_fails_the_cell_and_says_which(tiny: Path, tmp_path: Path) -> None:
    manifest = tiny / "data" / "tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("p09-1.wav", "gone.wav"))
    with pytest.raises(UserError, match=r"p09-1.*gone\.wav"):
        run_cell(CellName("tiny", "asv", "fbank"), runtime(tmp_path))
    failed = list((tmp_path / "runs").rglob("failed.txt"))
    assert len(failed) == 1 and "gone.wav" in failed[0].read_text()
    assert not list((tmp_path / "runs").rglob("result.json"))


def test_a_head_that_does_not_fit_is_named_with_one_that_does(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no head 'xvectr'; it has cosine, xvector"):
        run_cell(CellName("tiny", "asv", "fbank", head="xvectr"), runtime(tmp_path))


def test_identity_is_stored_whole(tiny: Path, tmp_path: Path) -> None:
    folder, result = run_cell(CellName("tiny", "asv", "fbank", seed=3), runtime(tmp_path))
    assert result.identity["seed"] == 3 and result.identity["preset_values"]["lrs"] == [1e-3, 1e-4]
    stored = json.loads((folder / "result.json").read_text())
    assert stored["identity_hash"].startswith(folder.name.rsplit("-", 1)[1])


def test_seeds_differ_and_repeat(tiny: Path, tmp_path: Path) -> None:
    shas = []
    for seed, out in ((0, "a"), (0, "b"), (1, "a")):
        torch.manual_seed(len(shas))  # the ambient generator must not matter
        _, result = run_cell(CellName("tiny", "asv", "fbank", seed=seed), runtime(tmp_path, out))
        shas.append(result.splits["test"].predictions_sha256)
    assert shas[0] == shas[1] != shas[2]


def test_seeds_that_change_nothing_are_one_cell(tiny: Path, tmp_path: Path) -> None:
    """A training-free head has no seed, a backbone no recipe."""
    first, result = run_cell(CellName("tiny", "asv", "fbank", head="cosine"), runtime(tmp_path))
    again, _ = run_cell(CellName("tiny", "asv", "fbank", head="cosine", seed=4, recipe_seed=2), runtime(tmp_path))
    assert first == again and (result.seed, result.recipe_seed) == (0, 0)


def test_a_result_names_the_command_that_makes_it(tiny: Path, tmp_path: Path) -> None:
    from harness.cli import main

    folder, result = run_cell(CellName("tiny", "asv_ood", "fbank", seed=1), runtime(tmp_path))
    command = result.provenance.command.split()
    assert command[:2] == ["python", "harness/run.py"]
    assert main([*command[2:], "--out", str(tmp_path / "again")]) == 0
    (again,) = (tmp_path / "again").rglob("result.json")
    assert again.parent.name == folder.name and figures(load_result(again.parent)) == figures(result)
