"""The figure of s3prl's practice: chosen on test, after dev has chosen, and beside every other figure as it was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from downstreams.asv import XVector
from harness import audio, cell_training, s3prl_practice, train
from harness.cell import Cell, CellName, run_cell, run_group
from harness.cli import main
from harness.config import Runtime
from harness.errors import UserError
from harness.results import RunResult
from harness.selection import Sealed

NAME = CellName("tiny", "asv", "fbank")
POINTS = {(lr, step) for lr in (1e-3, 1e-4) for step in (2, 4, 6)}


def runtime(tmp_path: Path, out: str = "runs", practice: bool = True) -> Runtime:
    return Runtime(out=tmp_path / out, cache=tmp_path / "cache", s3prl_practice=practice)


def others(result: RunResult) -> dict:
    """All of a result but the figure and what it says of its making."""
    data = result.model_dump(mode="json")
    for split in data["splits"].values():
        del split["as_s3prl"]
    return {key: value for key, value in data.items() if key != "provenance"}


def figure(result: RunResult):
    best = result.splits["test"].as_s3prl
    assert best is not None
    return best


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(("states", "training")))


def killed(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    update = train._Run.update

    def until(self, step, batch):
        if step == at:
            raise KeyboardInterrupt
        update(self, step, batch)

    monkeypatch.setattr(train._Run, "update", until)


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_training, "fit", None)


@pytest.fixture
def plain(tiny: Path, tmp_path: Path) -> tuple[Path, RunResult]:
    """The cell without the figure."""
    return run_cell(NAME, runtime(tmp_path, "plain", practice=False))


def test_the_figure_is_the_smallest_eer_over_all_checkpoints(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    """By hand: every weight that training shows after an evaluation, scored on the test trials by the head itself."""
    states, call = {}, s3prl_practice.Keeper.__call__

    def watched(self, k, step, state):
        states[self.specs[k].lr, step] = state
        call(self, k, step, state)

    monkeypatch.setattr(s3prl_practice.Keeper, "__call__", watched)
    folder, result = run_cell(NAME, runtime(tmp_path))
    assert states.keys() == POINTS
    cell = Cell(NAME, runtime(tmp_path))
    data = cell.data.named("test")
    source = cell.source(data, "test", None, "frames")
    by_hand = {point: cell.head.dev(state, source, data).metric for point, state in states.items()}
    best = figure(result)
    assert best.checkpoints == 6 and best.dev_apart == 0
    assert best.eer_best_checkpoint == pytest.approx(min(by_hand.values()))
    assert by_hand[best.lr, best.step] == pytest.approx(best.eer_best_checkpoint)
    chosen = result.selection
    assert by_hand[chosen.lr, chosen.step] == pytest.approx(result.splits["test"].metrics["eer"])
    assert not left_over(folder)


def test_a_checkpoint_that_test_likes_better_than_dev_does(plain, tiny: Path, tmp_path: Path, monkeypatch) -> None:
    chosen = plain[1].selection
    planted = min(POINTS - {(chosen.lr, chosen.step)})
    call, predict, kept = s3prl_practice.Keeper.__call__, XVector.predict, {}

    def watched(self, k, step, state):
        kept[self.specs[k].lr, step] = state
        call(self, k, step, state)

    def better_on_test(self, state, source, split):
        rows = list(predict(self, state, source, split))
        if split.name == "test" and torch.equal(state["speakers"], kept[planted]["speakers"]):
            return [{"id": trial.id, "score": float(trial.target)} for trial in split.trials]
        return rows

    monkeypatch.setattr(s3prl_practice.Keeper, "__call__", watched)
    monkeypatch.setattr(XVector, "predict", better_on_test)
    _, result = run_cell(NAME, runtime(tmp_path))
    best = figure(result)
    assert (best.eer_best_checkpoint, best.lr, best.step) == (0, *planted)
    assert result.splits["test"].metrics == plain[1].splits["test"].metrics and best.eer_best_checkpoint < min(
        result.splits["test"].metrics["eer"], plain[1].splits["test"].metrics["eer"]
    )
    assert result.selection == plain[1].selection


@pytest.mark.parametrize("finished", [False, True])
def test_nothing_of_the_test_is_read_before_dev_has_chosen(
    tiny: Path, tmp_path: Path, monkeypatch, finished: bool
) -> None:
    """Audio, rows, references and predictions; in the first training and in one repeated for the figure."""
    if finished:
        run_cell(NAME, runtime(tmp_path, practice=False))
    seen: list[str] = []
    read, opened, freeze, predict = audio.read, Sealed.open, Sealed.freeze, XVector.predict
    fit = cell_training.fit

    def say(what, then):
        def said(*args, **kwargs):
            seen.append(what(args))
            return then(*args, **kwargs)

        return said

    def fitted(*args, **kwargs):
        outcomes = fit(*args, **kwargs)
        seen.append("trained")
        return outcomes

    monkeypatch.setattr(audio, "read", say(lambda args: f"audio {args[0].split}", read))
    monkeypatch.setattr(Sealed, "open", say(lambda args: f"rows {args[1]}", opened))
    monkeypatch.setattr(Sealed, "freeze", say(lambda args: "freeze", freeze))
    monkeypatch.setattr(XVector, "predict", say(lambda args: f"predict {args[3].name}", predict))
    monkeypatch.setattr(cell_training, "fit", fitted)
    run_cell(NAME, runtime(tmp_path))
    at = seen.index("freeze")
    assert "trained" in seen[:at] and not [what for what in seen[:at] if what.endswith("test")]
    assert seen[at:].count("predict test") == (5 if finished else 6)  # dev's own is not scored twice


def test_checkpoints_cannot_be_scored_while_the_test_is_sealed(plain, tiny: Path, tmp_path: Path) -> None:
    _, result = plain
    cell = Cell(NAME, runtime(tmp_path))
    with pytest.raises(RuntimeError, match="before dev had selected"):
        s3prl_practice.add(cell, result.splits["test"], result.selection, Sealed(cell.data.named))


def test_every_other_figure_is_as_without_it(tiny: Path, tmp_path: Path) -> None:
    name = CellName("tiny", "asv_ood", "fbank")
    folder, without = run_cell(name, runtime(tmp_path, "plain", practice=False))
    other, result = run_cell(name, runtime(tmp_path))
    assert others(result) == others(without) and folder.name == other.name
    assert {split for split, one in result.splits.items() if one.as_s3prl} == {"test"}
    assert all(one.as_s3prl is None for one in without.splits.values())
    for path in (*folder.glob("predictions/*"), folder / "head.safetensors", folder / "head-others.safetensors"):
        assert path.read_bytes() == (other / path.relative_to(folder)).read_bytes()
    assert result.provenance.command == without.provenance.command + " --s3prl-practice"


def test_a_finished_cell_gets_it_later_and_stays_as_it_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = figure(run_cell(NAME, runtime(tmp_path, "whole"))[1])
    folder, before = run_cell(NAME, runtime(tmp_path, practice=False))
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".safetensors", ".gz")}
    kept[folder / "selection.json"] = (folder / "selection.json").read_bytes()
    again, after = run_cell(NAME, runtime(tmp_path))
    assert again == folder and figure(after) == whole and others(after) == others(before)
    assert {path: path.read_bytes() for path in kept} == kept and not left_over(folder)
    no_training(monkeypatch)
    for practice in (True, False):
        assert run_cell(NAME, runtime(tmp_path, practice=practice))[1] == after


@pytest.mark.parametrize("finished", [False, True])
def test_killed_in_training_it_ends_in_the_same_figure(tiny: Path, tmp_path: Path, finished: bool) -> None:
    _, whole = run_cell(NAME, runtime(tmp_path, "whole"))
    if finished:
        run_cell(NAME, runtime(tmp_path, practice=False))
    with pytest.MonkeyPatch.context() as patch:
        killed(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run_cell(NAME, runtime(tmp_path))
    folder, resumed = run_cell(NAME, runtime(tmp_path))
    assert figure(resumed) == figure(whole) and others(resumed) == others(whole) and not left_over(folder)


def test_a_training_begun_without_it_begins_anew(tiny: Path, tmp_path: Path) -> None:
    """Its first heads are gone."""
    _, whole = run_cell(NAME, runtime(tmp_path, "whole"))
    with pytest.MonkeyPatch.context() as patch:
        killed(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run_cell(NAME, runtime(tmp_path, practice=False))
    folder, result = run_cell(NAME, runtime(tmp_path))
    assert figure(result) == figure(whole) and not left_over(folder)


def test_killed_before_scoring_nothing_is_trained_again(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3prl_practice, "add", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_cell(NAME, runtime(tmp_path))
    no_training(monkeypatch)
    folder, result = run_cell(NAME, runtime(tmp_path))
    assert figure(result).checkpoints == 6 and not left_over(folder)


def test_without_the_flag_heads_that_were_left_are_removed(tiny: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3prl_practice, "add", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_cell(NAME, runtime(tmp_path))
    folder, result = run_cell(NAME, runtime(tmp_path, practice=False))
    assert result.splits["test"].as_s3prl is None and not left_over(folder)


def test_each_seed_of_a_group_has_its_own(tiny: Path, tmp_path: Path) -> None:
    run_group([NAME], runtime(tmp_path, practice=False))  # seed 0 is finished, 1 is not
    names = [CellName("tiny", "asv", "fbank", seed=seed) for seed in (0, 1)]
    found = run_group(names, runtime(tmp_path))
    for folder, result in found:
        best, split = figure(result), result.splits["test"]
        assert best.checkpoints == 6 and best.eer_best_checkpoint <= split.metrics["eer"] and not left_over(folder)
        assert (best.lr, best.step) in POINTS
    assert found[0][1].selection != found[1][1].selection


def test_a_training_that_went_otherwise_is_told(plain, tiny: Path, tmp_path: Path) -> None:
    """Repeated elsewhere, dev moves: said beside the figure. Diverged elsewhere, there is no figure."""
    _, result = plain
    cell = Cell(NAME, runtime(tmp_path, "plain"))
    specs = [train.TrialSpec(trial.lr, 0) for trial in result.selection.trials]
    outcomes = [train.Outcome(spec) for spec in specs]
    keeper = s3prl_practice.Keeper([cell], specs, "0123456789")
    for k, (outcome, trial) in enumerate(zip(outcomes, result.selection.trials, strict=True)):
        for point in trial.curve:
            moved = 0.25 if point.step == 4 else 0.0
            outcome.curve.append((point.step, train.DevScore(point.metric + moved, point.loss, point.metric)))
            keeper(k, point.step, {"weight": torch.zeros(1)})
    last = outcomes[1].curve.pop()
    with pytest.raises(UserError, match=r"differs at learning rate 0.0001, step 6: it diverged in one of the two") as e:
        s3prl_practice.complete(cell, outcomes, result.selection, "0123456789")
    assert "\n" not in str(e.value)
    outcomes[1].curve.append(last)
    with pytest.raises(UserError, match="lacks heads of its training; remove its training"):
        s3prl_practice.complete(cell, outcomes, result.selection, "another training")
    s3prl_practice.complete(cell, outcomes, result.selection, "0123456789")
    kept = json.loads((cell.folder / "states" / "points.json").read_text())
    assert {(lr, step) for lr, step in kept["points"]} == POINTS and kept["apart"] == pytest.approx(0.25)


def test_heads_of_another_training_do_not_count(tiny: Path, tmp_path: Path) -> None:
    """Two seeds together, interrupted at the end; then one of them alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3prl_practice, "complete", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_group([NAME, CellName("tiny", "asv", "fbank", seed=1)], runtime(tmp_path))
    heads = list(tmp_path.rglob("*-s0-r0-*/states-*/*.safetensors"))
    assert len(heads) == 6
    for path in heads:
        path.write_bytes(b"of another training")
    folder, result = run_cell(NAME, runtime(tmp_path))
    assert figure(result).checkpoints == 6 and not left_over(folder)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_head_that_is_gone_is_told(tiny: Path, tmp_path: Path, damage) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3prl_practice, "add", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_cell(NAME, runtime(tmp_path))
    (selection,) = tmp_path.rglob("selection.json")
    chosen = json.loads(selection.read_text())
    own = f"{chosen['lr']!r}-{chosen['step']}."
    damage(next(path for path in tmp_path.rglob("states/*.safetensors") if not path.name.startswith(own)))
    with pytest.raises(UserError, match=r"cannot be read; remove .*states and run the cell again"):
        run_cell(NAME, runtime(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["-d", "take"], r"head pooled_linear of task take \(classification\)"),
        (["-d", "asv", "--head", "cosine"], r"head cosine of task asv \(verification\)"),
    ],
)
def test_where_there_is_no_such_figure_one_line_says_so(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    out = tmp_path / "cli"
    assert main(["-u", "fbank", "--suite", "tiny", *arguments, "--out", str(out), "--s3prl-practice"]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "--s3prl-practice wants a trained head of a verification task, found head" in text
    assert re.search(found, text) and not list(out.rglob("failed.txt"))


def test_the_command_line_prints_both(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cli"
    assert main(["-u", "fbank", "-d", "asv", "--suite", "tiny", "--out", str(out), "--s3prl-practice"]) == 0
    text = capsys.readouterr().out
    assert "EER, best checkpoint on test (s3prl's practice): " in text and "the smallest of 6 (learning rate" in text
    header, *lines = (out / "leaderboard.csv").read_text().splitlines()
    (mine,) = (line for line in lines if line.startswith("tiny,"))
    assert header.endswith(",eer_best_checkpoint") and float(mine.split(",")[-1]) >= 0
    for verb in (["score", str(next(out.rglob("result.json")).parent)], ["status", "--out", str(out)]):
        assert main(verb) == 0
    assert "done" in capsys.readouterr().out
