"""Weights of wav2vec 2.0, HuBERT and WavLM as others keep them, under the names that `transformers` has for them.

    fairseq or s3prl     the state dict under `model_weight` or `model`
    s3prl's runner       the fine-tuned upstream under `Upstream`, its names behind `model.` or `upstream.model.`

What only pre-training reads beside the encoder (HuBERT's `final_proj` and `label_embs_concat`, wav2vec 2.0's quantizer)
and heads are left out. Nothing but weights is read: a pickle that holds other objects is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.errors import UserError
from upstreams.weights import load_plain

KINDS = ("hubert", "wav2vec2", "wavlm")
"""Model types."""

INSIDE = ("Upstream", "model_weight", "model", "state_dict")
"""Where files keep the state dict, in the order they are looked at."""

FIRST = {
    "theirs": "feature_extractor.conv_layers.0.0.weight",
    "transformers": "feature_extractor.conv_layers.0.conv.weight",
}
"""A tensor that every encoder has; what stands before it is the prefix of all of them."""

NAMES = [
    (r"mask_emb", "masked_spec_embed"),
    (r"layer_norm\.(.+)", r"feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(.+)", r"feature_projection.projection.\1"),
    (r"(feature_extractor\.conv_layers\.\d+)\.0\.(.+)", r"\1.conv.\2"),
    (r"(feature_extractor\.conv_layers\.\d+)\.2(?:\.1)?\.(weight|bias)", r"\1.layer_norm.\2"),
    (r"encoder\.pos_conv\.0\.bias", "encoder.pos_conv_embed.conv.bias"),
    (r"encoder\.pos_conv\.0\.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"(encoder\.layer_norm\..+)", r"\1"),
    (r"(encoder\.layers\.\d+)\.self_attn\.([kvq]_proj|out_proj)\.(.+)", r"\1.attention.\2.\3"),
    (r"(encoder\.layers\.\d+)\.self_attn\.grep_linear\.(.+)", r"\1.attention.gru_rel_pos_linear.\2"),
    (r"(encoder\.layers\.\d+)\.self_attn\.grep_a", r"\1.attention.gru_rel_pos_const"),
    (r"(encoder\.layers\.\d+)\.self_attn\.relative_attention_bias\.(.+)", r"\1.attention.rel_attn_embed.\2"),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm\.(.+)", r"\1.layer_norm.\2"),
    (r"(encoder\.layers\.\d+)\.fc1\.(.+)", r"\1.feed_forward.intermediate_dense.\2"),
    (r"(encoder\.layers\.\d+)\.fc2\.(.+)", r"\1.feed_forward.output_dense.\2"),
    (r"(encoder\.layers\.\d+\.final_layer_norm\..+)", r"\1"),
]
"""fairseq's name -> that of `transformers`, as its own conversion has them."""

AROUND = re.compile(r"(final_proj|label_embs_concat|quantizer|project_q|target_glu|proj|lm_head)(\.|$)")
"""Tensors beside the encoder."""


def read(path: Path) -> dict[str, Tensor]:
    """The encoder's weights under `transformers`' names, without a prefix.

    Raises UserError: no such file, a pickle that holds more than weights, no such encoder in it, an unknown tensor.
    """
    return renamed(state(path), path)


def renamed(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """A state dict's encoder under `transformers`' names; `path` for messages. Raises UserError as `read`."""
    found = [(kind, name) for name in tensors for kind, first in FIRST.items() if _ends(name, first)]
    if len(found) != 1:
        raise UserError(
            f"{path}: one wav2vec 2.0, HuBERT or WavLM encoder wanted, {len(found)} found; its first convolution is"
            f" {FIRST['theirs']} to fairseq and s3prl, {FIRST['transformers']} to transformers"
        )
    kind, name = found[0]
    prefix = name.removesuffix(FIRST[kind])
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    own = {name: value for name, value in own.items() if not AROUND.match(name)}
    return own if kind == "transformers" else {_name(name, path): value for name, value in own.items()}


def _ends(name: str, first: str) -> bool:
    return name == first or name.endswith(f".{first}")


def _name(name: str, path: Path) -> str:
    for pattern, new in NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(new)
    raise UserError(f"{path}: {name} is no tensor of fairseq's wav2vec 2.0, HuBERT or WavLM: is it another model?")


def state(path: Path) -> dict[str, Tensor]:
    """The state dict that a file is or has inside, as it is named there. Raises UserError as `read`."""
    try:
        content: Any = load_plain(path)
    except UserError as error:
        if "holds more than tensors" not in str(error):
            raise
        raise UserError(
            f"{path}: holds other objects beside weights (its settings, say) and could run code on loading, so it is "
            "refused; if you trust whoever made it, save its weights alone with Python, in its own environment: "
            f"import torch; d = torch.load({path.name!r}, weights_only=False); torch.save({{k: d[k] for k in d if k in "
            f"{INSIDE}}}, 'weights.pt')"
        ) from None
    found: Any = content
    if isinstance(content, Mapping):
        found = next((content[key] for key in INSIDE if isinstance(content.get(key), Mapping)), content)
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{path}: wanted weights under {', '.join(INSIDE)}, or alone, found {type(content).__name__}")
    return {str(key): value for key, value in found.items()}
