"""Weights under fairseq's names: equal features, whatever the container, and no code of a pickle is run."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.errors import UserError
from upstreams import catalogue, hf_speech, s3prl_shims, weights
from upstreams.speech_ft import foreign
from upstreams.speech_ft.files import How, merge_folders

LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
TO_THEIRS = [
    ("masked_spec_embed", "mask_emb"), ("feature_projection.layer_norm", "layer_norm"),
    ("feature_projection.projection", "post_extract_proj"), ("pos_conv_embed.conv", "pos_conv.0"),
    ("parametrizations.weight.original0", "weight_g"), ("parametrizations.weight.original1", "weight_v"),
    (".attention.", ".self_attn."), ("feed_forward.intermediate_dense", "fc1"), ("feed_forward.output_dense", "fc2"),
]  # fmt: skip


def theirs(state: dict[str, Tensor], large: bool) -> dict[str, Tensor]:
    """transformers' names as fairseq has them, by another way than the module's."""
    found = {}
    for name, value in state.items():
        for old, new in TO_THEIRS:
            name = name.replace(old, new)
        if name.startswith("feature_extractor"):
            name = name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.1." if large else ".2.")
        elif name.startswith("encoder.layers"):
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        found[name] = value
    return found


HUBERTS = {"final_proj.weight": torch.ones(2, 2), "label_embs_concat": torch.ones(3, 2)}
AROUND = HUBERTS | {"quantizer.vars": torch.ones(1)}

CONTAINERS = {
    "s3prl": lambda s: {"task_cfg": {"normalize": False}, "model_cfg": {"layers": 2}, "model_weight": s | AROUND},
    "fairseq": lambda s: {"args": None, "model": s | AROUND, "last_optimizer_state": {"state": {}}},
    "fine-tuned": lambda s: {"model": {f"w2v_encoder.w2v_model.{k}": v for k, v in s.items()}
                             | {"w2v_encoder.proj.weight": torch.ones(2, 2)}},
    "runner": lambda s: {"Upstream": {f"model.{k}": v for k, v in (s | AROUND).items()}, "Step": 3,
                         "Downstream": {"a": torch.ones(1)}},
    "runner of nn": lambda s: {"Upstream": {f"upstream.model.{k}": v for k, v in s.items()}},
    "parallel": lambda s: {"Upstream": {f"module.model.{k}": v for k, v in s.items()}},
    "alone": lambda s: s,
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("kind, name", [("hubert", "hubert_base"), ("wav2vec2", "wav2vec2_base")])
def test_their_file_gives_the_same_states(kind, name, large, container, hf_folder, noise, tmp_path):
    folder = hf_folder(kind, **(LARGE if large else {}))
    state = load_file(folder / "model.safetensors")
    path = tmp_path / "theirs.pt"
    torch.save(CONTAINERS[container](theirs(state, large)), path)
    config = weights.read_config(folder)
    model = hf_speech.load_model(kind, config, foreign.read(path), path)
    found = hf_speech.HFSpeech(name, "", model, normalize=False).layers([noise(16_000)])[0]
    assert torch.equal(found, catalogue.build(name, folder=folder).layers([noise(16_000)])[0])


def test_names_of_transformers_lose_their_prefix(hf_folder, tmp_path):
    state = load_file(hf_folder("hubert") / "model.safetensors")
    inside = {f"model.{k}": v for k, v in state.items()} | {"other.x": torch.ones(1)}
    torch.save({"Upstream": inside}, tmp_path / "x.pt")
    found = foreign.read(tmp_path / "x.pt")
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


def s3prl_model(kind: str, large: bool) -> torch.nn.Module:
    """s3prl's own model at the sizes of `conftest.SPEECH`."""
    s3prl_shims.install()
    layers = "[(16,10,5)]+[(16,3,2)]*4+[(16,2,2)]*2"
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 2,
             "conv_feature_layers": layers, "conv_pos": 16, "conv_pos_groups": 2}  # fmt: skip
    sizes |= {"extractor_mode": "layer_norm", "conv_bias": True, "layer_norm_first": True} if large else {}
    torch.manual_seed(1)
    if kind == "hubert":
        from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig

        own = HubertConfig(label_rate=50, final_dim=16, **sizes)
        return HubertModel(own, HubertPretrainingConfig(), [["a", "b", "c"]]).eval()
    if kind == "wav2vec2":
        from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model

        return Wav2Vec2Model(Wav2Vec2Config(quantize_targets=True, final_dim=16, **sizes)).eval()
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    buckets = {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320, "max_distance": 800}
    return WavLM(WavLMConfig(sizes | buckets)).eval()


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("kind", foreign.KINDS)
def test_s3prls_own_model_gives_the_same_output(kind, large, hf_folder, noise, tmp_path):
    model, wave = s3prl_model(kind, large), noise(16_000)
    for parameter in model.parameters():  # what begins at 0 or 1 would hide a tensor in the wrong place
        parameter.data += 0.05 * torch.randn(parameter.shape)
    torch.save({"model_weight": model.state_dict()}, tmp_path / "x.pt")
    config = weights.read_config(hf_folder(kind, **(LARGE if large else {})))
    ours = hf_speech.load_model(kind, config, foreign.read(tmp_path / "x.pt"), tmp_path)
    with torch.no_grad():
        made = model.extract_features(wave[None], padding_mask=None, mask=False)
        found = ours(wave[None]).last_hidden_state[0]
    wanted = (made["x"] if isinstance(made, dict) else made[0])[0]
    assert wanted.shape == found.shape == (49, 32)
    assert torch.allclose(found, wanted, atol=2e-5), float((found - wanted).abs().max())


