"""How much each frame counts: the attention of a trained stage 2, and integrated gradients as the reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.figures import library
from upstreams.vib.network import ClassDecoder, Vib

STEPS = 64
"""Points of the path's integral."""
TOGETHER = 8
"""Of them, how many are computed at once."""


@dataclass(frozen=True, slots=True)
class Salience:
    """Of one utterance: three curves over its frames, (T,) each, summing to 1, and what the classifier said."""

    text: Tensor
    acoustic: Tensor
    gradients: Tensor
    logits: Tensor
    """(C,)"""
    explained: int
    """The class whose logit the gradients explain."""
    difference: float
    """That logit here minus on silence."""
    completeness: float
    """The attributions' sum minus `difference`: 0 for the exact integral."""


class TwoStages(nn.Module):
    """The backbone's states (…, T, L, D) -> logits (…, C), through the frozen text stage and an acoustic one."""

    def __init__(self, text: Vib, acoustic: Vib):
        super().__init__()
        assert isinstance(acoustic.decoder, ClassDecoder)
        self.text, self.acoustic, self.decoder = text, acoustic, acoustic.decoder

    def streams(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The means of both latents, (…, T, d) each."""
        return self.text.encode(hidden)[0], self.acoustic.encode(hidden)[0]

    def forward(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.decoder(*self.streams(hidden))
        return logits


def salience(model: TwoStages, hidden: Tensor, silence: Tensor, wanted: int | None = None) -> Salience:
    """Of one utterance's states (T, L, D); `silence`: those of as many zeros, the baseline. `wanted`: the class that
    the gradients explain, the likeliest one if None."""
    with torch.no_grad():
        streams = model.streams(hidden)
        text, acoustic = model.decoder.attention(*streams)
        logits = model.decoder.classify(*streams)
    explained = int(logits.argmax()) if wanted is None else wanted
    attributions, error = integrated_gradients(model, hidden, silence, explained)
    with torch.no_grad():
        difference = float(logits[explained] - model(silence)[explained])
    size = attributions.flatten(1).norm(dim=1)
    return Salience(
        text, acoustic, size / size.sum().clamp(min=1e-12), logits, explained, difference, error
    )


def integrated_gradients(
    model: nn.Module, hidden: Tensor, baseline: Tensor, wanted: int, steps: int = STEPS
) -> tuple[Tensor, float]:
    """Attributions of output `wanted` to the input, of its shape, and by how much their sum misses the difference of
    the outputs (Sundararajan et al. 2017, "Axiomatic attribution for deep networks"; by captum).

    Raises UserError where captum is not installed."""
    method = library("captum.attr").IntegratedGradients(model)
    found, error = method.attribute(
        hidden[None],
        baselines=baseline[None],
        target=wanted,
        n_steps=steps,
        internal_batch_size=TOGETHER,
        return_convergence_delta=True,
    )
    return found[0].detach(), float(error)
