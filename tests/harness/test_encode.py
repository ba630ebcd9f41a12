from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.encode import base_of, encode, rounded
from harness.errors import UserError


class Counting(nn.Module):
    """Frame t of a wave holds the wave's first sample plus t, in two layers."""

    name, base, level, dim, num_layers, stride, fingerprint = "counting", None, "frame", 1, 2, 10, "0" * 64

    def __init__(self):
        super().__init__()
        self.calls = []

    def layers(self, waves):
        self.calls.append([len(wave) for wave in waves])
        return [(wave[0] + torch.arange(-(-len(wave) // 10))).view(-1, 1, 1).repeat(1, 2, 1) for wave in waves]

    def transform(self, layers):
        return list(layers)


class Mean(Counting):
    base, level, stride = "counting", "utterance", 0

    def layers(self, waves):
        raise AssertionError("a post-trained upstream reads its base's hidden states")

    def transform(self, layers):
        return [states.mean(dim=0, keepdim=True) for states in layers]


def test_rounding_is_that_of_half_precision():
    features = torch.tensor([1.0, 1 + 2**-11, 1 + 2**-10, 65504.0, 1e-9])
    assert rounded(features, "x").tolist() == [1.0, 1.0, 1 + 2**-10, 65504.0, 0.0]
    assert torch.equal(rounded(rounded(features, "x"), "x"), rounded(features, "x"))


@pytest.mark.parametrize(
    ("value", "reason"), [(7e4, "exceeds half precision"), (float("nan"), "NaN"), (float("-inf"), "NaN or infinity")]
)
def test_what_the_store_cannot_keep_is_an_error(value, reason):
    with pytest.raises(UserError, match=reason):
        rounded(torch.tensor([0.0, value]), "x")


def test_waves_of_one_length_share_a_call_and_keep_their_order():
    upstream = Counting()
    waves = [torch.full((n,), float(i)) for i, n in enumerate((20, 35, 20, 5))]
    features = encode(upstream, waves)
    assert upstream.calls == [[20, 20], [35], [5]]
    assert [f.shape for f in features] == [(2, 2, 1), (4, 2, 1), (2, 2, 1), (1, 2, 1)]
    assert [float(f[0, 0, 0]) for f in features] == [0, 1, 2, 3]
    assert encode(upstream, []) == []


def test_a_post_trained_upstream_reads_the_rounded_states_of_its_base():
    wave = torch.full((20,), 1 + 2**-11)
    (features,) = encode(Mean(), [wave], Counting())
    assert features.tolist() == [[[1.5], [1.5]]]


def test_the_base_comes_from_the_catalogue():
    upstream = Mean()
    upstream.base = "fbank"
    assert base_of(upstream).name == "fbank"
    assert encode(upstream, [torch.randn(16_000)])[0].shape == (1, 1, 240)
    assert base_of(Counting()) is None


def test_an_upstream_may_refuse_its_base():
    class Choosy(Mean):
        base = "fbank"

        def check_base(self, base):
            raise UserError(f"trained on another backbone than {base.name}")

    with pytest.raises(UserError, match="another backbone than fbank"):
        base_of(Choosy())
