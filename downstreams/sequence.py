"""Sequence heads trained with CTC: SUPERB's for PR and ASR, and a convolutional second probe for both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from downstreams import stacked
from downstreams.sequence_nets import BLSTM, Convolution, LinearCTCNet, SequenceBatch, SequenceNet, padded
from harness import ctc
from harness.contracts import DevScore, FeatureSource, Form, Learner, Level, SplitData, TrialSpec, Utterance
from harness.errors import UserError
from harness.metrics_sequences import error_rate
from harness.progress import progress
from harness.train import step_seed

EVALUATED = 16
"""Utterances scored at once."""


class CTCOptions(BaseModel):
    """`symbols` is a kind of `harness.ctc.Symbols`. `decoder`: arguments of `harness.ctc.beam` (`lm`, `lexicon`: paths)
    for the test predictions; without it, and always on dev, the best symbol of each frame is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    symbols: str
    batch: int = Field(gt=0)
    projector: int = Field(default=256, gt=0)
    decoder: dict[str, Any] | None = None
    data_seed: int = 0


class BLSTMOptions(CTCOptions):
    """Defaults are SUPERB's."""

    projector: int = Field(default=1024, gt=0)
    hidden: int = Field(default=1024, gt=0)
    layers: int = Field(default=2, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    spec_augment: bool = True


class LinearCTCLearner(stacked.Stacked):
    """K `LinearCTCNet`s as one computation, their utterances one CTC batch."""

    def losses(self, batch: SequenceBatch, active: Sequence[int]) -> Tensor:
        w = self.weights(active)
        x = stacked.mix(batch.layers.to(self.device), w["featurizer.weights"])
        first, last = (w["projector.weight"], w["projector.bias"]), (w["linear.weight"], w["linear.bias"])
        logits = stacked.two_linear(x, *first, *last)
        # (K, N, V) -> (B, T, K, V) -> (K * B, T, V)
        together = padded(logits.transpose(0, 1), batch.frames).permute(2, 0, 1, 3).flatten(0, 1)
        each = ctc.losses(together, torch.tensor(batch.frames).repeat(len(logits)), batch.targets * len(logits))
        return each.view(len(logits), -1).mean(dim=1)


class CTCHead(ABC):
    """What the sequence heads share. Implements `contracts.Head` but for the network.

    A batch holds utterances of similar length: they are sorted by duration and cut, and an epoch visits the cuts in a
    fresh order (as s3prl's buckets)."""

    name: str
    trainable = True
    reads: Form = "frames"
    accepts: tuple[Level, ...] = ("frame",)
    kind: type[CTCOptions] = CTCOptions

    def __init__(self, options: dict[str, Any], device: str = "cpu"):
        self.options: Any = self.kind.model_validate(options)
        self.device = device
        self.too_short: set[str] = set()
        """Training utterances met so far whose frames are too few for their target: their loss is 0 (zero_infinity)."""
        self._train: SplitData | None = None
        self._symbols: ctc.Symbols | None = None
        self._cuts: list[list[int]] = []
        self._targets: dict[str, list[int]] = {}

    @abstractmethod
    def net(self, num_layers: int, dim: int, symbols: int) -> SequenceNet: ...

    def learner(self, source: FeatureSource, train: SplitData, specs: Sequence[TrialSpec]) -> Learner:
        symbols = self._read(train)
        nets = stacked.seeded(lambda: self.net(source.num_layers, source.dim, symbols.size), specs)
        return self._learner(nets, {"symbols": stacked.packed(symbols.symbols[symbols.specials :])})

    def _learner(self, nets: Sequence[SequenceNet], fixed: Mapping[str, Tensor]) -> Learner:
        return stacked.SideBySide(nets, fixed).to(self.device)

    def batch(self, source: FeatureSource, train: SplitData, index: int) -> SequenceBatch:
        self._read(train)
        epoch, position = divmod(index, len(self._cuts))
        order = np.random.default_rng(step_seed("order", self.options.data_seed, epoch)).permutation(len(self._cuts))
        ids = [train.utterances[i].id for i in self._cuts[order[position]]]
        batch = _read_layers(source, ids, [self._targets[name] for name in ids])
        for name, frames, target in zip(ids, batch.frames, batch.targets, strict=True):
            if frames < ctc.needed_frames(target):
                self.too_short.add(name)
        return batch

    def _read(self, train: SplitData) -> ctc.Symbols:
        """The symbols of the training references; its targets and batches are made once."""
        if self._train is not train or self._symbols is None:
            self._train, self._symbols = train, ctc.Symbols(self.options.symbols, train.references.values())
            self._targets = {}
            for u in train.utterances:
                try:
                    self._targets[u.id] = self._symbols.encode(_reference(train, u.id))
                except UserError as error:
                    raise UserError(f"corpus {u.corpus}, row {u.id}: {error}") from None
            self._cuts = _cuts(train.utterances, self.options.batch)
        return self._symbols

    @torch.no_grad()
    def _scored(
        self, state: Mapping[str, Tensor], symbols: ctc.Symbols, source: FeatureSource, split: SplitData
    ) -> Iterator[tuple[int, Tensor]]:
        """The place in the split and the logits (T, symbols) of every utterance, by length."""
        net = self.net(source.num_layers, source.dim, symbols.size)
        net.load_state_dict({name: value for name, value in state.items() if name != "symbols"})
        net = net.to(self.device).eval()
        cuts = _cuts(split.utterances, EVALUATED)
        for cut in progress(cuts, f"{self.name} on {split.name}", len(cuts)):
            batch = _read_layers(source, [split.utterances[i].id for i in cut], [])
            for place, logits, frames in zip(cut, net(batch.layers, batch.frames).cpu(), batch.frames, strict=True):
                yield place, logits[:frames]

    def dev(self, state: Mapping[str, Tensor], source: FeatureSource, dev: SplitData) -> DevScore:
        """PER or WER over the corpus in per cent, and the mean CTC loss of the references that can be spelt."""
        symbols = self._symbols_of(state)
        found, losses = [""] * len(dev.utterances), []
        references = [_reference(dev, u.id) for u in dev.utterances]
        for place, logits in self._scored(state, symbols, source, dev):
            found[place] = symbols.decode(ctc.greedy(logits))
            target = spelt(symbols, references[place])
            if target is not None:
                losses.append(float(ctc.losses(logits[None], torch.tensor([len(logits)]), [target])))
        score = error_rate(found, references, "phone" if symbols.phones else "word")
        return DevScore(metric=score, loss=float(np.mean(losses)) if losses else 0.0, key=score)

    def predict(self, state: Mapping[str, Tensor], source: FeatureSource, split: SplitData) -> Iterator[dict[str, Any]]:
        """The decoded text of every utterance, in the order of the split."""
        symbols = self._symbols_of(state)
        found = [""] * len(split.utterances)
        for place, logits in self._scored(state, symbols, source, split):
            found[place] = self._decoded(logits, symbols)
        for utterance, text in zip(split.utterances, found, strict=True):
            yield {"id": utterance.id, "text": text}

    def _decoded(self, logits: Tensor, symbols: ctc.Symbols) -> str:
        if self.options.decoder is None:
            return symbols.decode(ctc.greedy(logits))
        paths = {"lm", "lexicon"}
        given: dict[str, Any] = {
            key: Path(value) if key in paths else value for key, value in self.options.decoder.items()
        }
        return ctc.beam(logits.log_softmax(dim=-1), symbols, **given)

    def _symbols_of(self, state: Mapping[str, Tensor]) -> ctc.Symbols:
        """A kind's own symbols, or those of the training texts, which the state keeps."""
        kept = stacked.unpacked(state["symbols"])
        if self._symbols is None or list(self._symbols.symbols[self._symbols.specials :]) != kept:
            self._symbols, self._train = ctc.Symbols(self.options.symbols, ["".join(kept)]), None
        return self._symbols


class LinearCTC(CTCHead):
    """SUPERB's PR head: layer mix, Linear 256, Linear to the symbols, each frame by itself."""

    name = "linear_ctc"

    def net(self, num_layers: int, dim: int, symbols: int) -> SequenceNet:
        return LinearCTCNet(num_layers, dim, symbols, self.options.projector)

    def _learner(self, nets: Sequence[SequenceNet], fixed: Mapping[str, Tensor]) -> Learner:
        return LinearCTCLearner([net.state_dict() for net in nets], self.device, fixed)


class BLSTMCTC(CTCHead):
    """SUPERB's ASR head: layer mix, SpecAugment in training, Linear 1024, two BLSTMs of 1024 a direction."""

    name = "blstm_ctc"
    kind = BLSTMOptions

    def net(self, num_layers: int, dim: int, symbols: int) -> SequenceNet:
        o = self.options
        return BLSTM(num_layers, dim, symbols, o.projector, o.hidden, o.layers, o.dropout, o.spec_augment)


class ConvCTC(CTCHead):
    """The second probe for PR and ASR: layer mix, Linear, ReLU, a convolution over 5 frames, ReLU, Linear."""

    name = "conv_ctc"

    def net(self, num_layers: int, dim: int, symbols: int) -> SequenceNet:
        return Convolution(num_layers, dim, symbols, self.options.projector)


def _read_layers(source: FeatureSource, ids: Sequence[str], targets: list[list[int]]) -> SequenceBatch:
    frames = [source.frames(name) for name in ids]
    return SequenceBatch(torch.cat([f.transpose(0, 1) for f in frames], dim=1), [len(f) for f in frames], targets)


def _cuts(utterances: Sequence[Utterance], size: int) -> list[list[int]]:
    """Places of the utterances, longest first, `size` at a time."""
    order = sorted(range(len(utterances)), key=lambda i: (-utterances[i].duration, utterances[i].id))
    return [order[at : at + size] for at in range(0, len(order), size)]


def _reference(split: SplitData, utterance_id: str) -> str:
    """Raises UserError where there is none."""
    if utterance_id not in split.references:
        raise UserError(f"a reference for each utterance of {split.name} wanted, {utterance_id} has none; add it")
    return split.references[utterance_id]


def spelt(symbols: ctc.Symbols, reference: str) -> list[int] | None:
    """None where the reference has a symbol that is none of these: it is never put out, only counted as an error."""
    try:
        return symbols.encode(reference)
    except UserError:
        return None
