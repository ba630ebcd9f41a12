"""The encoder as fine-tuning trains it gives the backbone's own last state, whatever it was batched with."""

from __future__ import annotations

import pytest
import torch

from harness.errors import UserError
from upstreams import catalogue
from upstreams.speech_ft.encoder import inner, trainable

LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
CARDS = {
    "whisper": ("whisper_base", {}),
    "hubert": ("hubert_base", {}),
    "hubert large": ("hubert_large", LARGE),
    "wav2vec2": ("wav2vec2_base", {}),
    "wavlm": ("wavlm_base_plus", {}),
    "wavlm large": ("wavlm_large", LARGE),
}


@pytest.fixture(params=list(CARDS))
def backbone(request, hf_folder):
    name, config = CARDS[request.param]
    return catalogue.build(name, folder=hf_folder(request.param.split()[0], **config))


@pytest.mark.parametrize("front", [False, True])
def test_it_gives_the_backbones_last_state_for_each_utterance_of_a_padded_batch(backbone, noise, front):
    waves = [noise(samples, seed) for seed, samples in enumerate((9_000, 4_000, 16_000))]
    encoder = trainable(backbone, front=front, dropout=None).eval()
    with torch.no_grad():
        frames, lengths = encoder([encoder.front(wave) for wave in waves])
    for wave, found in zip(waves, torch.split(frames, lengths), strict=True):
        wanted = backbone.layers([wave])[0][:, -1]
        assert 0 <= len(wanted) - len(found) <= 2  # what the frame-count rule repeats
        torch.testing.assert_close(found, wanted[: len(found)], rtol=1e-4, atol=1e-5)


def test_dropout_is_the_one_asked_for(backbone, noise):
    own = noise(8_000)
    still = trainable(backbone, front=False, dropout=0.0).train()
    state = still.front(own)
    if not hasattr(backbone, "model"):  # the others have dropouts beside their blocks' own
        assert torch.equal(still([state])[0], still([state])[0])
    moving = trainable(backbone, front=False, dropout=0.5).train()
    assert not torch.equal(moving([state])[0], moving([state])[0])


def test_the_front_end_learns_only_where_asked(backbone, noise):
    names = {"conv1.weight", "feature_extractor.conv_layers.0.conv.weight"}
    for front in (False, True):
        encoder = trainable(backbone, front=front, dropout=None).train()
        encoder.freeze(False)
        encoder([encoder.front(noise(8_000))])[0].square().sum().backward()
        module = inner(backbone)
        moved = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert bool(names & moved) == front and bool(moved)
        assert moved <= set(encoder.learns)
        module.zero_grad()
        encoder.freeze(True)
        assert not any(p.requires_grad for p in module.parameters())


def test_clips_that_whisper_cannot_take_whole_are_refused(hf_folder, noise):
    encoder = trainable(catalogue.build("whisper_base", folder=hf_folder("whisper")), front=False, dropout=None)
    encoder.front(noise(30 * 16000))
    with pytest.raises(UserError, match="at most 30 s wanted to fine-tune whisper_base, found one of 30.1 s"):
        encoder.front(noise(30 * 16000 + 1600))


def test_a_backbone_that_is_not_ours_to_train_is_refused():
    with pytest.raises(UserError, match="fbank cannot be fine-tuned"):
        trainable(catalogue.build("fbank"), front=False, dropout=None)
    with pytest.raises(UserError, match="fbank cannot be fine-tuned"):
        inner(catalogue.build("fbank"))