def test_merged_into_transformers_names_with_the_heads_kept(hf_folder, tmp_path):
    folder = hf_folder("hubert")
    state = load_file(folder / "model.safetensors")
    old = {f"hubert.{k}".replace("parametrizations.weight.original0", "weight_g"): v for k, v in state.items()}
    save_file(old | {"final_proj.weight": torch.zeros(2)}, folder / "model.safetensors")
    torch.save({"model_weight": theirs({k: v + 1 for k, v in state.items()}, False) | HUBERTS}, tmp_path / "theirs.pt")
    found = load_file(merge_folders(folder, [tmp_path / "theirs.pt"], tmp_path / "out", How(alpha=0.5)))
    assert found.keys() == old.keys() | {"final_proj.weight"}
    for name, value in old.items():
        moved = 0.0 if name == "hubert.masked_spec_embed" else 0.5
        assert torch.allclose(found[name], value + moved), name
    assert torch.equal(found["final_proj.weight"], torch.zeros(2))


@pytest.mark.parametrize(
    ("kind", "beside", "other"),
    [("hubert", "quantizer.vars", "wav2vec2"), ("wav2vec2", "label_embs_concat", "hubert")],
)
def test_the_other_familys_pre_training_is_not_merged(kind, beside, other, hf_folder, tmp_path):
    folder = hf_folder(kind)
    state = theirs(load_file(folder / "model.safetensors"), False)
    torch.save({"model": state | {beside: torch.ones(1)}}, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=f"of {kind} wanted, as the pre-trained one is, found one of {other}"):
        merge_folders(folder, [tmp_path / "theirs.pt"], tmp_path / "out", How())


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("inside", ["Upstream", "model_weight", "model"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, inside):
    torch.save({inside: {"a": torch.ones(1)}, "cfg": Bomb(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="could run code on loading, so it is refused"):
        foreign.read(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_what_s3prls_runner_saves_loads_with_its_settings_beside_the_weights(hf_folder, tmp_path):
    state = theirs(load_file(hf_folder("hubert") / "model.safetensors"), False)
    content = {"Upstream": {f"model.{k}": v for k, v in state.items()}, "Args": argparse.Namespace(seed=1), "Step": 5}
    torch.save(content, tmp_path / "states-5.ckpt")
    found, own = foreign.read(tmp_path / "states-5.ckpt"), load_file(hf_folder("hubert") / "model.safetensors")
    assert found.keys() == own.keys() and all(torch.equal(found[key], own[key]) for key in own)


class Settings:
    """An object of somebody's own, such as fairseq keeps beside weights."""


def test_settings_as_objects_are_refused_with_the_way_to_save_the_weights_alone(hf_folder, tmp_path, monkeypatch):
    state = theirs(load_file(hf_folder("hubert") / "model.safetensors"), False)
    path = tmp_path / "states-5.ckpt"
    torch.save({"Upstream": {f"model.{k}": v for k, v in state.items()}, "cfg": Settings()}, path)
    with pytest.raises(UserError, match=r"holds other objects beside weights .* if you trust") as caught:
        foreign.read(path)
    _, _, code = str(caught.value).partition("its own environment: ")
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # the line that the user is given has to work
    assert foreign.read(tmp_path / "weights.pt").keys() == load_file(hf_folder("hubert") / "model.safetensors").keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"conv.weight": torch.ones(1)}}, "one wav2vec 2.0, HuBERT or WavLM encoder wanted, 0 found"),
        ({"model": {f"{p}.{foreign.FIRST['theirs']}": torch.ones(1) for p in "ab"}}, "encoder wanted, 2 found"),
        ({"model": {foreign.FIRST["theirs"]: torch.ones(1), "encoder.layers.0.moe.weight": torch.ones(1)}},
         "encoder.layers.0.moe.weight is no tensor of fairseq's"),
        ({"step": 3}, "wanted weights under Upstream, model_weight, model, state_dict, or alone, found dict"),
        ([torch.ones(1)], "found list"),
    ],
)  # fmt: skip
def test_another_content_is_one_line(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError, match=message):
        foreign.read(tmp_path / "x.pt")
