"""LoRA and DoRA on an encoder's transformer, by peft: the parameter-efficient baselines of Speech-FT.

peft trains them; what is kept are their small matrices, from which `checkpoint.Checkpoint.finetuned` gives the merged
weights without it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from harness.errors import UserError
from upstreams import torchaudio_shim
from upstreams.speech_ft.checkpoint import MAGNITUDE, A, B
from upstreams.speech_ft.encoder import Encoder

SCALE = 2
"""What the product of the two matrices is multiplied by; peft's `lora_alpha` over the rank."""

NAME = "default"
"""peft's, of an adapter."""


def attach(encoder: Encoder, kind: str, rank: int, seed: int) -> None:
    """Put adapters on every linear map of the encoder's blocks (WavLM: but its attention's); then only they learn.

    Raises UserError where peft is not installed."""
    import torch

    torchaudio_shim.install()  # peft imports transformers' audio tools
    try:
        from peft import LoraConfig, LoraModel
    except ImportError:
        raise UserError("LoRA and DoRA need peft: pip install 'post-superb[adapters]'") from None
    # WavLM hands its attention's matrices to a function as they are, past any adapter
    past = ".attention." if getattr(encoder.module.config, "model_type", "") == "wavlm" else "feature_extractor."
    inside = [(name, part) for name, part in encoder.module.named_modules() if "layers." in name and past not in name]
    linear = [name for name, part in inside if isinstance(part, nn.Linear)]
    config: Any = LoraConfig(
        r=rank, lora_alpha=SCALE * rank, target_modules=linear, use_dora=kind == "dora", lora_dropout=0.0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder.adapted = [LoraModel(encoder.module, {NAME: config}, NAME)]
    encoder.only = "lora_"


def detach(encoder: Encoder) -> None:
    """Take them off again, unmerged; nothing where there are none."""
    for adapted in encoder.adapted:
        adapted.unload()
    encoder.adapted, encoder.only = [], ""


def parts(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """An adapted module's tensors under a checkpoint's names: A (rank, in), B (out, rank) with the scale in it, and of
    DoRA the magnitudes (out,)."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        stem, _, kind = name.partition(".lora_")
        if kind == f"A.{NAME}.weight":
            found[f"{stem}.weight{A}"] = value
        elif kind == f"B.{NAME}.weight":
            found[f"{stem}.weight{B}"] = SCALE * value
        elif kind == f"magnitude_vector.{NAME}.weight":
            found[f"{stem}.weight{MAGNITUDE}"] = value
        elif kind:
            raise UserError(f"{name}: no tensor of an adapter that is known here; is this another version of peft?")
    return found
