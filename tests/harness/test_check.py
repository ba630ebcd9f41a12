"""`check` finds what is wrong with a wrong upstream, and names it."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from harness.check import Check, check
from harness.errors import UserError


class Good(nn.Module):
    """Power of the wave in frames of 10 ms, in two layers."""

    name, base, level, dim, num_layers, stride, fingerprint = "good", None, "frame", 1, 2, 160, "0" * 64

    def __init__(self):
        super().__init__()
        self.eval()

    @torch.no_grad()
    def layers(self, waves):
        return [self.one(wave) for wave in waves]

    def one(self, wave):
        padded = nn.functional.pad(wave, (0, -len(wave) % 160))
        return padded.view(-1, 160).square().mean(1).view(-1, 1, 1).repeat(1, 2, 1)

    def transform(self, layers):
        return list(layers)


class Random(Good):
    def one(self, wave):
        return super().one(wave) + torch.rand(1)


class Batched(Good):
    def layers(self, waves):
        return [self.one(wave / torch.stack(list(waves)).std()) for wave in waves]


class Short(Good):
    def one(self, wave):
        return super().one(wave)[: len(wave) // 160]


class Silent(Good):
    def one(self, wave):
        return super().one(wave / wave.abs().max())


class Constant(Good):
    def one(self, wave):
        return torch.ones_like(super().one(wave))


class Double(Good):
    def transform(self, layers):
        return [states.repeat(1, 1, 2) for states in layers]


class Live(Good):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class Training(Good):
    def __init__(self):
        super().__init__()
        self.train()


class Huge(Good):
    def one(self, wave):
        return super().one(wave) * 1e9


class Broken(Good):
    def one(self, wave):
        if len(wave) > 200_000:
            raise IndexError("no position beyond 30 s")
        return super().one(wave)


def failed(upstream) -> dict[str, str]:
    return {result.name: result.detail for result in check(upstream, bridge=None) if not result.ok}


def test_a_good_upstream_passes():
    results = check(Good())
    assert [result.name for result in results] == [
        "contract", "shapes", "silence", "content", "determinism", "batch", "gradients", "device", "s3prl"
    ]  # fmt: skip
    assert all(result.ok for result in results), results


@pytest.mark.parametrize(
    ("upstream", "name", "says"),
    [
        (Random, "determinism", "two calls differ"),
        (Batched, "batch", "beside waves of its length"),
        (Short, "shapes", r"wanted \(101, 2, 1\), found \(100, 2, 1\)"),
        (Silent, "silence", "NaN"),
        (Constant, "content", "same features"),
        (Double, "shapes", r"wanted \(10, 2, 1\), found \(10, 2, 2\)"),
        (Live, "gradients", "want a gradient"),
        (Training, "gradients", "training mode"),
        (Huge, "shapes", "exceeds half precision"),
        (Broken, "shapes", "IndexError: no position beyond 30 s"),
    ],
)
def test_a_fault_is_found_and_named(upstream, name, says):
    found = failed(upstream())
    assert name in found
    assert re.search(says, found[name]), found[name]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("stride", 160.0, "stride wants an int"),
        ("stride", 0, "does not go with level"),
        ("level", "word", "level wants"),
        ("dim", 0, "positive"),
        ("fingerprint", "abc", "64 hex digits"),
    ],
)
def test_a_broken_contract_ends_the_checks(field, value, says):
    upstream = Good()
    setattr(upstream, field, value)
    (only,) = check(upstream)
    assert not only.ok
    assert says in only.detail


def test_what_is_no_upstream_is_said_to_be_none():
    (only,) = check(object())
    assert (only.name, only.ok) == ("contract", False)


def test_an_unknown_base_is_a_failed_check():
    upstream = Good()
    upstream.base = "nothing_like_it"
    contract, backbone = check(upstream)
    assert contract.ok
    assert "unknown upstream 'nothing_like_it'" in backbone.detail


def test_a_bridge_that_refuses_is_a_failed_check(monkeypatch):
    import harness.check

    def refuse(upstream, base):
        raise UserError("not like this")

    monkeypatch.setattr(harness.check, "resolve", lambda target: refuse)
    *_, last = check(Good())
    assert last == Check("s3prl", False, "not like this")
    assert str(last).startswith("FAILED s3prl: ")
