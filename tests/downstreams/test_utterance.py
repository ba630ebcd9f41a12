"""The pooled heads: what a batch holds, what is predicted, what dev scores, and which labels are refused."""

from __future__ import annotations

import pytest
import torch
from made_up_features import Source, labelled
from torch import Tensor

from downstreams.catalogue import HEADS
from downstreams.utterance import PooledLinear, PooledMLP
from harness.contracts import SplitData, TrialSpec
from harness.errors import UserError
from harness.train import Plan, fit

L, D = 3, 8


def corpus(count: int = 30, frames: int = 20, name: str = "train", seed: int = 0) -> tuple[Source, SplitData]:
    """Three classes, told apart by one layer's means; two thirds of the utterances are of class "a"."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    references = {}
    for i in range(count):
        label = "aaaabc"[i % 6]
        found[f"{name}{i}"] = torch.randn(frames + i, L, D, generator=generator)
        found[f"{name}{i}"][:, 1, "abc".index(label)] += 2
        references[f"{name}{i}"] = label
    return Source(found), labelled(references, name=name)


def numbers(batch: tuple[Tensor, Tensor], source: Source, split: SplitData) -> list[int]:
    """Which utterances a batch of whole means holds."""
    means = source.means([u.id for u in split.utterances])
    return [int((means - layers).abs().sum((1, 2)).argmin()) for layers in batch[0].transpose(0, 1)]


@pytest.mark.parametrize("name", ["pooled_linear", "pooled_mlp"])
def test_a_head_learns_what_a_layer_tells(name) -> None:
    source, train = corpus(60)
    dev_source, dev = corpus(30, name="dev", seed=1)
    head = HEADS.load(name)({"batch": 16, "projector": 16})
    specs = [TrialSpec(1e-2, 0), TrialSpec(1e-5, 0)]
    learner = head.learner(source, train, specs)
    plan = Plan(steps=120, eval_every=60)
    good, slow = fit(
        learner,
        specs,
        lambda step, micro: head.batch(source, train, step),
        lambda k: head.dev(learner.state(k), dev_source, dev),
        plan,
    )
    assert good.best[1].metric > 90 > slow.best[1].metric
    assert good.best[1].key == -good.best[1].metric and good.best[1].loss < slow.best[1].loss
    found = list(head.predict(good.state, dev_source, dev))
    assert [row["id"] for row in found] == [u.id for u in dev.utterances]
    right = sum(row["label"] == dev.references[row["id"]] for row in found)
    assert 100 * right / len(found) == pytest.approx(good.best[1].metric)


def test_a_prediction_needs_the_state_alone() -> None:
    """A resumed run loads the state into a head that has seen no training data."""
    source, train = corpus()
    head = PooledLinear({"batch": 4})
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    assert list(PooledLinear({"batch": 4}).predict(state, source, train)) == list(head.predict(state, source, train))


def test_the_mean_of_the_frames_logits_is_the_logit_of_the_mean() -> None:
    source, train = corpus()
    head = PooledLinear({"batch": 4})
    state = head.learner(source, train, [TrialSpec(1e-3, 2)]).state(0)
    net = head.net(L, D, 3)
    net.load_state_dict({name: value for name, value in state.items() if name != "classes"})
    frames = source.frames("train0")
    torch.testing.assert_close(net(frames).mean(dim=0), net(source.mean("train0")[None])[0])


def test_batches_are_pure_and_cover_every_utterance_once_an_epoch() -> None:
    source, train = corpus(30)
    head, again = PooledLinear({"batch": 8}), PooledLinear({"batch": 8})
    epoch = [head.batch(source, train, i) for i in range(4)]
    found = [n for batch in epoch for n in numbers(batch, source, train)]
    assert sorted(found) == list(range(30)) and found != list(range(30))
    later = again.batch(source, train, 6)
    assert torch.equal(again.batch(source, train, 2)[0], epoch[2][0])
    assert torch.equal(head.batch(source, train, 6)[0], later[0]) and not torch.equal(later[0], epoch[2][0])
    labels = [train.references[f"train{n}"] for n in numbers(epoch[1], source, train)]
    assert ["abc"[i] for i in epoch[1][1]] == labels
    assert not torch.equal(PooledLinear({"batch": 8, "data_seed": 1}).batch(source, train, 0)[0], epoch[0][0])


def test_means_are_read_once() -> None:
    source, train = corpus()
    head = PooledLinear({"batch": 8})
    for index in range(20):
        head.batch(source, train, index)
    assert source.reads == ["means"]


def test_balanced_draws_take_every_class_equally() -> None:
    source, train = corpus(60)
    head = PooledLinear({"batch": 12, "balanced": True})
    labels = torch.cat([head.batch(source, train, i)[1] for i in range(200)])
    shares = labels.bincount() / len(labels)
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.03)
    plain = PooledLinear({"batch": 12})
    labels = torch.cat([plain.batch(source, train, i)[1] for i in range(200)])
    assert labels.bincount()[0] / len(labels) == pytest.approx(2 / 3, abs=0.01)


def test_dev_is_neither_balanced_nor_cropped() -> None:
    source, train = corpus(30, frames=200)
    options = {"batch": 8, "balanced": True, "crop_seconds": 2.0}
    head = PooledLinear(options)
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    assert head.reads == "blocks" and head.reads_test == "means" and PooledLinear({"batch": 8}).reads == "means"
    plain = PooledLinear({"batch": 8}).dev(state, source, train)
    assert [head.dev(state, source, train) for _ in range(2)] == [plain, plain]
    assert "blocks" not in source.reads


def test_a_crop_is_a_run_of_whole_blocks_and_starts_everywhere_it_fits() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = {"long": torch.randn(220, L, D, generator=generator), "short": torch.randn(90, L, D, generator=generator)}
    source, train = Source(frames), labelled({"long": "a", "short": "b"})
    head = PooledLinear({"batch": 2, "crop_seconds": 2.5})
    # 220 frames are blocks of 50, 50, 50, 50 and 20; two fit into 2.5 s
    crops = {start: frames["long"][start : start + 100].mean(dim=0) for start in (0, 50, 100)}
    crops[150] = frames["long"][150:].mean(dim=0)
    met = set()
    for index in range(60):
        layers, labels = head.batch(source, train, index)
        by_class = {int(label): layers[:, place] for place, label in enumerate(labels)}
        torch.testing.assert_close(by_class[1], frames["short"].mean(dim=0))
        met |= {start for start, crop in crops.items() if torch.allclose(by_class[0], crop, atol=1e-5)}
    assert met == set(crops)
    again = PooledLinear({"batch": 2, "crop_seconds": 2.5})
    assert torch.equal(head.batch(source, train, 5)[0], again.batch(source, train, 5)[0])
    assert source.reads.count("blocks") <= 5


def test_uar_weighs_classes_alike() -> None:
    source, train = corpus(60)
    state = PooledLinear({"batch": 4}).learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    # always "a", which is 40 of 60
    state |= {"linear.weight": torch.zeros_like(state["linear.weight"]), "linear.bias": torch.tensor([1.0, 0, 0])}
    assert PooledLinear({"batch": 4}).dev(state, source, train).metric == pytest.approx(100 * 40 / 60)
    assert PooledLinear({"batch": 4, "select": "uar"}).dev(state, source, train).metric == pytest.approx(100 / 3)


def test_of_equal_logits_the_first_class_is_taken() -> None:
    source, train = corpus(6)
    head = PooledMLP({"batch": 4})
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    state |= {"linear.weight": torch.zeros_like(state["linear.weight"]), "linear.bias": torch.tensor([0.0, 1.0, 1.0])}
    assert {row["label"] for row in head.predict(state, source, train)} == {"b"}


def test_a_label_that_was_not_in_training_is_refused_by_name() -> None:
    source, train = corpus(6)
    head = PooledLinear({"batch": 4})
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    strange = labelled({"train0": "a", "train1": "fear"}, name="emo_de")
    for use in (lambda: head.dev(state, source, strange), lambda: list(head.predict(state, source, strange))):
        with pytest.raises(UserError, match="'fear' for train1 in emo_de"):
            use()
    few = labelled({"train0": "c"}, name="few")
    assert len(list(head.predict(state, source, few))) == 1


def test_one_class_is_no_task() -> None:
    source, _ = corpus(6)
    with pytest.raises(UserError, match="two classes or more wanted in train"):
        PooledLinear({"batch": 4}).learner(source, labelled({"train0": "a", "train1": "a"}), [TrialSpec(1e-3, 0)])


def test_an_utterance_level_upstream_is_one_frame() -> None:
    source, train = corpus(12, frames=1)
    one = Source({u.id: source.frames(u.id)[:1] for u in train.utterances}, level="utterance")
    head = PooledLinear({"batch": 12, "crop_seconds": 1.0})
    layers, _ = head.batch(one, train, 0)
    assert layers.shape == (L, 12, D) and "blocks" not in one.reads and one.level in head.accepts


def test_a_seed_is_a_trials_own_start() -> None:
    source, train = corpus(6)
    specs = [TrialSpec(1e-3, 0), TrialSpec(1e-4, 0), TrialSpec(1e-3, 1)]
    learner = PooledLinear({"batch": 4}).learner(source, train, specs)
    a, b, c = (learner.state(k)["projector.weight"] for k in range(3))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (256, D) and float(a.abs().max()) <= D**-0.5


@pytest.mark.parametrize("options", [{}, {"batch": 0}, {"batch": 4, "crop_seconds": 0.5}, {"batch": 4, "crops": 1}])
def test_options_are_checked(options) -> None:
    with pytest.raises(ValueError, match="validation error"):
        PooledLinear(options)
