"""Two processes train what one trains, and tell each other of a loss that diverged."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness import distributed
from harness.errors import UserError
from harness.paths import ROOT

SCRIPT = """
import sys
from pathlib import Path
import torch
from harness import distributed
from harness.contracts import TrialSpec
from harness.train import Plan, fit
from test_train import Regression, batch, dev_of

distributed.start("cpu")
folder, poison = Path(sys.argv[1]), sys.argv[2] == "poison"
learner = Regression([0])

def fed(step, micro):
    x, y = batch(step, micro)
    return (x, y * float("nan")) if poison and (step, micro) == (5, 3) else (x, y)

plan = Plan(steps=12, accumulate=4, eval_every=6, clip=0.5)
(outcome,) = fit(learner, [TrialSpec(1e-2, 0)], fed, dev_of(learner), plan, checkpoint=folder / "t.pt", identity="x",
                 log=folder / "log.csv")
torch.save({"last": outcome.last, "diverged": outcome.diverged}, folder / f"rank{distributed.rank()}.pt")
distributed.stop()
"""


def run(folder: Path, processes: int, what: str = "plain") -> list[dict]:
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    started = []
    for rank in range(processes):
        announced = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1",
                     "MASTER_PORT": port, "OMP_NUM_THREADS": 1} if processes > 1 else {}  # fmt: skip
        environment = shared | {name: str(value) for name, value in announced.items()}
        command = [sys.executable, "-c", SCRIPT, str(folder), what]
        started.append(subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True))
    for process in started:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    (alone,) = run(tmp_path / "one", 1)
    pair = run(tmp_path / "two", 2)
    for name, value in alone["last"].items():
        assert torch.equal(pair[0]["last"][name], pair[1]["last"][name])
        assert torch.allclose(pair[0]["last"][name], value, atol=1e-6)
    logs = [(tmp_path / folder / "log.csv").read_text().splitlines() for folder in ("one", "two")]
    assert len(logs[0]) == len(logs[1])


def test_a_loss_that_diverged_in_one_process_ends_the_trial_in_both(tmp_path: Path) -> None:
    found = run(tmp_path / "two", 2, "poison")
    assert [one["diverged"] for one in found] == ["loss nan at step 5"] * 2


def test_without_torchrun_there_is_one_process() -> None:
    assert (distributed.start("cpu"), distributed.rank(), distributed.world()) == ("cpu", 0, 1)
    assert distributed.total([1.0, 2.0]) == [1.0, 2.0]


def test_a_garbled_announcement_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UserError, match="start several processes with torchrun"):
        distributed.start("cpu")
