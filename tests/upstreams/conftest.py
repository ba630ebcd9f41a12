"""Tiny random checkpoints in Hugging Face form: the real loading code runs, on weights made in the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from upstreams import torchaudio_shim

Folder = Callable[..., Path]

SPEECH = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
"""What the published large models have that the base models have not."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hf_folder(tmp_path: Path) -> Folder:
    """(kind, **config) -> a folder with config.json and model.safetensors of a small random model of that kind."""

    def make(kind: str, **config: Any) -> Path:
        torchaudio_shim.install()
        import transformers

        torch.manual_seed(0)
        if kind == "whisper":
            model: Any = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**WHISPER | config))
        else:
            stem = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}[kind]
            own = getattr(transformers, f"{stem}Config")(**SPEECH | config)
            model = getattr(transformers, f"{stem}Model")(own)
        folder = tmp_path / f"hf_{kind}_{len(list(tmp_path.iterdir()))}"
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def noise() -> Callable[..., torch.Tensor]:
    """(samples, seed=0) -> 1-D float32 noise of standard deviation 0.1."""

    def make(samples: int, seed: int = 0) -> torch.Tensor:
        return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))

    return make
