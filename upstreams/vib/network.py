"""The networks of VIB (Mohebbi et al., arXiv 2410.03037): a mix of the backbone's layers, a variational encoder of each
frame, and a stage's decoder.

    mix      softmax weights over the transformer's layers, (T, L, D) -> (T, D)
    encoder  Linear-GELU-Linear-GELU, then a head for the mean and one for the variance, (T, D) -> (T, d) each
    decoder  stage 1: Linear, a frame's symbols; stage 2: two attention poolers, one on the frozen mean of stage 1 and
             one on this latent, then Linear, the utterance's class

The latent is mean + sqrt(variance) * noise in training and the mean at inference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from harness.train import step_seed

STD_FLOOR = 1e-6
"""A dimension that never varies is left at zero, not blown up."""


class LayerMix(nn.Module):
    """(…, L, D) of the whole backbone -> (…, D): a sum of `layers` with softmax weights, all equal at the start.

    `mean` and `std`, (layers, D), are of the training frames where the recipe standardises; else 0 and 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Sequence[int], width: int):
        super().__init__()
        self.layers = list(layers)
        self.weights = nn.Parameter(torch.full((len(self.layers),), 1 / len(self.layers)))
        self.register_buffer("mean", torch.zeros(len(self.layers), width))
        self.register_buffer("std", torch.ones(len(self.layers), width))

    def layer_weights(self) -> Tensor:
        """(layers,), summing to 1."""
        return self.weights.softmax(dim=0)

    def chosen(self, hidden: Tensor) -> Tensor:
        """(…, layers, D) of (…, L, D)."""
        return hidden[..., self.layers, :]

    def forward(self, hidden: Tensor) -> Tensor:
        return self.mixed(self.chosen(hidden))

    def mixed(self, chosen: Tensor) -> Tensor:
        """(…, layers, D) -> (…, D)."""
        scaled = (chosen - self.mean) / self.std.clamp(min=STD_FLOOR)
        return (scaled * self.layer_weights()[:, None]).sum(dim=-2)


class Encoder(nn.Module):
    """(…, H) -> mean and variance, (…, d) each. The variance is softplus of its head's output, so above 0."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.enc1, self.enc2 = nn.Linear(width, width), nn.Linear(width, width)
        self.mu, self.var = nn.Linear(width, dim), nn.Linear(width, dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.gelu(self.enc2(F.gelu(self.enc1(x))))
        return self.mu(x), F.softplus(self.var(x))


class TextDecoder(nn.Module):
    """Stage 1: (…, d) -> (…, symbols), logits for CTC."""

    def __init__(self, dim: int, symbols: int):
        super().__init__()
        self.lm_head = nn.Linear(dim, symbols)

    def forward(self, latent: Tensor) -> Tensor:
        logits: Tensor = self.lm_head(latent)
        return logits


class AttentionPooler(nn.Module):
    """Pools frames by a softmax over their dot product with one learned query, of ones at the start."""

    def __init__(self, dim: int):
        super().__init__()
        self.query = nn.Parameter(torch.ones(dim))

    def weights(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """(…, T, d) and the frames that count, (…, T) bool -> (…, T), summing to 1, 0 where the mask is false."""
        scores = frames @ self.query
        return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(dim=-1)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """(…, T, d) -> (…, d)."""
        return (self.weights(frames, mask)[..., None] * frames).sum(dim=-2)


class ClassDecoder(nn.Module):
    """Stage 2: the pooled mean of stage 1 (the condition) and the pooled latent side by side, then Linear."""

    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.cond_attention, self.z_attention = AttentionPooler(dim), AttentionPooler(dim)
        self.clf = nn.Linear(2 * dim, classes)

    def forward(self, text_mu: Tensor, acoustic: Tensor, mask: Tensor | None = None) -> Tensor:
        """(…, T, d) each and the frames that count, (…, T) bool -> logits (…, classes)."""
        pooled = torch.cat([self.cond_attention(text_mu, mask), self.z_attention(acoustic, mask)], dim=-1)
        logits: Tensor = self.clf(pooled)
        return logits

    def attention(self, text_mu: Tensor, acoustic_mu: Tensor) -> tuple[Tensor, Tensor]:
        """(T, d) each -> the weight of each frame in either pooling, (T,) each, summing to 1."""
        return self.cond_attention.weights(text_mu), self.z_attention.weights(acoustic_mu)

    def classify(self, text_mu: Tensor, acoustic_mu: Tensor) -> Tensor:
        """(T, d) each -> logits of the utterance's class, (C,)."""
        logits: Tensor = self(text_mu, acoustic_mu)
        return logits


Decoder = TextDecoder | ClassDecoder


class Vib(nn.Module):
    """Mix, encoder and decoder of one stage. Without `bottleneck` the latent is the mean in training too."""

    def __init__(self, layers: Sequence[int], width: int, dim: int, decoder: Decoder, bottleneck: bool = True):
        super().__init__()
        self.dim, self.bottleneck = dim, bottleneck
        self.mix, self.encoder, self.decoder = LayerMix(layers, width), Encoder(width, dim), decoder

    def layer_weights(self) -> Tensor:
        """(layers,), summing to 1; which layers those are is `mix.layers`."""
        return self.mix.layer_weights()

    def encode(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The backbone's states (…, L, D) -> mean and variance of the latent, (…, d) each."""
        found: tuple[Tensor, Tensor] = self.encoder(self.mix(hidden))
        return found

    def latent(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The states of the mix's own layers, (…, layers, D) -> latent, mean and variance, (…, d) each."""
        mu, var = self.encoder(self.mix.mixed(chosen))
        if not (self.training and self.bottleneck):
            return mu, mu, var
        return mu + var.sqrt() * torch.randn_like(mu), mu, var


def padded(frames: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Utterances end to end, (sum of lengths, …) -> (B, T, …) with zeros after each, and which frames count, (B, T)."""
    whole = pad_sequence(list(torch.split(frames, list(lengths))), batch_first=True)
    counts = torch.tensor(list(lengths), device=frames.device)
    return whole, torch.arange(whole.shape[1], device=frames.device) < counts[:, None]


def seeded(layers: Sequence[int], width: int, dim: int, outputs: int, text: bool, bottleneck: bool, seed: int) -> Vib:
    """A network of `outputs` symbols (stage 1) or classes, with PyTorch's default initialisation under a seed; the
    global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step_seed("vib", seed))
        decoder: Decoder = TextDecoder(dim, outputs) if text else ClassDecoder(dim, outputs)
        return Vib(layers, width, dim, decoder, bottleneck)
