"""Every SUPERB head beside s3prl's own modules with the same weights, at SUPERB's sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from downstreams import stacked
from downstreams.asv import CONTEXT, XVectorNet, XVectorOptions
from downstreams.sequence import LinearCTCLearner
from downstreams.sequence_nets import BLSTM, LinearCTCNet, SequenceBatch
from downstreams.spec_augment import spec_augment
from downstreams.utterance import PooledLearner, PooledNet
from harness import ctc
from upstreams import s3prl_bridge  # noqa: F401  its shims let s3prl import

# isort: split
from s3prl.downstream.asr.model import RNNs
from s3prl.downstream.model import FrameLevel, UtteranceLevel
from s3prl.downstream.specaug import SpecAug
from s3prl.downstream.sv_voxceleb1.model import AMSoftmaxLoss, Model
from s3prl.upstream.interfaces import Featurizer as TheirFeaturizer

LAYERS, DIM = 13, 768
FRAMES = [49, 31, 18]
SPECAUG = {
    "time_warp_window": 5, "freq_mask_width_range": (0, 50), "num_freq_mask": 4, "time_mask_width_range": (0, 40),
    "num_time_mask": 2,
}  # fmt: skip
"""`specaug` of s3prl's downstream/asr/config.yaml; the rest are its defaults."""


def features() -> list[Tensor]:
    """(T, L, D) of each utterance."""
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(count, LAYERS, DIM, generator=generator) for count in FRAMES]


def s3prl_mixed(ours: nn.Module, utterances: list[Tensor]) -> list[Tensor]:
    """s3prl's weighted sum with our weights, (T, D) each: what its experts are given."""
    theirs = TheirFeaturizer.__new__(TheirFeaturizer)
    nn.Module.__init__(theirs)
    theirs.weights, theirs.normalize, theirs.layer_num = ours.weights, False, LAYERS
    return [theirs._weighted_sum([utterance[:, layer] for layer in range(LAYERS)]) for utterance in utterances]


def spread(net: nn.Module) -> None:
    """Unequal layer weights: equal ones would hide an order gone wrong."""
    net.featurizer.weights.data = torch.linspace(-1.0, 1.5, LAYERS)


def close(name: str, ours: Tensor, theirs: Tensor) -> None:
    print(f"{name}: largest difference {float((ours - theirs).abs().max()):.2g}")
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("task", "classes"), [("KS", 12), ("SID", 1251), ("ER", 4)])
def test_pooled_linear(task: str, classes: int) -> None:
    """s3prl averages projected frames; the projection of the average is the same number."""
    torch.manual_seed(0)
    net = PooledNet(LAYERS, DIM, classes, 256, hidden=False)
    spread(net)
    projector, model = nn.Linear(DIM, 256), UtteranceLevel(256, classes, pooling="MeanPooling")
    projector.load_state_dict(net.projector.state_dict())
    model.post_net.linear.load_state_dict(net.linear.state_dict())
    utterances, labels = features(), torch.tensor([0, classes - 1, 2])
    padded = nn.utils.rnn.pad_sequence(s3prl_mixed(net.featurizer, utterances), batch_first=True)
    theirs, _ = model(projector(padded), torch.IntTensor(FRAMES))
    means = torch.stack([utterance.mean(dim=0) for utterance in utterances])
    close(f"{task} logits", net(means), theirs)
    learner = PooledLearner([net.state_dict()] * 2, "cpu", {})
    loss = nn.CrossEntropyLoss()(theirs, labels)
    close(f"{task} loss", learner.losses((means.transpose(0, 1), labels), [0, 1]), loss.expand(2))


def test_linear_ctc() -> None:
    """PR: 71 phones and 3 specials, blank 0."""
    torch.manual_seed(0)
    symbols = ctc.Symbols("superb_phones")
    assert symbols.size == 74
    net = LinearCTCNet(LAYERS, DIM, symbols.size, 256)
    spread(net)
    projector, model = nn.Linear(DIM, 256), FrameLevel(256, symbols.size)
    projector.load_state_dict(net.projector.state_dict())
    model.linear.load_state_dict(net.linear.state_dict())
    utterances = features()
    padded = nn.utils.rnn.pad_sequence(s3prl_mixed(net.featurizer, utterances), batch_first=True)
    theirs, lengths = model(projector(padded), torch.IntTensor(FRAMES))
    batch = ends_to_end(utterances, symbols, ["HH AH0 L OW1 | W ER1 L D", "N OW1", "AA1 " * 30])
    # only own frames: s3prl's PR expert also decodes the padded ones, whose logits are the bias alone
    ours = net(batch.layers, batch.frames)
    for i, count in enumerate(FRAMES):
        close("PR logits", ours[i, :count], theirs[i, :count])
        assert ctc.greedy(ours[i, :count]) == s3prl_greedy(theirs[i, :count])
    expected = s3prl_loss(theirs, lengths, batch)
    close("PR loss", net.loss(batch), expected)
    learner = LinearCTCLearner([net.state_dict()] * 2, "cpu", {})
    close("PR loss, stacked", learner.losses(batch, [0, 1]), expected.expand(2))


def s3prl_twin_of_blstm(net: BLSTM, symbols: int, dropout: float) -> tuple[nn.Linear, RNNs]:
    """The projector and model of s3prl's ASR expert, carrying our weights."""
    projector = nn.Linear(DIM, 1024)
    projector.load_state_dict(net.projector.state_dict())
    model = RNNs(
        1024, symbols, 320, module="LSTM", bidirection=True, dim=[1024, 1024], dropout=[dropout] * 2,
        layer_norm=[False] * 2, proj=[False] * 2, sample_rate=[1, 1], sample_style="concat", total_rate=-1,
    )  # fmt: skip
    for ours, theirs in zip(net.rnns, model.rnns, strict=True):
        theirs.layer.load_state_dict(ours.state_dict())
    model.linear.load_state_dict(net.linear.state_dict())
    return projector, model


