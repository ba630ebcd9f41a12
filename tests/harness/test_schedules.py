"""Learning-rate schedules at their corners, and against the library's own where there is one."""

from __future__ import annotations

import pytest
import torch

from harness.errors import UserError
from harness.schedules import cosine, tri_stage
from upstreams import torchaudio_shim


def test_cosine_is_that_of_transformers() -> None:
    torchaudio_shim.install()  # the library's training tools import its audio tools where peft is installed
    from transformers import get_cosine_schedule_with_warmup

    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimiser, num_warmup_steps=10, num_training_steps=100)
    ours = cosine(100, 0.1)
    for step in range(100):
        assert ours(step) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        theirs.step()


def test_cosine_without_a_warm_up_begins_at_the_top() -> None:
    assert cosine(10, 0.0)(0) == 1.0


def test_tri_stage_at_its_corners() -> None:
    rate = tri_stage(1000)
    assert [rate(step) for step in (0, 50, 100, 300, 500)] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert rate(750) == pytest.approx(0.5)
    assert rate(1000) == 0.0
    assert 0 < rate(999) < 0.003


@pytest.mark.parametrize("make", [lambda: cosine(10, 1.0), lambda: cosine(10, -0.1), lambda: tri_stage(10, 0.5, 0.5)])
def test_parts_that_do_not_fit_are_one_line(make) -> None:
    with pytest.raises(UserError, match="wanted"):
        make()
