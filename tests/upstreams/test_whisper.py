from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import UserError
from upstreams import catalogue

SECOND = 16_000


@pytest.fixture(scope="module")
def whisper():
    return catalogue.build("whisper_tiny")


def test_states_equal_the_librarys_own_at_thirty_seconds(whisper, noise):
    from transformers import WhisperFeatureExtractor

    wave = noise(30 * SECOND) * torch.linspace(0, 1, 30 * SECOND)
    mel = WhisperFeatureExtractor()(wave.numpy(), sampling_rate=SECOND, return_tensors="pt")["input_features"]
    with torch.no_grad():
        theirs = whisper.encoder(mel, output_hidden_states=True)
    states = whisper.layers([wave])[0]
    assert states.shape == (1500, 5, 384)
    assert len(theirs.hidden_states) == 5
    for ours, expected in zip(states.unbind(1), theirs.hidden_states, strict=True):
        assert (ours - expected[0]).abs().max() <= 1e-5 * expected.abs().max()
    assert torch.equal(theirs.hidden_states[-1], theirs.last_hidden_state)


def test_log_mel_equals_the_librarys(whisper, noise):
    from transformers import WhisperFeatureExtractor

    wave = noise(3 * SECOND)
    wave[SECOND:] *= 1e-4
    theirs = WhisperFeatureExtractor()(wave.numpy(), sampling_rate=SECOND, padding="do_not_pad", return_tensors="pt")
    assert torch.allclose(whisper.log_mel(wave[None]), theirs["input_features"], atol=1e-6)
    assert whisper.log_mel(wave[None]).max() - whisper.log_mel(wave[None]).min() == pytest.approx(2.0, abs=1e-5)


def test_only_the_last_state_is_normalised(whisper, noise):
    *_, before, last = whisper.layers([noise(SECOND)])[0].unbind(1)
    scale, shift = whisper.encoder.layer_norm.weight, whisper.encoder.layer_norm.bias
    plain = (last - shift) / scale
    assert plain.mean(-1).abs().max() < 1e-4
    assert before.mean(-1).abs().max() > 1e-4


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 1600, SECOND + 1, 30 * SECOND, 30 * SECOND + 1])
def test_frame_count(whisper, noise, samples):
    assert whisper.layers([noise(samples)])[0].shape == (-(-samples // 320), 5, 384)


def test_long_audio_is_encoded_in_windows_and_not_cut(whisper, noise):
    wave = noise(70 * SECOND)
    whole = whisper.layers([wave])[0]
    assert whole.shape[0] == 3500
    for start, stop in ((0, 30), (30, 60), (60, 70)):
        window = whisper.layers([wave[start * SECOND : stop * SECOND]])[0]
        assert torch.equal(whole[start * 50 : stop * 50], window)


def test_a_whole_model_and_a_bare_encoder_give_the_same_features(hf_folder, noise, tmp_path):
    folder = hf_folder("whisper")
    whole = catalogue.build("whisper_base", folder=folder)
    bare = tmp_path / "bare"
    bare.mkdir()
    prefix = "model.encoder."
    tensors = load_file(folder / "model.safetensors")
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    save_file(own, bare / "model.safetensors")
    (bare / "config.json").write_text((folder / "config.json").read_text())
    wave = noise(SECOND)
    assert torch.equal(whole.layers([wave])[0], catalogue.build("whisper_base", folder=bare).layers([wave])[0])


def test_missing_tensor_is_refused(hf_folder):
    folder = hf_folder("whisper")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.encoder.layers.1.fc2.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"1 tensors are missing .*layers\.1\.fc2\.bias"):
        catalogue.build("whisper_base", folder=folder)


def test_folder_of_another_model_is_refused(hf_folder):
    with pytest.raises(UserError, match="wants a Whisper checkpoint.*'hubert'"):
        catalogue.build("whisper_base", folder=hf_folder("hubert"))


def test_config_that_does_not_fit_the_weights_is_refused(hf_folder):
    folder = hf_folder("whisper")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"encoder_layers": 3}))
    with pytest.raises(UserError, match="missing"):
        catalogue.build("whisper_base", folder=folder)
