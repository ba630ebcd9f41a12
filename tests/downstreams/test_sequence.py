"""The CTC heads: padding changes nothing, batches are pure, what is too short is told, and what is decoded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_up_features import Source, labelled

from downstreams.catalogue import HEADS
from downstreams.sequence_nets import padded
from harness.contracts import SplitData, TrialSpec
from harness.errors import UserError
from harness.train import Plan, fit

L, D = 3, 12
OPTIONS: dict[str, dict[str, Any]] = {
    "linear_ctc": {"symbols": "phones39", "batch": 4, "projector": 16},
    "conv_ctc": {"symbols": "phones39", "batch": 4, "projector": 16},
    "blstm_ctc": {"symbols": "phones39", "batch": 4, "projector": 16, "hidden": 12, "spec_augment": False},
}
PHONES = ["AA", "B", "K", "S"]


def corpus(count: int = 12, name: str = "train", seed: int = 0) -> tuple[Source, SplitData]:
    """Each phone is five frames with a feature of its own in layer 2."""
    generator = torch.Generator().manual_seed(seed)
    frames, references, seconds = {}, {}, {}
    for i in range(count):
        said = torch.randint(0, 4, (2 + i % 4,), generator=generator)
        x = 0.3 * torch.randn(5 * len(said), L, D, generator=generator)
        for at, phone in enumerate(said):
            x[5 * at + 1 : 5 * at + 4, 2, phone] += 3
        frames[f"{name}{i}"] = x
        references[f"{name}{i}"] = " | ".join(PHONES[p] for p in said)
        seconds[f"{name}{i}"] = len(x) / 50
    return Source(frames), labelled(references, seconds, name)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_head_learns_to_recognise(name) -> None:
    source, train = corpus(24)
    dev_source, dev = corpus(12, "dev", 1)
    head = HEADS.load(name)(OPTIONS[name] | ({"hidden": 24, "dropout": 0.0} if name == "blstm_ctc" else {}))
    specs = [TrialSpec(2e-2, 0)]
    learner = head.learner(source, train, specs)
    plan = Plan(steps=240 if name == "blstm_ctc" else 120, eval_every=60, clip=5.0)
    outcome = fit(
        learner, specs, lambda step, _: head.batch(source, train, step),
        lambda k: head.dev(learner.state(k), dev_source, dev), plan,
    )[0]  # fmt: skip
    assert outcome.best[1].metric < 15 and outcome.best[1].key == outcome.best[1].metric
    assert outcome.best[1].loss < 1
    found = {row["id"]: row["text"] for row in head.predict(outcome.state, dev_source, dev)}
    assert list(found) == [u.id for u in dev.utterances]
    exact = sum(found[i] == reference.replace(" | ", " ") for i, reference in dev.references.items())
    assert exact >= 8 and set(" ".join(found.values()).split()) <= set(PHONES)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_padding_changes_no_logits(name) -> None:
    source, _ = corpus()
    head = HEADS.load(name)(OPTIONS[name])
    torch.manual_seed(0)
    net = head.net(L, D, 42).eval()
    ids = ["train0", "train3", "train1"]
    alone = [net(source.frames(i).transpose(0, 1), [len(source.frames(i))])[0] for i in ids]
    frames = [len(source.frames(i)) for i in ids]
    together = net(torch.cat([source.frames(i) for i in ids]).transpose(0, 1), frames)
    for one, whole, count in zip(alone, together, frames, strict=True):
        torch.testing.assert_close(one, whole[:count], rtol=1e-5, atol=1e-6)
    # and whatever stands in the padding
    mixed = padded(net.featurizer(torch.cat([source.frames(i) for i in ids])), frames)
    spoilt = mixed.clone()
    spoilt[0, frames[0] :] = 9.0
    torch.testing.assert_close(net.logits(spoilt, frames)[0, : frames[0]], net.logits(mixed, frames)[0, : frames[0]])


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_trials_side_by_side_are_trials_alone(name) -> None:
    """Dropout and augmentation included: every trial draws the same."""
    source, train = corpus()
    options = OPTIONS[name] | ({"spec_augment": True, "dropout": 0.5} if name == "blstm_ctc" else {})
    specs = [TrialSpec(1e-2, 0), TrialSpec(1e-3, 1)]
    plan = Plan(steps=20, eval_every=20, clip=0.5)

    def train_with(chosen: list[TrialSpec]):
        head = HEADS.load(name)(options)
        learner = head.learner(source, train, chosen)
        return fit(
            learner, chosen, lambda step, _: head.batch(source, train, step),
            lambda k: head.dev(learner.state(k), source, train), plan,
        )  # fmt: skip

    together = train_with(specs)
    for k, spec in enumerate(specs):
        for key, value in train_with([spec])[0].last.items():
            torch.testing.assert_close(together[k].last[key], value, atol=1e-4, rtol=0)


def test_batches_are_pure_of_like_length_and_cover_every_utterance() -> None:
    source, train = corpus(14)
    head, again = (HEADS.load("linear_ctc")(OPTIONS["linear_ctc"]) for _ in range(2))
    epoch = [head.batch(source, train, i) for i in range(4)]
    lengths = sorted(len(source.frames(u.id)) for u in train.utterances)
    assert sorted(n for batch in epoch for n in batch.frames) == lengths
    assert sorted(len(batch.frames) for batch in epoch) == [2, 4, 4, 4]
    assert max(max(batch.frames) - min(batch.frames) for batch in epoch) <= 5
    assert torch.equal(again.batch(source, train, 2).layers, epoch[2].layers)
    orders = {tuple(tuple(head.batch(source, train, 4 * e + i).frames) for i in range(4)) for e in range(6)}
    assert len(orders) > 1
    for batch in epoch:
        assert batch.layers.shape == (L, sum(batch.frames), D) and all(target[-1] == 1 for target in batch.targets)


def test_an_utterance_too_short_for_its_target_costs_nothing_and_is_counted() -> None:
    source, train = corpus(4)
    train.references["train0"] = " ".join(["AA"] * 10)
    head = HEADS.load("linear_ctc")(OPTIONS["linear_ctc"])
    learner = head.learner(source, train, [TrialSpec(1e-3, 0)])
    batch = head.batch(source, train, 0)
    assert head.too_short == {"train0"}
    loss = learner.losses(batch, [0])
    # eleven symbols and nine blanks between equals do not fit into ten frames
    place = batch.frames.index(10)
    net = head.net(L, D, 42)
    net.load_state_dict({k: v for k, v in learner.state(0).items() if k != "symbols"})
    batch.targets[place] = [2]
    assert torch.isfinite(loss).all() and float(net.loss(batch)) > float(loss)


def test_the_training_characters_go_with_the_state() -> None:
    source, _ = corpus(4)
    train = labelled({"train0": "ÇA VA", "train1": "OUI", "train2": "NON", "train3": "L'ÂNE"})
    head = HEADS.load("conv_ctc")(OPTIONS["conv_ctc"] | {"symbols": "train"})
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    other = HEADS.load("conv_ctc")(OPTIONS["conv_ctc"] | {"symbols": "train"})
    assert other._symbols_of(state).symbols == head._symbols.symbols
    dev = labelled({"train0": "ÇA", "train1": "ŒUF"}, name="dev")
    assert list(other.predict(state, source, dev)) == list(head.predict(state, source, dev))
    # what the symbols cannot spell is an error of recognition, not of the run; and has no loss
    only = SplitData("dev", dev.utterances[:1], [], dev.references)
    assert other.dev(state, source, dev).loss == pytest.approx(other.dev(state, source, only).loss)
    assert other.dev(state, source, dev).metric >= 50


def test_wer_is_of_the_whole_split(monkeypatch) -> None:
    source, _ = corpus(3)
    dev = labelled({"train0": "ONE TWO THREE", "train1": "FOUR"}, name="dev")
    head = HEADS.load("linear_ctc")(OPTIONS["linear_ctc"] | {"symbols": "letters"})
    state = head.learner(source, dev, [TrialSpec(1e-3, 0)]).state(0)
    said = iter(["ONE TWO", "FOUR FIVE"])
    monkeypatch.setattr("harness.ctc.Symbols.decode", lambda self, ids: next(said))
    assert head.dev(state, source, dev).metric == pytest.approx(50.0)


def test_a_reference_must_be_there_and_spelt() -> None:
    source, train = corpus(4)
    head = HEADS.load("linear_ctc")(OPTIONS["linear_ctc"])
    with pytest.raises(UserError, match="'QQ'"):
        head.learner(source, labelled({"train0": "AA QQ"}), [TrialSpec(1e-3, 0)])
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    del train.references["train1"]
    with pytest.raises(UserError, match="train1 has none"):
        head.dev(state, source, train)


def test_a_decoder_is_for_the_test_alone(monkeypatch) -> None:
    source, train = corpus(4)
    head = HEADS.load("linear_ctc")(OPTIONS["linear_ctc"] | {"decoder": {"lm": "lm.arpa", "beam": 7}})
    state = head.learner(source, train, [TrialSpec(1e-3, 0)]).state(0)
    given = []

    def beam(log_probs, symbols, **options):
        given.append(options)
        assert torch.allclose(log_probs.exp().sum(dim=1), torch.ones(len(log_probs)))
        return "AA"

    monkeypatch.setattr("harness.ctc.beam", beam)
    head.dev(state, source, train)
    assert not given
    assert [row["text"] for row in head.predict(state, source, train)] == ["AA"] * 4
    assert {str(options["lm"]) for options in given} == {"lm.arpa"} and {options["beam"] for options in given} == {7}


def test_only_frames_will_do() -> None:
    for name, options in OPTIONS.items():
        head = HEADS.load(name)(options)
        assert head.accepts == ("frame",) and head.reads == "frames"


@pytest.mark.parametrize("options", [{"batch": 4}, {"symbols": "letters", "batch": 4, "hidden": 3}])
def test_options_are_checked(options) -> None:
    with pytest.raises(ValueError, match="validation error"):
        HEADS.load("linear_ctc")(options)