def test_blstm_ctc() -> None:
    """ASR: 28 letters and 4 specials, two BLSTMs of 1024 a direction; scored, then training with augmentation."""
    torch.manual_seed(0)
    symbols = ctc.Symbols("letters")
    assert symbols.size == 32
    net = BLSTM(LAYERS, DIM, symbols.size, 1024, 1024, 2, 0.2, True).eval()
    spread(net)
    projector, model = s3prl_twin_of_blstm(net, symbols.size, 0.2)
    model.eval()
    utterances = features()
    mixed = s3prl_mixed(net.featurizer, utterances)
    batch = ends_to_end(utterances, symbols, ["HELLO WORLD", "NO", "IT'S FAR TOO LONG FOR ITS FRAMES"])
    theirs, lengths = model(projector(nn.utils.rnn.pad_sequence(mixed, batch_first=True)), torch.IntTensor(FRAMES))
    ours = net(batch.layers, batch.frames)
    close("ASR logits", ours, theirs)
    assert [ctc.greedy(o[:n]) for o, n in zip(ours, FRAMES, strict=True)] == [
        s3prl_greedy(t[:n]) for t, n in zip(theirs, FRAMES, strict=True)
    ]
    close("ASR loss", net.loss(batch), s3prl_loss(theirs, lengths, batch))

    net.train()
    model.train()
    torch.manual_seed(7)
    expected = augmented_by_s3prl(mixed)
    theirs, lengths = model(projector(nn.utils.rnn.pad_sequence(expected, batch_first=True)), torch.IntTensor(FRAMES))
    torch.manual_seed(7)
    close("ASR training loss", net.loss(batch), s3prl_loss(theirs, lengths, batch))


def augmented_by_s3prl(mixed: list[Tensor]) -> list[Tensor]:
    found, _ = SpecAug(**SPECAUG)([one.detach().clone() for one in mixed])
    return found


def test_spec_augment() -> None:
    mixed = [torch.randn(count, DIM) for count in (120, 60, 9)]
    torch.manual_seed(11)
    theirs = augmented_by_s3prl(mixed)
    torch.manual_seed(11)
    ours = spec_augment(nn.utils.rnn.pad_sequence(mixed, batch_first=True), [120, 60, 9])
    for one, other in zip(ours, theirs, strict=True):
        close("SpecAugment", one[: len(other)], other)
    assert (ours == 0).float().mean() > 0.05 and not torch.equal(ours[0], mixed[0])


def test_xvector() -> None:
    """ASV: AM-Softmax over VoxCeleb1's 1211 training speakers.

    Equal lengths: s3prl's statistics of a shorter utterance take in one output of the padding."""
    torch.manual_seed(0)
    net = XVectorNet(LAYERS, DIM, 1211, XVectorOptions(crop_seconds=8.0, batch=10))
    spread(net)
    aggregation = {"agg_dim": 1500, "dropout_p": 0.0, "batch_norm": False}
    model = Model(512, 1500, "SP", "XVector", "UtteranceExtractor", aggregation)
    loss = AMSoftmaxLoss(512, 1211, s=30.0, m=0.4)
    for ours, theirs in zip(net.frames, model.framelevel_feature_extractor.module, strict=True):
        theirs.kernel.load_state_dict(ours.state_dict())
    for name in ("linear1", "linear2"):
        getattr(model.utterancelevel_feature_extractor, name).load_state_dict(getattr(net, name).state_dict())
    loss.W.data.copy_(net.speakers.data)
    frames = torch.stack([utterance[:18].repeat(2, 1, 1) for utterance in features()])
    mixed = net.projector(torch.stack(s3prl_mixed(net.featurizer, list(frames))))
    mask, labels = torch.zeros(3, 36 - CONTEXT), torch.tensor([0, 1210, 600])
    close("ASV embedding", net.embed(frames, [36] * 3), model.inference(mixed, mask))
    close("ASV loss", net.loss(frames, [36] * 3, labels), loss(model(mixed, mask), labels))


def test_featurizer() -> None:
    """A network's own, and that of stacked trials."""
    net = PooledNet(LAYERS, DIM, 2, 4, hidden=False)
    spread(net)
    for utterance in features():
        theirs = s3prl_mixed(net.featurizer, [utterance])[0]
        close("featurizer", net.featurizer(utterance), theirs)
        weights = torch.stack([torch.zeros(LAYERS), net.featurizer.weights])
        close("featurizer, stacked", stacked.mix(utterance.transpose(0, 1), weights)[1], theirs)


def ends_to_end(utterances: list[Tensor], symbols: ctc.Symbols, texts: list[str]) -> SequenceBatch:
    return SequenceBatch(torch.cat(utterances).transpose(0, 1), FRAMES, [symbols.encode(text) for text in texts])


def s3prl_loss(logits: Tensor, lengths: Tensor, batch: SequenceBatch) -> Tensor:
    """As the CTC and ASR experts compute it; both are configured with zero_infinity."""
    targets = nn.utils.rnn.pad_sequence([torch.IntTensor(t) for t in batch.targets], batch_first=True)
    found: Tensor = nn.CTCLoss(blank=0, zero_infinity=True)(
        logits.log_softmax(dim=-1).transpose(0, 1),
        targets,
        torch.as_tensor(lengths),
        torch.IntTensor([len(t) for t in batch.targets]),
    )
    return found


def s3prl_greedy(logits: Tensor) -> list[int]:
    """The line of s3prl's ASR expert, `_decode`."""
    found = logits.log_softmax(dim=-1).argmax(dim=-1).unique_consecutive()
    return list(found[found != 0].tolist())
