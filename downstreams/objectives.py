"""Heads as objectives of fine-tuning: SUPERB's networks on one hidden state, trained together with what is below.

    objective = build("linear_ctc", {"symbols": "letters"}, train, dim=384, seed=0)

What is thrown away after fine-tuning is made of the same parts as the heads that evaluate; only that their input has a
gradient and one layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstreams.catalogue import HEADS
from downstreams.sequence import CTCHead, spelt
from downstreams.sequence_nets import SequenceBatch
from downstreams.stacked import seeded
from downstreams.utterance import PooledLinear
from harness import ctc
from harness.contracts import DevScore, Objective, SplitData, TrialSpec
from harness.errors import UserError
from harness.metrics import accuracy
from harness.metrics_sequences import error_rate

Batches = Iterable[tuple[Tensor, Sequence[int], Sequence[str]]]


def build(name: str, options: dict[str, Any], train: SplitData, dim: int, seed: int) -> Objective:
    """A head's network, initialised from the seed, on states of size `dim`. Raises UserError for a head that is none of
    sequences or pooled means."""
    head = HEADS.load(name)
    if issubclass(head, CTCHead):
        return Transcription(head({"batch": 1, **options}), train, dim, seed)
    if issubclass(head, PooledLinear):
        return Classification(head({"batch": 1, **options}), train, dim, seed)
    raise UserError(f"head {name}: one of sequences or pooled means can be fine-tuned with; name linear_ctc, say")


class Transcription(nn.Module):
    """Words or phones by CTC; WER or PER of the greedy transcript on dev."""

    def __init__(self, head: CTCHead, train: SplitData, dim: int, seed: int):
        super().__init__()
        self.symbols = ctc.Symbols(head.options.symbols, train.references.values())
        self.metric = "per" if self.symbols.phones else "wer"
        self.unit: Any = "phone" if self.symbols.phones else "word"
        self.targets = {u.id: self.symbols.encode(train.references[u.id]) for u in train.utterances}
        (self.net,) = seeded(lambda: head.net(1, dim, self.symbols.size), [TrialSpec(0.0, seed)])
        self.net.featurizer.requires_grad_(False)  # one layer: nothing to weigh

    def loss(self, frames: Tensor, lengths: Sequence[int], ids: Sequence[str]) -> Tensor:
        batch = SequenceBatch(frames[None], list(lengths), [self.targets[name] for name in ids])
        return self.net.loss(batch)

    def judge(self, batches: Batches, split: SplitData) -> DevScore:
        found: dict[str, str] = {}
        losses = []
        for frames, lengths, ids in batches:
            for name, logits, count in zip(ids, self.net(frames[None], list(lengths)).cpu(), lengths, strict=True):
                found[name] = self.symbols.decode(ctc.greedy(logits[:count]))
                target = spelt(self.symbols, split.references[name])
                if target is not None:
                    losses.append(float(ctc.losses(logits[None, :count], torch.tensor([count]), [target])))
        names = _all_there(found, split)
        score = error_rate([found[n] for n in names], [split.references[n] for n in names], self.unit)
        return DevScore(metric=score, loss=sum(losses) / max(1, len(losses)), key=score)


class Classification(nn.Module):
    """A class of the utterance from the mean of its frames; accuracy on dev."""

    metric = "accuracy"

    def __init__(self, head: PooledLinear, train: SplitData, dim: int, seed: int):
        super().__init__()
        self.classes = sorted(set(train.references.values()))
        if len(self.classes) < 2:
            raise UserError(f"two classes or more wanted in {train.name}, found {self.classes}; check its labels")
        index = {name: i for i, name in enumerate(self.classes)}
        self.targets = {u.id: index[train.references[u.id]] for u in train.utterances}
        (self.net,) = seeded(lambda: head.net(1, dim, len(self.classes)), [TrialSpec(0.0, seed)])
        self.net.featurizer.requires_grad_(False)

    def loss(self, frames: Tensor, lengths: Sequence[int], ids: Sequence[str]) -> Tensor:
        wanted = torch.tensor([self.targets[name] for name in ids], device=frames.device)
        return F.cross_entropy(self.net(_means(frames, lengths)), wanted)

    def judge(self, batches: Batches, split: SplitData) -> DevScore:
        logits: dict[str, Tensor] = {}
        for frames, lengths, ids in batches:
            logits.update(zip(ids, self.net(_means(frames, lengths)).cpu(), strict=True))
        names = _all_there(logits, split)
        wanted = [split.references[name] for name in names]
        found = [self.classes[int(logits[name].argmax())] for name in names]
        known = [i for i, label in enumerate(wanted) if label in self.classes]
        if not known:
            raise UserError(f"{split.name}: classes of the training rows wanted, found {sorted(set(wanted))[:3]} …")
        rows = torch.stack([logits[names[i]] for i in known])
        loss = float(F.cross_entropy(rows, torch.tensor([self.classes.index(wanted[i]) for i in known])))
        score = accuracy(found, wanted)
        return DevScore(metric=score, loss=loss, key=-score)


def _means(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """(N, D) end to end -> (B, 1, D): each utterance's mean, as one layer."""
    return torch.stack([part.mean(dim=0) for part in torch.split(frames, list(lengths))])[:, None]


def _all_there(found: dict[str, Any], split: SplitData) -> list[str]:
    """The ids of the split in its order."""
    names = [u.id for u in split.utterances]
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"{split.name}: {len(names)} utterances wanted, {len(missing)} not scored, first {missing[0]}")
    return names
