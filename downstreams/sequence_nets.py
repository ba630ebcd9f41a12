"""The networks of the sequence heads: SUPERB's linear one and its BLSTM, and a small convolutional probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstreams.featurizer import Featurizer
from downstreams.spec_augment import spec_augment
from harness import ctc


@dataclass(slots=True)
class SequenceBatch:
    """Utterances end to end: `layers` (L, N, D), N the sum of `frames`; and the target of each."""

    layers: Tensor
    frames: list[int]
    targets: list[list[int]]


def padded(rows: Tensor, frames: Sequence[int]) -> Tensor:
    """Utterances end to end (N, ...) -> (B, T, ...), padded with zeros at the end."""
    longest, rest = max(frames), [0, 0] * (rows.dim() - 1)
    # not pad_sequence: its gradient copies the whole batch once an utterance
    return torch.stack([F.pad(part, [*rest, 0, longest - len(part)]) for part in torch.split(rows, list(frames))])


class SequenceNet(nn.Module):
    """Layer mix, then `logits`."""

    def __init__(self, num_layers: int):
        super().__init__()
        self.featurizer = Featurizer(num_layers)

    def logits(self, mixed: Tensor, frames: Sequence[int]) -> Tensor:
        """(B, T, D) padded -> (B, T, symbols); what stands in the padding changes no valid frame's."""
        raise NotImplementedError

    def forward(self, layers: Tensor, frames: Sequence[int]) -> Tensor:
        """Layers (L, N, D) of utterances end to end -> (B, T, symbols), padded."""
        device = self.featurizer.weights.device
        return self.logits(padded(self.featurizer(layers.to(device).transpose(0, 1)), frames), frames)

    def loss(self, batch: SequenceBatch) -> Tensor:
        """Mean over the batch of each utterance's CTC loss over its target's length."""
        logits = self(batch.layers, batch.frames)
        return ctc.losses(logits, torch.tensor(batch.frames), batch.targets).mean()


class LinearCTCNet(SequenceNet):
    """Layer mix, projector, linear layer: SUPERB's PR head."""

    def __init__(self, num_layers: int, in_dim: int, symbols: int, projector: int):
        super().__init__(num_layers)
        self.projector = nn.Linear(in_dim, projector)
        self.linear = nn.Linear(projector, symbols)

    def logits(self, mixed: Tensor, frames: Sequence[int]) -> Tensor:
        logits: Tensor = self.linear(self.projector(mixed))
        return logits


class BLSTM(SequenceNet):
    """SUPERB's ASR head: projector, bidirectional LSTMs with dropout after each, a linear layer."""

    def __init__(
        self,
        num_layers: int,
        in_dim: int,
        symbols: int,
        projector: int,
        hidden: int,
        layers: int,
        dropout: float,
        augment: bool,
    ):
        super().__init__(num_layers)
        self.projector = nn.Linear(in_dim, projector)
        widths = [projector] + [2 * hidden] * layers
        self.rnns = nn.ModuleList(
            [nn.LSTM(width, hidden, bidirectional=True, batch_first=True) for width in widths[:-1]]
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(widths[-1], symbols)
        self.augment = augment

    def logits(self, mixed: Tensor, frames: Sequence[int]) -> Tensor:
        if self.training and self.augment:
            mixed = spec_augment(mixed, frames)
        x = self.projector(mixed)
        for rnn in self.rnns:
            x = self.dropout(bidirectional(rnn, x, frames))  # type: ignore[arg-type]
        logits: Tensor = self.linear(x)
        return logits


def bidirectional(rnn: nn.LSTM, x: Tensor, frames: Sequence[int]) -> Tensor:
    """One bidirectional layer on padded (B, T, in) -> (B, T, 2 * hidden): each utterance as if alone.

    The backward direction reads each utterance reversed, so that its padding too comes last, where it has no effect.
    A packed sequence gives the same (1e-6) at two to three times the cost on a CPU, without its fused LSTM."""
    lengths, places = torch.tensor(frames, device=x.device)[:, None], torch.arange(x.shape[1], device=x.device)[None]
    turned = torch.where(places < lengths, lengths - 1 - places, places)[:, :, None]
    start = x.new_zeros(1, len(x), rnn.hidden_size)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    found = []
    for ending in ("", "_reverse"):
        weights = [getattr(rnn, name + ending) for name in names]
        given = x.gather(1, turned.expand(-1, -1, x.shape[2])) if ending else x
        out = torch.lstm(given, (start, start), weights, True, 1, 0.0, rnn.training, False, True)[0]
        found.append(out.gather(1, turned.expand(-1, -1, out.shape[2])) if ending else out)
    return torch.cat(found, dim=2) * (places < lengths)[:, :, None]


class Convolution(SequenceNet):
    """The second probe: projector, ReLU, a convolution over 5 frames, ReLU, a linear layer."""

    def __init__(self, num_layers: int, in_dim: int, symbols: int, projector: int):
        super().__init__(num_layers)
        self.projector = nn.Linear(in_dim, projector)
        self.convolution = nn.Conv1d(projector, projector, 5, padding=2)
        self.linear = nn.Linear(projector, symbols)

    def logits(self, mixed: Tensor, frames: Sequence[int]) -> Tensor:
        x = self.projector(mixed).relu()
        # the bias made the padding non-zero; past its end an utterance sees zeros, as it would alone
        x = x * (torch.arange(x.shape[1])[None] < torch.tensor(frames)[:, None]).to(x)[:, :, None]
        logits: Tensor = self.linear(self.convolution(x.transpose(1, 2)).relu().transpose(1, 2))
        return logits
