"""The ASV heads against s3prl's own modules, and what is theirs alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from downstreams.asv import MIN_FRAMES, Cosine, XVector, XVectorNet, XVectorOptions, at_least
from harness.contracts import SplitData, Trial, TrialSpec, Utterance

OPTIONS = {"crop_seconds": 0.4, "batch": 4}


class Source:
    """Random features by id."""

    num_layers, dim, level, stride = 3, 6, "frame", 320

    def __init__(self, lengths: dict[str, int]):
        self._frames = {
            name: torch.randn(n, 3, 6, generator=torch.Generator().manual_seed(i))
            for i, (name, n) in enumerate(lengths.items())
        }

    def frames(self, utterance_id: str) -> Tensor:
        return self._frames[utterance_id]

    def mean(self, utterance_id: str) -> Tensor:
        return self._frames[utterance_id].mean(0)


def utterance(name: str, speaker: str) -> Utterance:
    return Utterance(name, "c", "s", None, "", 0, 1, 16000, speaker, "sure", "", "", "", "", "", "", "", name)


@pytest.fixture
def split() -> tuple[Source, SplitData]:
    names = [f"{s}{i}" for s in "abc" for i in range(4)]
    source = Source({name: 40 + 3 * i for i, name in enumerate(names)})
    trials = [Trial("t0", "a0", "a1", True), Trial("t1", "a0", "b0", False), Trial("t2", "b1", "b2", True)]
    return source, SplitData("x", [utterance(n, n[0]) for n in names], trials)


def s3prl_twin(net: XVectorNet, classes: int):
    """s3prl's own connector, model and loss carrying our weights."""
    from upstreams import s3prl_bridge  # noqa: F401  its shims let s3prl import

    # isort: split
    from s3prl.downstream.sv_voxceleb1.model import AMSoftmaxLoss, Model

    model = Model(
        512, 1500, "SP", "XVector", "UtteranceExtractor", {"agg_dim": 1500, "dropout_p": 0.0, "batch_norm": False}
    )
    for ours, theirs in zip(net.frames, model.framelevel_feature_extractor.module, strict=True):
        theirs.kernel.load_state_dict(ours.state_dict())
    model.utterancelevel_feature_extractor.linear1.load_state_dict(net.linear1.state_dict())
    model.utterancelevel_feature_extractor.linear2.load_state_dict(net.linear2.state_dict())
    loss = AMSoftmaxLoss(512, classes, s=30.0, m=0.4)
    loss.W.data.copy_(net.speakers.data)
    return model, loss


def test_the_same_weights_give_s3prls_embedding_and_loss() -> None:
    torch.manual_seed(0)
    net = XVectorNet(3, 6, 5, XVectorOptions(**OPTIONS))
    model, loss = s3prl_twin(net, 5)
    frames, labels = torch.randn(4, 60, 3, 6), torch.tensor([0, 4, 2, 2])
    mixed = net.projector(net.featurizer(frames))
    mask = torch.zeros(4, 60 - 14)
    torch.testing.assert_close(net.embed(frames, [60] * 4), model.inference(mixed, mask), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        net.loss(frames, [60] * 4, labels), loss(model(mixed, mask), labels), rtol=1e-4, atol=1e-5
    )


def test_the_featurizer_is_s3prls_weighted_sum() -> None:
    from upstreams import s3prl_bridge  # noqa: F401

    # isort: split
    from s3prl.upstream.interfaces import Featurizer as Theirs

    ours = XVectorNet(3, 6, 2, XVectorOptions(**OPTIONS)).featurizer
    ours.weights.data = torch.tensor([0.3, -1.0, 2.0])
    theirs = Theirs.__new__(Theirs)
    torch.nn.Module.__init__(theirs)
    theirs.weights, theirs.normalize, theirs.layer_num = ours.weights, False, 3
    layers = torch.randn(2, 7, 3, 6)
    torch.testing.assert_close(ours(layers), theirs._weighted_sum([layers[:, :, i] for i in range(3)]))


def test_padding_changes_no_embedding() -> None:
    net = XVectorNet(3, 6, 5, XVectorOptions(**OPTIONS))
    short = torch.randn(1, 30, 3, 6)
    padded = torch.cat([short, torch.full((1, 25, 3, 6), 7.0)], dim=1)
    together = net.embed(torch.cat([padded, torch.randn(1, 55, 3, 6)]), [30, 55])[:1]
    torch.testing.assert_close(net.embed(short, [30]), together, rtol=1e-5, atol=1e-6)


def test_a_short_clip_is_repeated_and_scored() -> None:
    frames = torch.arange(5.0)[:, None]
    assert at_least(frames, MIN_FRAMES)[:, 0].tolist() == [i % 5 for i in range(20)]
    assert at_least(torch.ones(MIN_FRAMES, 1), MIN_FRAMES).shape == (MIN_FRAMES, 1)
    net = XVectorNet(1, 2, 3, XVectorOptions(**OPTIONS))
    assert torch.isfinite(net.embed(torch.randn(1, MIN_FRAMES, 1, 2), [MIN_FRAMES])).all()


def test_batches_are_pure_and_cover_every_clip_once_an_epoch(split) -> None:
    source, data = split
    head = XVector(OPTIONS)
    first, again = head.batch(source, data, 1), head.batch(source, data, 1)
    assert torch.equal(first[0], again[0]) and first[1] == again[1] == [20] * 4
    labels = torch.cat([head.batch(source, data, i)[2] for i in range(3)])
    assert sorted(labels.tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    assert not torch.equal(head.batch(source, data, 0)[0], head.batch(source, data, 3)[0])


def test_crops_start_everywhere_they_fit(split) -> None:
    source, data = split
    head = XVector({"crop_seconds": 0.4, "batch": 12})
    starts = set()
    for index in range(200):
        frames, _, _ = head.batch(source, data, index)
        whole = source.frames("a0")
        starts |= {s for s in range(21) for crop in frames if torch.equal(crop, whole[s : s + 20])}
    assert min(starts) == 0 and max(starts) == 20


def test_scores_are_cosines_of_single_utterances(split) -> None:
    source, data = split
    head = XVector(OPTIONS)
    learner = head.learner(source, data, [TrialSpec(1e-3, 0)])
    scores = {row["id"]: row["score"] for row in head.predict(learner.state(0), source, data)}
    net = learner.nets[0].eval()
    with torch.no_grad():
        a, b = (net.embed(source.frames(i)[None], [len(source.frames(i))])[0] for i in ("a0", "b0"))
    assert scores["t1"] == pytest.approx(float(torch.cosine_similarity(a, b, dim=0)), abs=1e-5)
    assert set(scores) == {"t0", "t1", "t2"}


def test_a_seed_is_a_trials_own_start(split) -> None:
    source, data = split
    learner = XVector(OPTIONS).learner(source, data, [TrialSpec(1e-3, 0), TrialSpec(1e-4, 0), TrialSpec(1e-3, 1)])
    a, b, c = (learner.state(k)["linear1.weight"] for k in range(3))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_cosine_compares_means_of_evenly_mixed_layers(split) -> None:
    source, data = split
    scores = {row["id"]: row["score"] for row in Cosine({}).predict({}, source, data)}
    a, b = (source.frames(i).mean((0, 1)).numpy() for i in ("b1", "b2"))
    assert scores["t2"] == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-5)


def test_dev_scores_by_eer_with_a_loss_that_breaks_ties(split) -> None:
    source, data = split
    score = Cosine({}).dev({}, source, data)
    assert score.key == score.metric and 0 <= score.metric <= 100 and score.loss > 0
