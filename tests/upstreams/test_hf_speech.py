from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import UserError
from upstreams import catalogue

SECOND = 16_000
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
CARDS = [("hubert", "hubert_base"), ("wav2vec2", "wav2vec2_base"), ("wavlm", "wavlm_base_plus")]


def set_normalize(folder: Path, value: object) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": value}))


@pytest.mark.parametrize(("kind", "name"), CARDS)
def test_states_are_the_librarys_with_the_last_frame_repeated(kind, name, hf_folder, noise):
    import transformers

    folder = hf_folder(kind)
    wave = noise(SECOND)
    ours = catalogue.build(name, folder=folder).layers([wave])[0]
    with torch.no_grad():
        model = transformers.AutoModel.from_pretrained(folder).eval()
        theirs = torch.stack(model(wave[None], output_hidden_states=True).hidden_states, dim=2)[0]
    assert theirs.shape == (49, 3, 32)
    assert torch.equal(ours[:49], theirs)
    assert torch.equal(ours[49], theirs[48])


@pytest.mark.parametrize("samples", [1, 399, 400, 1600, SECOND, SECOND + 79, SECOND + 80, SECOND + 320])
def test_frame_count(hf_folder, noise, samples):
    assert catalogue.build("hubert_base", folder=hf_folder("hubert")).layers([noise(samples)])[0].shape[0] == (
        -(-samples // 320)
    )


@pytest.mark.parametrize(("kind", "name"), CARDS)
def test_old_names_a_head_and_a_pickle_load_the_same(kind, name, hf_folder, noise, tmp_path):
    folder = hf_folder(kind)
    wave = noise(SECOND)
    expected = catalogue.build(name, folder=folder).layers([wave])[0]
    old = tmp_path / "old"
    old.mkdir()
    tensors = {}
    for key, value in load_file(folder / "model.safetensors").items():
        key = key.replace("parametrizations.weight.original0", "weight_g")
        tensors[f"{kind}." + key.replace("parametrizations.weight.original1", "weight_v")] = value
    assert any(key.endswith("weight_g") for key in tensors)
    torch.save(tensors | {"lm_head.weight": torch.zeros(5, 32)}, old / "pytorch_model.bin")
    (old / "config.json").write_text((folder / "config.json").read_text())
    assert torch.equal(catalogue.build(name, folder=old).layers([wave])[0], expected)


def test_normalised_features_do_not_depend_on_scale_and_offset(hf_folder, noise):
    folder = hf_folder("hubert", **LARGE)
    wave = noise(SECOND)
    set_normalize(folder, True)
    upstream = catalogue.build("hubert_large", folder=folder)
    assert torch.allclose(*(upstream.layers([w])[0] for w in (wave, 3 * wave + 0.2)), atol=1e-4)
    set_normalize(folder, False)
    upstream = catalogue.build("hubert_large", folder=folder)
    assert not torch.allclose(*(upstream.layers([w])[0] for w in (wave, 3 * wave + 0.2)), atol=1e-1)


def test_normalisation_is_over_the_utterance_not_the_batch(hf_folder, noise):
    upstream = catalogue.build("hubert_large", folder=hf_folder("hubert", **LARGE))
    wave = noise(SECOND)
    assert torch.equal(upstream.layers([wave])[0], upstream.layers([wave, 50 * noise(SECOND, 1)])[0])


def test_the_checkpoint_decides_on_normalisation_and_the_card_where_it_is_silent(hf_folder):
    large, base = hf_folder("hubert", **LARGE), hf_folder("hubert")
    assert catalogue.build("hubert_large", folder=large).normalize is True
    assert catalogue.build("hubert_base", folder=base).normalize is False
    set_normalize(large, False)
    changed = catalogue.build("hubert_large", folder=large)
    assert changed.normalize is False
    set_normalize(large, True)
    assert catalogue.build("hubert_large", folder=large).fingerprint != changed.fingerprint
    set_normalize(large, "yes")
    with pytest.raises(UserError, match="do_normalize wants true or false, found 'yes'"):
        catalogue.build("hubert_large", folder=large)


def test_group_norm_models_hardly_depend_on_the_normalisation(hf_folder, noise):
    folder = hf_folder("hubert")
    wave = noise(SECOND) + 0.02
    plain = catalogue.build("hubert_base", folder=folder).layers([wave])[0]
    set_normalize(folder, True)
    normalised = catalogue.build("hubert_base", folder=folder).layers([wave])[0]
    assert (normalised - plain).abs().max() < 1e-2 * plain.abs().max()


@pytest.mark.parametrize("name", ["hubert_base", "wav2vec2_large"])
def test_a_wavlm_folder_is_refused_by_other_cards(hf_folder, name):
    with pytest.raises(UserError, match="wants a checkpoint of model type .* says 'wavlm'"):
        catalogue.build(name, folder=hf_folder("wavlm"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("encoder.layers.1.final_layer_norm.weight"), "are missing"),
        (lambda t: t.update({"encoder.layers.7.extra": torch.zeros(2)}), "are unknown to it"),
        (lambda t: t.update({"encoder.layer_norm.bias": torch.zeros(7)}), "have another shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused(hf_folder, change, message):
    folder = hf_folder("wavlm")
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=f"1 tensors {message}"):
        catalogue.build("wavlm_base_plus", folder=folder)


@pytest.mark.parametrize(("kind", "name"), CARDS)
def test_the_last_state_of_large_models_has_the_final_norm(kind, name, hf_folder, noise):
    import transformers

    folder, wave = hf_folder(kind, **LARGE), noise(SECOND)
    ours = catalogue.build(name, folder=folder).layers([wave])[0]
    with torch.no_grad():
        theirs = transformers.AutoModel.from_pretrained(folder).eval()(wave[None]).last_hidden_state[0]
    assert torch.equal(ours[: len(theirs), -1], theirs)
    assert torch.allclose(ours[:, -1].mean(dim=-1), torch.zeros(len(ours)), atol=1e-5)
