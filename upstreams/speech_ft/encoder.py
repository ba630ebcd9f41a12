"""A backbone's encoder as fine-tuning trains it: its last hidden state, with a gradient, for utterances of any lengths.

What enters the part that learns is made once an utterance, `front`: behind the convolutional front-end where that is
frozen (Speech-FT's stable fine-tuning), before it where it learns too. The rest runs on padded batches with masks, so
that an utterance's state does not depend on its batch but for rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Upstream
from harness.errors import UserError
from upstreams import backbones, hf_speech, whisper

UNUSED = "masked_spec_embed"
"""Of the Hugging Face models: only their own pre-training reads it."""


def trainable(backbone: Upstream, *, front: bool, dropout: float | None) -> Encoder:
    """The encoder of a built backbone, whose own modules it trains. `front`: the convolutional front-end learns too.
    `dropout`: of attention and of what each block adds; None leaves the model's own. Layer drop is off.

    Raises UserError for a backbone whose weights are not ours to train."""
    for kind, made in ((whisper.Whisper, WhisperEncoder), (hf_speech.HFSpeech, HFEncoder)):
        if isinstance(backbone, kind):
            return made(backbone, front, dropout)
    raise _foreign(backbone)


def inner(backbone: Any) -> nn.Module:
    """The transformers module whose weights are a backbone's. Raises UserError for a backbone that has none."""
    if not isinstance(backbone, whisper.Whisper | hf_speech.HFSpeech):
        raise _foreign(backbone)
    found: nn.Module = backbone.encoder if isinstance(backbone, whisper.Whisper) else backbone.model
    return found


def _foreign(backbone: Upstream) -> UserError:
    return UserError(f"{backbone.name} cannot be fine-tuned here; wanted a Whisper, HuBERT, wav2vec 2.0 or WavLM")


