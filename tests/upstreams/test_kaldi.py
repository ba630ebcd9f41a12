from __future__ import annotations

import pytest
import torch

from harness.errors import UserError
from upstreams import catalogue


@pytest.mark.parametrize("name", ["fbank", "mfcc"])
@pytest.mark.parametrize("samples", [1600, 16_000, 16_001])
def test_equals_s3prls_own_baseline(name, samples, noise):
    wave = noise(samples)
    ours, theirs = (catalogue.build(n).layers([wave])[0] for n in (name, f"s3prl:{name}"))
    assert ours.shape == theirs.shape == (-(-samples // 160), 1, {"fbank": 240, "mfcc": 39}[name])
    assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["fbank", "mfcc"])
def test_utterance_is_normalised_over_its_own_frames(name, noise):
    whole = 1 + (16_000 - 400) // 160
    frames = catalogue.build(name).layers([noise(16_000)])[0][:whole, 0]
    assert frames.mean(0).abs().max() < 1e-4
    assert torch.allclose(frames.std(0), torch.ones(frames.shape[1]), atol=1e-3)


@pytest.mark.parametrize("name", ["fbank", "mfcc"])
def test_one_frame_and_silence_are_zero_not_noise(name, noise):
    upstream = catalogue.build(name)
    assert upstream.layers([noise(400)])[0].abs().max() == 0
    assert upstream.layers([torch.zeros(16_000)])[0].abs().max() == 0


def test_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="fbank has no weights"):
        catalogue.build("fbank", folder=tmp_path)
