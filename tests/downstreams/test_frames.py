"""The frame heads: labels of frames at the boundaries, runs, trials together and alone, and unknown symbols."""

from __future__ import annotations

import pytest
import torch
from made_up_features import Source, labelled
from torch.nn import functional as F

from downstreams.catalogue import HEADS
from downstreams.frames import NO_CLASS, runs, symbols_of_frames
from harness.contracts import SplitData, TrialSpec
from harness.errors import UserError
from harness.metrics_frames import frame_accuracy
from harness.train import Plan, fit

L, D = 3, 6
NAMES = ["frame_linear", "frame_mlp"]
OPTIONS = {"batch": 4, "projector": 16}
PHONES = ["a", "b", "pau"]


def corpus(count: int = 10, name: str = "train", seed: int = 0) -> tuple[Source, SplitData]:
    """Runs of 2 to 4 frames of 20 ms, each symbol with a feature of its own in layer 2."""
    generator = torch.Generator().manual_seed(seed)
    frames, references = {}, {}
    for i in range(count):
        said = [p for p in torch.randint(0, 3, (4 + i % 3,), generator=generator).tolist() for _ in range(2 + i % 3)]
        x = 0.3 * torch.randn(len(said), L, D, generator=generator)
        x[torch.arange(len(said)), 2, torch.tensor(said)] += 3
        frames[f"{name}{i}"] = x
        references[f"{name}{i}"] = runs([PHONES[p] for p in said], 320)
    return Source(frames), labelled(references, {i: len(f) / 50 for i, f in frames.items()}, name)


def test_the_middle_of_a_frame_has_its_label() -> None:
    # middles at 10, 30, 50 and 70 ms: an end there leaves the frame to what follows; past the last end it is the last
    assert symbols_of_frames("a:0.01 b:0.0301 c:0.05", 4, 320) == ["b", "b", "c", "c"]
    assert symbols_of_frames("a:0.0101 b:0.03 c:0.0501", 4, 320) == ["a", "c", "c", "c"]
    assert symbols_of_frames("a:0.005 b:1", 2, 160) == ["b", "b"]
    assert symbols_of_frames("a:0.012 b:1", 3, 160) == ["a", "b", "b"]
    assert symbols_of_frames("a:9", 2, 320) == ["a", "a"]


def test_runs_end_with_their_last_frame() -> None:
    assert runs(["a", "a", "b", "a"], 320) == "a:0.0400 b:0.0600 a:0.0800"
    assert runs(["b"], 161) == "b:0.0101"
    said = ["a", "a", "b", "pau", "pau", "a"]
    assert symbols_of_frames(runs(said, 160), 6, 160) == said


@pytest.mark.parametrize("name", NAMES)
def test_a_head_learns(name) -> None:
    source, train = corpus(16)
    dev_source, dev = corpus(8, "dev", 1)
    head = HEADS.load(name)(OPTIONS)
    specs = [TrialSpec(3e-2, 0)]
    learner = head.learner(source, train, specs)
    outcome = fit(
        learner, specs, lambda step, _: head.batch(source, train, step),
        lambda k: head.dev(learner.state(k), dev_source, dev), Plan(steps=60, eval_every=30, clip=1.0),
    )[0]  # fmt: skip
    assert outcome.best[1].metric > 95 and outcome.best[1].key == -outcome.best[1].metric
    assert outcome.best[1].loss < 0.3
    found = list(head.predict(outcome.state, dev_source, dev))
    assert [row["id"] for row in found] == [u.id for u in dev.utterances]
    score = frame_accuracy([row["text"] for row in found], [dev.references[row["id"]] for row in found])
    assert score == outcome.best[1].metric


