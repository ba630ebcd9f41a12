"""A head as an objective of fine-tuning is the head that evaluates, on one layer and with a gradient below it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_up_features import Source, labelled
from torch import Tensor

from downstreams.catalogue import HEADS
from downstreams.objectives import build
from harness.contracts import SplitData, TrialSpec
from harness.errors import UserError

D = 12
CTC = {"symbols": "phones39", "projector": 16}
OPTIONS: dict[str, dict[str, Any]] = {
    "linear_ctc": CTC,
    "conv_ctc": CTC,
    "blstm_ctc": CTC | {"hidden": 12, "dropout": 0.0, "spec_augment": False},
    "pooled_linear": {"projector": 16},
    "pooled_mlp": {"projector": 16},
}


def corpus(name: str, kind: str) -> tuple[dict[str, Tensor], SplitData]:
    generator = torch.Generator().manual_seed(len(name))
    frames = {f"{name}{i}": torch.randn(12 + i, D, generator=generator) for i in range(5)}
    words = ["AA | B", "K", "S | AA", "B", "K | S"]
    said = [kind_of(text, kind) for text in words]
    return frames, labelled(dict(zip(frames, said, strict=True)), None, name)


def kind_of(text: str, kind: str) -> str:
    return text if kind.endswith("ctc") else str(len(text) > 1)


def batch(frames: dict[str, Tensor], ids: list[str]) -> tuple[Tensor, list[int], list[str]]:
    return torch.cat([frames[name] for name in ids]), [len(frames[name]) for name in ids], ids


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_its_loss_score_and_weights_are_the_heads_own(name: str) -> None:
    frames, train = corpus("train", name)
    dev_frames, dev = corpus("development", name)
    objective: Any = build(name, OPTIONS[name], train, D, 3).eval()
    head = HEADS.load(name)({"batch": 5, **OPTIONS[name]})
    source = Source({k: v[:, None] for k, v in frames.items()})
    dev_source = Source({k: v[:, None] for k, v in dev_frames.items()})
    learner = head.learner(source, train, [TrialSpec(0.1, 3)])
    state = learner.state(0)
    for key, value in objective.net.state_dict().items():
        assert torch.equal(value, state[key]), key
    learner.train(False)
    theirs = learner.losses(head.batch(source, train, 0), [0])
    ours = objective.loss(*batch(frames, list(frames)))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
    ids = list(dev_frames)
    with torch.no_grad():
        judged = objective.judge((batch(dev_frames, part) for part in (ids[:2], ids[2:])), dev)
    wanted = head.dev(state, dev_source, dev)
    assert (judged.metric, judged.key) == (wanted.metric, wanted.key)
    assert judged.loss == pytest.approx(wanted.loss, rel=1e-5)


@pytest.mark.parametrize("name", ["linear_ctc", "pooled_linear"])
def test_what_is_below_gets_a_gradient_and_the_layer_weights_none(name: str) -> None:
    frames, train = corpus("train", name)
    objective: Any = build(name, OPTIONS[name], train, D, 0)
    states, lengths, ids = batch(frames, list(frames))
    states.requires_grad_(True)
    objective.loss(states, lengths, ids).backward()
    assert states.grad is not None and bool((states.grad.abs().sum(dim=1) > 0).all())
    assert not objective.net.featurizer.weights.requires_grad


@pytest.mark.parametrize("name", ["linear_ctc", "pooled_linear"])
def test_a_split_is_scored_whole_or_not_at_all(name: str) -> None:
    frames, train = corpus("train", name)
    objective = build(name, OPTIONS[name], train, D, 0)
    with pytest.raises(UserError, match="5 utterances wanted, 1 not scored, first train4"):
        objective.judge([batch(frames, list(frames)[:4])], train)


def test_seeds_differ_and_a_seed_is_the_same_again() -> None:
    _, train = corpus("train", "linear_ctc")
    made: list[Any] = [build("linear_ctc", CTC, train, D, seed) for seed in (0, 0, 1)]
    first = [one.net.linear.weight for one in made]
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def test_heads_that_cannot_be_fine_tuned_with_are_refused() -> None:
    _, train = corpus("train", "linear_ctc")
    with pytest.raises(UserError, match="head cosine: one of sequences or pooled means"):
        build("cosine", {}, train, D, 0)
    with pytest.raises(UserError, match="unknown head 'linear_ct'; did you mean linear_ctc"):
        build("linear_ct", CTC, train, D, 0)
