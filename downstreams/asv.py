"""Speaker verification heads: SUPERB's x-vector with AM-Softmax, and the training-free cosine.

Both give an embedding an utterance; a trial's score is the cosine of its two embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from downstreams import stacked
from downstreams.featurizer import Featurizer
from harness import metrics
from harness.contracts import SAMPLE_RATE, DevScore, FeatureSource, Level, SplitData, TrialSpec
from harness.progress import progress
from harness.train import step_seed

CONTEXT = 14
"""Frames that the TDNN's unpadded windows take off a sequence."""
MIN_FRAMES = CONTEXT + 2
"""Fewer leave no two outputs to take a standard deviation of."""


class XVectorOptions(BaseModel):
    """Sizes of s3prl's amsoftmax.yaml are the defaults; `crop_seconds` and `batch` are the preset's."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    crop_seconds: float
    batch: int
    dim: int = 512
    pooled_dim: int = 1500
    scale: float = 30.0
    margin: float = 0.4
    data_seed: int = 0


class TDNN(nn.Linear):
    """A time-delay layer: affine map of `context` frames `dilation` apart, then ReLU; no padding.

    (B, T, in) -> (B, T - (context - 1) * dilation, out). Weight layout (out, context * in), oldest frame first."""

    def __init__(self, in_dim: int, out_dim: int, context: int, dilation: int):
        super().__init__(in_dim * context, out_dim)
        self.context, self.dilation = context, dilation

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1] - (self.context - 1) * self.dilation
        if self.context > 1:
            x = torch.cat([x[:, i * self.dilation : i * self.dilation + length] for i in range(self.context)], dim=-1)
        return super().forward(x).relu()


class XVectorNet(nn.Module):
    """Layer mix, Linear, five TDNN layers, statistics pooling, two linear layers (SUPERB's ASV head)."""

    def __init__(self, num_layers: int, in_dim: int, classes: int, options: XVectorOptions):
        super().__init__()
        dim = options.dim
        self.featurizer = Featurizer(num_layers)
        self.projector = nn.Linear(in_dim, dim)
        self.frames = nn.Sequential(
            TDNN(dim, dim, 5, 1),
            TDNN(dim, dim, 3, 2),
            TDNN(dim, dim, 3, 3),
            TDNN(dim, dim, 1, 1),
            TDNN(dim, options.pooled_dim, 1, 1),
        )
        self.linear1 = nn.Linear(2 * options.pooled_dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.speakers = nn.Parameter(nn.init.xavier_normal_(torch.empty(dim, classes)))
        self.scale, self.margin = options.scale, options.margin

    def embed(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """(B, T, L, D) padded at the end, lengths in frames -> (B, dim), after the first linear layer and its ReLU.

        Padding has no effect: windows look at their own frames only, and the statistics take the valid outputs."""
        hidden = self.frames(self.projector(self.featurizer(frames)))
        valid = [hidden[i, : length - CONTEXT] for i, length in enumerate(lengths)]
        pooled = torch.stack([torch.cat([h.mean(dim=0), h.std(dim=0)]) for h in valid])
        embedding: Tensor = self.linear1(pooled)
        return embedding.relu()

    def loss(self, frames: Tensor, lengths: Sequence[int], labels: Tensor) -> Tensor:
        """AM-Softmax (Wang et al. 2018): cross-entropy over s * (cos - m * [own class])."""
        hidden = self.linear2(self.embed(frames, lengths)).relu()
        cosine = F.normalize(hidden, dim=1) @ F.normalize(self.speakers, dim=0)
        margin = self.margin * F.one_hot(labels, cosine.shape[1])
        return F.cross_entropy(self.scale * (cosine - margin), labels)


class XVectorLearner(nn.Module):
    """K x-vectors side by side on the same crops. Implements `contracts.Learner`.

    They run one after another: the matrices are large enough that stacking them (torch.func.vmap over the weights) took
    as long, 0.87 s of processor time against 0.82 s for three trials."""

    def __init__(self, nets: Sequence[XVectorNet]):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def trial_parameters(self, k: int) -> list[Tensor]:
        return list(self.nets[k].parameters())

    def losses(self, batch: tuple[Tensor, list[int], Tensor], active: Sequence[int]) -> Tensor:
        frames, lengths, labels = batch
        device = next(self.parameters()).device
        frames, labels = frames.to(device), labels.to(device)
        return torch.stack([self.nets[k].loss(frames, lengths, labels) for k in active])  # type: ignore[operator]

    def state(self, k: int) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.nets[k].state_dict().items()}

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        self.nets[k].load_state_dict(dict(state))


class XVector:
    """SUPERB's x-vector. Implements `contracts.Head`.

    Crops are taken after the encoder, whose context is the whole utterance; s3prl crops the wave first."""

    name = "xvector"
    trainable = True
    reads: Literal["frames", "means"] = "frames"
    accepts: tuple[Level, ...] = ("frame",)

    def __init__(self, options: dict[str, Any], device: str = "cpu"):
        self.options = XVectorOptions.model_validate(options)
        self.device = device

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> XVectorLearner:
        classes = len(_speakers(train))
        nets = stacked.seeded(lambda: XVectorNet(source.num_layers, source.dim, classes, self.options), specs)
        return XVectorLearner(nets).to(self.device)

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> tuple[Tensor, list[int], Tensor]:
        """Crops (B, T, L, D), lengths in frames, speaker labels (B,). Every epoch is a fresh permutation."""
        options, count = self.options, len(train.utterances)
        per_epoch = -(-count // options.batch)
        epoch, position = divmod(index, per_epoch)
        order = np.random.default_rng(step_seed("order", options.data_seed, epoch)).permutation(count)
        chosen = [train.utterances[i] for i in order[position * options.batch : (position + 1) * options.batch]]
        generator = np.random.default_rng(step_seed("crop", options.data_seed, index))
        crop = max(MIN_FRAMES, round(options.crop_seconds * SAMPLE_RATE / source.stride))
        crops = []
        for utterance in chosen:
            frames = at_least(source.frames(utterance.id), MIN_FRAMES)
            start = int(generator.integers(0, max(1, len(frames) - crop + 1)))
            crops.append(frames[start : start + crop])
        speakers = _speakers(train)
        labels = torch.tensor([speakers[u.speaker] for u in chosen])
        padded = nn.utils.rnn.pad_sequence(crops, batch_first=True)
        return padded, [len(c) for c in crops], labels

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore:
        return verification_score(list(self.predict(state, source, dev)), dev)

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[dict[str, Any]]:
        net = XVectorNet(source.num_layers, source.dim, state["speakers"].shape[1], self.options)
        net.load_state_dict(dict(state))
        net = net.to(self.device).eval()

        def embed(utterance_id: str) -> Tensor:
            frames = at_least(source.frames(utterance_id), MIN_FRAMES)[None].to(self.device)
            return net.embed(frames, [frames.shape[1]])[0].cpu()

        return score_trials(embed, split)


class Cosine:
    """No training: the mean over time, layers mixed evenly, compared by cosine. Implements `contracts.Head`.

    The ICL paper's scoring. An upstream with several layers gets SUPERB's featurizer as it starts: equal weights."""

    name = "cosine"
    trainable = False
    reads: Literal["frames", "means"] = "means"
    accepts: tuple[Level, ...] = ("frame", "utterance")

    def __init__(self, options: dict[str, Any], device: str = "cpu"):
        if options:
            raise ValueError(f"the cosine head has no options, found {sorted(options)}")

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> Any:
        raise TypeError("the cosine head is training-free")

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> Any:
        raise TypeError("the cosine head is training-free")

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore:
        return verification_score(list(self.predict(state, source, dev)), dev)

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[dict[str, Any]]:
        return score_trials(lambda utterance_id: source.mean(utterance_id).mean(dim=0), split)


def at_least(frames: Tensor, minimum: int) -> Tensor:
    """Frames (T, ...) repeated from the start until there are `minimum`: a clip too short for the x-vector's windows
    is scored, not dropped."""
    if len(frames) >= minimum:
        return frames
    return frames.repeat(-(-minimum // len(frames)), *[1] * (frames.dim() - 1))


@torch.no_grad()
def score_trials(embed: Any, split: SplitData) -> Iterator[dict[str, Any]]:
    """Cosine of the two embeddings of every trial. Five decimals: what a cosine in half precision can carry."""
    needed = sorted({i for trial in split.trials for i in (trial.enrol, trial.test)})
    ids = progress(needed, f"embeddings of {split.name}", len(needed))
    vectors = {i: F.normalize(embed(i).float(), dim=0).double().numpy() for i in ids}
    for trial in split.trials:
        yield {"id": trial.id, "score": round(float(vectors[trial.enrol] @ vectors[trial.test]), 5)}


def verification_score(predictions: Iterable[Mapping[str, Any]], split: SplitData) -> DevScore:
    """EER on the split's trials; the loss that breaks ties is the mean logistic loss of the cosines scaled by 10, each
    class weighing half."""
    scores = {row["id"]: row["score"] for row in predictions}
    values = np.array([scores[trial.id] for trial in split.trials])
    targets = np.array([trial.target for trial in split.trials])
    eer = metrics.eer(values, targets)
    signed = np.where(targets, -values, values) * 10
    losses = np.logaddexp(0, signed)
    return DevScore(metric=eer, loss=float((losses[targets].mean() + losses[~targets].mean()) / 2), key=eer)


def _speakers(train: SplitData) -> dict[str, int]:
    return {speaker: i for i, speaker in enumerate(sorted({u.speaker for u in train.utterances}))}