@pytest.mark.parametrize("name", NAMES)
def test_trials_side_by_side_are_trials_alone(name) -> None:
    source, train = corpus()
    specs = [TrialSpec(1e-2, 0), TrialSpec(1e-3, 1)]

    def train_with(chosen: list[TrialSpec]):
        head = HEADS.load(name)(OPTIONS)
        learner = head.learner(source, train, chosen)
        return fit(
            learner, chosen, lambda step, _: head.batch(source, train, step),
            lambda k: head.dev(learner.state(k), source, train), Plan(steps=20, eval_every=20, clip=0.5),
        )  # fmt: skip

    together = train_with(specs)
    for k, spec in enumerate(specs):
        for key, value in train_with([spec])[0].last.items():
            torch.testing.assert_close(together[k].last[key], value, atol=1e-4, rtol=0)
    changed = [key for key, value in together[0].last.items() if not torch.equal(value, together[1].last[key])]
    assert set(changed) == set(together[0].last) - {"classes"}


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_that_of_the_network_over_all_frames(name) -> None:
    source, train = corpus()
    head = HEADS.load(name)(OPTIONS)
    learner = head.learner(source, train, [TrialSpec(1e-2, 0), TrialSpec(1e-2, 1)])
    layers, labels = head.batch(source, train, 1)
    for k, loss in enumerate(learner.losses((layers, labels), [0, 1])):
        net = head.net(L, D, len(PHONES))
        net.load_state_dict({key: value for key, value in learner.state(k).items() if key != "classes"})
        torch.testing.assert_close(F.cross_entropy(net(layers.transpose(0, 1)), labels), loss)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_free_of_the_other_utterances(name) -> None:
    source, train = corpus()
    head = HEADS.load(name)(OPTIONS)
    state = head.learner(source, train, [TrialSpec(1e-2, 0)]).state(0)
    together = list(head._logits(state, source, train))
    for utterance, logits in zip(train.utterances, together, strict=True):
        alone = next(head._logits(state, source, SplitData("one", [utterance])))
        assert logits.shape == (len(source.frames(utterance.id)), len(PHONES)) and torch.equal(alone, logits)


def test_batches_are_pure_and_an_epoch_has_every_utterance() -> None:
    source, train = corpus()
    head, again = (HEADS.load("frame_linear")(OPTIONS) for _ in range(2))
    epochs = [[head.batch(source, train, 3 * e + i) for i in range(3)] for e in range(2)]
    for epoch in epochs:
        assert sum(len(labels) for _, labels in epoch) == sum(len(source.frames(u.id)) for u in train.utterances)
        for layers, labels in epoch:
            assert layers.shape == (L, len(labels), D)
            # the feature that is large says which symbol it is
            assert layers[2, :, : len(PHONES)].argmax(dim=1).equal(labels)
    assert all(torch.equal(a, b) for a, b in zip(again.batch(source, train, 4), epochs[1][1], strict=True))
    assert not all(a[0].shape == b[0].shape and torch.equal(a[0], b[0]) for a, b in zip(*epochs, strict=True))


def test_a_symbol_that_training_lacks_is_wrong_and_no_error() -> None:
    source, train = corpus()
    head = HEADS.load("frame_linear")(OPTIONS)
    state = head.learner(source, train, [TrialSpec(1e-2, 0)]).state(0)
    name = train.utterances[0].id
    half = labelled({name: train.references[name]})
    new = labelled({name: "zz:9"})
    assert head.dev(state, source, new).metric == 0.0 and head.dev(state, source, new).loss == 0.0
    both = SplitData("dev", half.utterances, [], {name: train.references[name].replace("a:", "zz:")})
    kept = [p for p in symbols_of_frames(both.references[name], len(source.frames(name)), 320) if p != "zz"]
    logits = next(head._logits(state, source, half))
    labels = torch.tensor([PHONES.index(p) if p in PHONES else NO_CLASS
                           for p in symbols_of_frames(both.references[name], len(logits), 320)])  # fmt: skip
    assert 0 < len(kept) < len(logits)
    assert head.dev(state, source, both).loss == pytest.approx(float(F.cross_entropy(logits, labels)))


def test_a_reference_must_be_there_and_read_as_labels() -> None:
    source, train = corpus()
    head = HEADS.load("frame_linear")(OPTIONS)
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    with pytest.raises(UserError, match="symbol:end"):
        head.learner(source, labelled({"train0": "a b"}), [TrialSpec(1e-3, 0)])
    del train.references["train1"]
    with pytest.raises(UserError, match="train1 has none"):
        head.dev(state, source, train)


def test_only_frames_will_do_and_options_are_checked() -> None:
    for name in NAMES:
        head = HEADS.load(name)(OPTIONS)
        assert head.name == name and head.accepts == ("frame",) and head.reads == "frames"
        with pytest.raises(ValueError, match="validation error"):
            HEADS.load(name)({"batch": 4, "symbols": "letters"})