class Encoder(nn.Module, ABC):
    """`module` holds the weights, under the names that merges and checkpoints have for them."""

    frozen: tuple[str, ...]
    """How the names of what never learns begin."""
    only: str = ""
    """Where not empty: what the name of everything that learns has in it, an adapter's."""

    def __init__(self, backbone: Any, module: nn.Module, front: bool):
        super().__init__()
        self.backbone = [backbone]  # in a list: its parameters are `module`'s
        self.module, self.front_learns = module, front
        self.adapted: list[Any] = []
        """What `adapters.attach` put on, outside the module's own tree."""

    @property
    def learns(self) -> list[str]:
        """Names of the parameters that fine-tuning moves."""
        names = [name for name, _ in self.module.named_parameters() if not name.startswith(self.frozen)]
        return [name for name in names if self.only in name]

    def freeze(self, frozen: bool) -> None:
        """Whether the encoder learns; its front-end learns only where it was built so."""
        self.module.requires_grad_(False)
        if not frozen:
            wanted = set(self.learns)
            for name, parameter in self.module.named_parameters():
                parameter.requires_grad_(name in wanted)

    @torch.no_grad()
    def front(self, wave: Tensor) -> Tensor:
        """(n,) at 16 kHz -> (T', C) on the wave's device, what `forward` takes of the utterance. Raises UserError for a
        wave that the model cannot take whole."""
        return self._front(wave[None].to(self.backbone[0].device))[0].contiguous()

    def forward(
        self, fronts: Sequence[Tensor], hide: Callable[[list[int]], tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, list[int]]:
        """Last hidden states of utterances end to end, (N, D), and the frames of each. `hide`, as masked prediction has
        it: the frames of each -> a mask (N,) and the vector (D,) that enters the transformer where it is true."""
        parts = self._inputs(fronts)
        lengths = [len(part) for part in parts]
        if hide is not None:
            mask, vector = hide(lengths)
            each = zip(parts, torch.split(mask.to(parts[0].device), lengths), strict=True)
            parts = [torch.where(hidden[:, None], vector, part) for part, hidden in each]
        valid = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        padded = torch.stack([F.pad(part, (0, 0, 0, max(lengths) - len(part))) for part in parts])
        valid = valid.to(padded.device)
        return self._blocks(padded, valid)[valid], lengths

    @abstractmethod
    def _front(self, waves: Tensor) -> Tensor: ...

    @abstractmethod
    def _inputs(self, fronts: Sequence[Tensor]) -> list[Tensor]:
        """What enters the transformer, (T, D) an utterance."""

    @abstractmethod
    def _blocks(self, padded: Tensor, valid: Tensor) -> Tensor:
        """(B, T, D) -> the last state, (B, T, D); what stands where `valid` is false changes no valid frame."""


class WhisperEncoder(Encoder):
    """At most 30 s an utterance: longer ones are windows with positions of their own."""

    def __init__(self, backbone: whisper.Whisper, front: bool, dropout: float | None):
        super().__init__(backbone, backbone.encoder, front)
        self.frozen = ("embed_positions.",) if front else ("conv1.", "conv2.", "embed_positions.")
        backbone.encoder.layerdrop = 0.0
        if dropout is not None:
            blocks: Any = backbone.encoder.layers
            for block in blocks:
                block.dropout = block.self_attn.dropout = dropout

    def _front(self, waves: Tensor) -> Tensor:
        below: whisper.Whisper = self.backbone[0]
        if waves.shape[1] > below.window_samples:
            raise UserError(
                f"clips of at most {below.window_samples / 16000:g} s wanted to fine-tune {below.name}, found one of "
                f"{waves.shape[1] / 16000:.1f} s; leave it out or cut it"
            )
        frames = -(-waves.shape[1] // below.stride)
        mel = below.log_mel(backbones.pad_to(waves, frames * below.stride))
        return mel.transpose(1, 2) if self.front_learns else self._convolved(mel)

    def _convolved(self, mel: Tensor) -> Tensor:
        own: Any = self.module
        hidden = F.gelu(own.conv2(F.gelu(own.conv1(mel)))).transpose(1, 2)
        positions: Tensor = own.embed_positions.weight[: hidden.shape[1]]
        return hidden + positions

    def _inputs(self, fronts: Sequence[Tensor]) -> list[Tensor]:
        return [self._convolved(mel.T[None])[0] for mel in fronts] if self.front_learns else list(fronts)

    def _blocks(self, padded: Tensor, valid: Tensor) -> Tensor:
        own: Any = self.module
        shape = (len(padded), 1, padded.shape[1], padded.shape[1])
        mask = torch.zeros_like(valid, dtype=padded.dtype).masked_fill(~valid, torch.finfo(padded.dtype).min)
        mask = mask[:, None, None].expand(shape)
        for block in own.layers:
            padded = block(padded, mask)
        last: Tensor = own.layer_norm(padded)
        return last


class HFEncoder(Encoder):
    """HuBERT, wav2vec 2.0 and WavLM of transformers."""

    def __init__(self, backbone: hf_speech.HFSpeech, front: bool, dropout: float | None):
        super().__init__(backbone, backbone.model, front)
        self.frozen = (UNUSED,) if front else (UNUSED, "feature_extractor.")
        backbone.model.config.layerdrop = 0.0
        if dropout is not None:
            for block in backbone.model.encoder.layers:
                block.attention.dropout = dropout
                block.dropout.p = block.feed_forward.output_dropout.p = dropout

    def _front(self, waves: Tensor) -> Tensor:
        below: hf_speech.HFSpeech = self.backbone[0]
        waves = backbones.pad_to(below.normalised(waves), below.window)
        return waves[..., None] if self.front_learns else self._convolved(waves)

    def _convolved(self, waves: Tensor) -> Tensor:
        own: Any = self.module
        found: Tensor = own.feature_extractor(waves).transpose(1, 2)
        return found

    def _inputs(self, fronts: Sequence[Tensor]) -> list[Tensor]:
        own: Any = self.module
        if self.front_learns:
            fronts = [self._convolved(wave.T)[0] for wave in fronts]
        projected = own.feature_projection(torch.cat(list(fronts))[None])
        # wav2vec 2.0 and WavLM give what they quantise beside it
        hidden: Tensor = (projected[0] if isinstance(projected, tuple) else projected)[0]
        return list(torch.split(hidden, [len(front) for front in fronts]))

    def _blocks(self, padded: Tensor, valid: Tensor) -> Tensor:
        own: Any = self.module
        last: Tensor = own.encoder(padded, attention_mask=valid).last_hidden_state
        return last
