"""The log of a training, and what a kill leaves of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from test_train import Regression, batch, dev_of

from harness.contracts import TrialSpec
from harness.errors import UserError
from harness.schedules import cosine
from harness.train import Plan, fit
from harness.training_log import TrainingLog


class Stopped(Exception):
    pass


def train(folder: Path, stop_at: int | None = None) -> str:
    learner = Regression([0, 1])

    def on_step(step: int) -> None:
        if step == stop_at:
            raise Stopped

    fit(
        learner,
        [TrialSpec(1e-2, 0), TrialSpec(1e-2, 1)],
        batch,
        dev_of(learner),
        Plan(steps=12, eval_every=4),
        checkpoint=folder / "training.pt",
        identity="same",
        on_step=on_step,
        rate=cosine(12),
        log=folder / "log.csv",
    )
    return (folder / "log.csv").read_text()


def test_every_update_and_evaluation_has_its_rows(tmp_path: Path) -> None:
    rows = list(csv.DictReader(train(tmp_path).splitlines()))
    losses = [(int(row["step"]), int(row["trial"])) for row in rows if row["what"] == "loss"]
    assert losses == [(step, trial) for step in range(1, 13) for trial in (0, 1)]
    assert [int(row["step"]) for row in rows if row["what"] == "dev_metric"] == [4, 4, 8, 8, 12, 12]
    rates = [float(row["value"]) for row in rows if row["what"] == "rate" and row["trial"] == "0"]
    assert rates == [1e-2 * cosine(12)(step) for step in range(12)]


def test_a_killed_run_leaves_the_log_of_one_that_was_not(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    with pytest.raises(Stopped):
        train(tmp_path / "killed", stop_at=6)
    assert train(tmp_path / "killed") == train(tmp_path / "whole")


def test_another_file_in_its_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("id,score\n1,2\n")
    with pytest.raises(UserError, match="a log with columns step,trial,lr,what,value wanted"):
        TrainingLog(tmp_path / "log.csv", start=4)
