from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import upstreams.s3prl_bridge as bridge  # before s3prl, which does not import without its shims
from harness.encode import encode
from harness.errors import UserError
from upstreams import catalogue

# isort: split
from s3prl import hub
from s3prl.nn import Featurizer, S3PRLUpstream
from s3prl.upstream.interfaces import Featurizer as OldFeaturizer

SECOND = 16_000
CARD = """\
options: {kind: kaldi, feature: fbank, size: 40}
contamination: "no"
supervised: false
licence: CC0-1.0
source: made up
"""


class Pooled(nn.Module):
    """An utterance-level upstream on fbank: the mean over time."""

    name, base, level, dim, num_layers, stride, fingerprint = "pooled", "fbank", "utterance", 240, 1, 0, "0" * 64

    def layers(self, waves):
        raise NotImplementedError

    def transform(self, layers):
        return [states.mean(dim=0, keepdim=True) for states in layers]


class Strange(nn.Module):
    """A made-up s3prl upstream: stride, frames a second and sizes as given."""

    def __init__(self, stride=160, frames=100, sizes=(4, 4)):
        super().__init__()
        self.stride, self.frames, self.sizes = stride, frames, sizes

    def get_downsample_rates(self, key):
        return self.stride

    def forward(self, wavs):
        count = max(1, len(wavs[0]) * self.frames // SECOND)
        return {"hidden_states": [torch.ones(1, count, size) for size in self.sizes]}


def test_hub_has_our_cards_and_keeps_its_own():
    assert set(catalogue.names()) <= set(S3PRLUpstream.available_names())
    assert hub.fbank.__module__.startswith("s3prl.")
    assert "whisper_tiny" not in bridge.THEIRS
    assert {"fbank", "hubert_base", "apc"} <= bridge.THEIRS
    assert "Path" not in bridge.THEIRS


def test_a_batch_gives_every_wave_what_it_gets_alone(noise):
    wrapped = S3PRLUpstream("whisper_tiny")
    assert (wrapped.num_layers, wrapped.hidden_sizes, wrapped.downsample_rates) == (5, [384] * 5, [320] * 5)
    assert not wrapped.upstream.training
    waves = [noise(2 * SECOND), noise(SECOND + 1, 1)]
    padded = nn.utils.rnn.pad_sequence(waves, batch_first=True)
    states, lengths = wrapped(padded, torch.tensor([2 * SECOND, SECOND + 1]))
    for index, expected in enumerate(encode(catalogue.build("whisper_tiny"), waves)):
        found = torch.stack([state[index, : lengths[0][index]] for state in states], dim=1)
        assert torch.equal(found, expected)
    assert torch.stack(states)[:, 1, lengths[0][1] :].abs().max() == 0
    mixed, _ = Featurizer(wrapped)(states, lengths)
    assert mixed.shape == (2, 100, 384)


def test_the_old_runners_featurizer_takes_it(noise):
    module = hub.whisper_tiny(ckpt=None, model_config=None, refresh=False)
    featurizer = OldFeaturizer(module, upstream_device="cpu")
    assert (featurizer.output_dim, featurizer.downsample_rate) == (384, 320)
    waves = [noise(2 * SECOND), noise(SECOND, 1)]
    assert [len(feature) for feature in featurizer(waves, module(waves))] == [100, 50]


def test_an_utterance_vector_is_held_constant_so_that_any_mean_gives_it_back(noise):
    upstream, base = Pooled(), catalogue.build("fbank")
    assert bridge.accepts(upstream, base).endswith("stride 320")
    module = bridge.S3PRLModule(upstream, base)
    waves = [noise(2 * SECOND), noise(SECOND, 1)]
    vectors = encode(upstream, waves, base)
    featurizer = OldFeaturizer(module, upstream_device="cpu")
    for feature, vector in zip(featurizer(waves, module(waves)), vectors, strict=True):
        assert torch.allclose(feature.mean(0), vector[0, 0], atol=1e-6)


def test_accepts_notices_other_values(noise, monkeypatch):
    upstream = catalogue.build("fbank")
    monkeypatch.setattr(bridge.S3PRLModule, "get_downsample_rates", lambda self, key=None: 162)
    with pytest.raises(UserError, match="s3prl gets"):
        bridge.accepts(upstream)


def test_post_trained_cards_are_there_for_every_backbone(tmp_path, monkeypatch):
    (tmp_path / "fbank_40.yaml").write_text("family: backbones\n" + CARD)
    (tmp_path / "made_up.yaml").write_text("family: made_up\nbackbone: fbank_40\n" + CARD)
    monkeypatch.setattr(catalogue, "CARDS", tmp_path)
    added = bridge.register()
    try:
        assert added == ["fbank_40", "made_up", "made_up@fbank_40"]
        assert bridge.register() == []
        assert S3PRLUpstream("fbank_40").hidden_sizes == [120]
        with pytest.raises(UserError, match="upstreams/made_up/model.py"):
            getattr(hub, "made_up@fbank_40")()
        with pytest.raises(UserError, match="takes no model_config"):
            hub.fbank_40(model_config="x.yaml")
    finally:
        for name in added:
            delattr(hub, name)


def test_a_broken_card_is_named_and_keeps_no_other_out(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.yaml").write_text("family: backbones\n")
    (tmp_path / "fbank_40.yaml").write_text("family: backbones\n" + CARD)
    monkeypatch.setattr(catalogue, "CARDS", tmp_path)
    added = bridge.register()
    for name in added:
        delattr(hub, name)
    assert added == ["fbank_40"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("left out of s3prl.hub: ") and "broken.yaml: contamination: Field required" in line


def test_the_runners_k_is_the_backbones_folder(hf_folder):
    module = hub.whisper_base(ckpt=str(hf_folder("whisper")))
    assert module.upstream.dim == 32


def test_a_checkpoint_of_weights_alone_goes_into_the_backbone_in_base_folder(hf_folder, noise, tmp_path):
    folder = hf_folder("hubert")
    moved = {name: value + 0.01 for name, value in load_file(folder / "model.safetensors").items()}
    save_file(moved, tmp_path / "tuned.safetensors")
    given = {"ckpt": str(tmp_path / "tuned.safetensors"), "base_folder": str(folder)}
    module = getattr(hub, "speech_ft@hubert_base")(**given)
    wanted = catalogue.build("speech_ft@hubert_base", checkpoint=tmp_path / "tuned.safetensors", folder=folder)
    assert module.base is None and module.upstream.fingerprint == wanted.fingerprint
    assert torch.equal(module([noise(SECOND)])["last_hidden_state"][0], encode(wanted, [noise(SECOND)])[0][:, -1])
    assert S3PRLUpstream("speech_ft@hubert_base", path_or_url=given["ckpt"],
                         extra_conf={"base_folder": given["base_folder"]}).hidden_sizes == [32] * 3  # fmt: skip


def test_a_card_that_stands_on_nothing_takes_the_runners_k_for_its_weights(tmp_path, monkeypatch):
    built = []
    (tmp_path / "own.yaml").write_text("family: decoar2\n" + CARD)
    (tmp_path / "fbank_40.yaml").write_text("family: backbones\n" + CARD)
    monkeypatch.setattr(catalogue, "CARDS", tmp_path)
    monkeypatch.setattr(bridge.catalogue, "build", lambda name, **given: built.append(given) or Pooled())
    monkeypatch.setattr(bridge, "base_of", lambda upstream, folder=None: None)
    added = bridge.register()
    try:
        assert added == ["fbank_40", "own"]
        hub.own(ckpt="x.pt")
        assert built == [{"recipe_seed": 0, "folder": "x.pt"}]
    finally:
        for name in added:
            delattr(hub, name)


def test_an_upstream_of_s3prls_with_a_folder_equals_ours(hf_folder, noise):
    folder = hf_folder("hubert")
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": False, "sampling_rate": SECOND}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    theirs = catalogue.build("s3prl:hf_hubert_custom", folder=folder)
    assert (theirs.dim, theirs.num_layers, theirs.stride, theirs.name) == (32, 3, 320, "s3prl:hf_hubert_custom")
    for samples in (SECOND, SECOND + 1):
        wave = noise(samples)
        ours = catalogue.build("hubert_base", folder=folder).layers([wave])[0]
        assert torch.allclose(theirs.layers([wave])[0], ours, atol=1e-5)


def test_fingerprint_of_an_upstream_of_s3prls_follows_its_weights(hf_folder):
    settings = json.dumps({"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": SECOND})
    prints = []
    for layers in (2, 2, 3):
        folder = hf_folder("hubert", num_hidden_layers=layers)
        (folder / "preprocessor_config.json").write_text(settings)
        prints.append(catalogue.build("s3prl:hf_hubert_custom", folder=folder).fingerprint)
    assert prints[0] == prints[1] != prints[2]


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_checkpoint_is_not_run_even_where_s3prl_would(tmp_path, monkeypatch):
    def entry(ckpt):
        torch.load(ckpt, map_location="cpu", weights_only=False)
        return Strange()

    monkeypatch.setattr(hub, "apc", entry)
    plain = torch.load
    torch.save({"Settings": argparse.Namespace(dim=4), "weight": torch.ones(1)}, tmp_path / "good.ckpt")
    assert bridge.S3PRLBackbone("apc", tmp_path / "good.ckpt").dim == 4
    torch.save({"weight": Bomb(tmp_path / "ran")}, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match="could not be built .UnpicklingError"):
        bridge.S3PRLBackbone("apc", tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()
    assert torch.load is plain


@pytest.mark.parametrize("frames", [60, 97, 104, 199])
def test_a_wrong_frame_count_is_an_error_not_a_cut(monkeypatch, noise, frames):
    monkeypatch.setattr(hub, "apc", lambda **_: Strange(frames=frames))
    upstream = bridge.S3PRLBackbone("apc")
    if frames == 97:
        assert upstream.layers([noise(SECOND)])[0].shape == (100, 2, 4)
    else:
        with pytest.raises(UserError, match=rf"gave {frames} frames .* makes 100"):
            upstream.layers([noise(SECOND)])


@pytest.mark.parametrize(
    ("model", "message"), [(Strange(stride=160.0), "stride 160.0"), (Strange(sizes=(4, 8)), "different sizes")]
)
def test_what_does_not_fit_the_contract_is_refused(monkeypatch, model, message):
    monkeypatch.setattr(hub, "apc", lambda **_: model)
    with pytest.raises(UserError, match=message):
        bridge.S3PRLBackbone("apc")


def test_missing_checkpoints_are_one_line(tmp_path):
    with pytest.raises(UserError, match="does not exist: wanted the file or folder its entry takes"):
        catalogue.build("s3prl:hf_hubert_custom", folder=tmp_path / "nowhere")
    with pytest.raises(UserError, match="could not be built .* -k FOLDER_OR_FILE"):
        catalogue.build("s3prl:hf_hubert_custom")
