"""`run.py check -u NAME`: proves an upstream in seconds, on synthetic audio, before a run spends hours on it.

    for result in check(build("whisper_tiny")):
        print(result)

A check that fails says what it wanted and what it found; a check that raises counts as failed, with the
error's line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.contracts import SAMPLE_RATE, Upstream
from harness.encode import base_of, encode
from harness.errors import UserError
from harness.registry import resolve

BRIDGE = "upstreams.s3prl_bridge:accepts"

LENGTHS = (SAMPLE_RATE // 10, SAMPLE_RATE, SAMPLE_RATE + 1, 21_937, 31 * SAMPLE_RATE)
"""Samples. 0.1 s, a whole second, one sample more, an odd length, and more than the 30 s window of some models."""


@dataclass(frozen=True, slots=True)
class Check:
    """One property, whether it holds, and what was seen."""

    name: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        return f"{'ok    ' if self.ok else 'FAILED'} {self.name}: {self.detail}"


def check(upstream: Upstream, *, base: Upstream | None = None, bridge: str | None = BRIDGE) -> list[Check]:
    """Every check in order. `base` is the built backbone of a post-trained upstream, else it comes from the catalogue.

    `bridge` names the function that runs s3prl's own S3PRLUpstream on it; None leaves that out. After a
    failed 'contract' nothing else is tried, since the rest could not be read.
    """
    contract = _run("contract", lambda: _contract(upstream))
    if not contract.ok:
        return [contract]
    try:
        under = _Under(upstream, base if base is not None else base_of(upstream, device=_device(upstream)))
    except UserError as error:
        return [contract, Check("backbone", False, str(error))]
    checks: list[tuple[str, Callable[[], str]]] = [
        ("shapes", under.shapes),
        ("silence", under.silence),
        ("content", under.content),
        ("determinism", under.determinism),
        ("batch", under.batch),
        ("gradients", under.gradients),
        ("device", under.devices),
    ]
    if bridge is not None:
        checks.append(("s3prl", lambda: resolve(bridge)(upstream, under.base)))
    return [contract, *(_run(name, function) for name, function in checks)]


def _run(name: str, function: Callable[[], str]) -> Check:
    try:
        return Check(name, True, function())
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding, shown as a failure
        kind = "" if isinstance(error, (UserError, _Wrong)) else f"{type(error).__name__}: "
        return Check(name, False, kind + " ".join(str(error).split())[:400])


class _Wrong(Exception):
    """A property does not hold."""


def _want(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _Wrong(otherwise)


def _contract(upstream: Upstream) -> str:
    _want(
        isinstance(upstream, Upstream),
        f"{type(upstream).__name__} lacks a member of harness.contracts.Upstream",
    )
    for field in ("dim", "num_layers", "stride"):
        value = getattr(upstream, field)
        _want(type(value) is int, f"{field} wants an int, found {value!r}")
    _want(
        upstream.level in ("frame", "utterance"),
        f"level wants 'frame' or 'utterance', found {upstream.level!r}",
    )
    _want(upstream.dim > 0 and upstream.num_layers > 0, "dim and num_layers want to be positive")
    frame = upstream.level == "frame"
    _want((upstream.stride > 0) == frame, f"stride {upstream.stride} does not go with level {upstream.level!r}")
    _want(bool(re.fullmatch("[0-9a-f]{64}", upstream.fingerprint)), "fingerprint wants 64 hex digits (sha256)")
    on = f" on {upstream.base}" if upstream.base else ""
    return f"{upstream.num_layers} x {upstream.dim}, level {upstream.level}, stride {upstream.stride}{on}"


class _Under:
    """The upstream under check, with its backbone."""

    def __init__(self, upstream: Upstream, base: Upstream | None):
        self.upstream, self.base = upstream, base

    def _encode(self, *waves: Tensor) -> list[Tensor]:
        return encode(self.upstream, waves, self.base)

    def shapes(self) -> str:
        """(T, L, D) float32, finite, T = ceil(n / stride) or 1, at every length."""
        counts = []
        for samples in LENGTHS:
            (found,) = self._encode(_noise(samples))
            due = 1 if self.upstream.level == "utterance" else -(-samples // self.upstream.stride)
            want = (due, self.upstream.num_layers, self.upstream.dim)
            _want(tuple(found.shape) == want, f"{samples} samples: wanted {want}, found {tuple(found.shape)}")
            _want(found.dtype == torch.float32, f"wanted float32, found {found.dtype}")
            _want(bool(torch.isfinite(found).all()), f"{samples} samples: features are not finite")
            counts.append(f"{samples / SAMPLE_RATE:.5g} s -> {due}")
        return "frames " + ", ".join(counts)

    def silence(self) -> str:
        (found,) = self._encode(torch.zeros(SAMPLE_RATE))
        _want(bool(torch.isfinite(found).all()), "features of digital silence are not finite")
        return "finite on digital silence"

    def content(self) -> str:
        one, other = self._encode(_noise(SAMPLE_RATE, 1), _tone(SAMPLE_RATE))
        _want(not torch.allclose(one, other), "noise and a tone give the same features")
        return "noise and a tone differ"

    def determinism(self) -> str:
        """Bit for bit on the CPU; accelerators may choose another kernel."""
        torch.manual_seed(0)
        (first,) = self._encode(_noise(SAMPLE_RATE))
        torch.manual_seed(1)
        (second,) = self._encode(_noise(SAMPLE_RATE))
        return _close(first, second, exact=first.device.type == "cpu", what="two calls differ")

    def batch(self) -> str:
        """An utterance alone, beside others of its length, and beside longer ones: the same features."""
        wave = _noise(SAMPLE_RATE)
        (alone,) = self._encode(wave)
        exact = alone.device.type == "cpu"
        same = self._encode(_noise(SAMPLE_RATE, 1), wave, _tone(SAMPLE_RATE))[1]
        _close(alone, same, exact=exact, what="alone and beside waves of its length it differs")
        mixed = self._encode(_noise(2 * SAMPLE_RATE, 1), wave, _tone(SAMPLE_RATE // 2))[1]
        return _close(alone, mixed, exact=exact, what="alone and beside longer waves it differs")

    def gradients(self) -> str:
        wave = _noise(SAMPLE_RATE).requires_grad_()
        (found,) = self._encode(wave)
        _want(not found.requires_grad, "features carry a gradient")
        for part in (self.upstream, self.base):
            if isinstance(part, nn.Module):
                live = [name for name, p in part.named_parameters() if p.requires_grad]
                _want(
                    not live,
                    f"{len(live)} parameters of {part.name} want a gradient, the first is {live[:1]}",
                )
                busy = [name for name, module in part.named_modules() if module.training]
                _want(
                    not busy,
                    f"{len(busy)} modules of {part.name} are in training mode, the first is {busy[:1]}",
                )
        return "none, all in eval mode"

    def devices(self) -> str:
        """To the accelerator and back, if there is one; features move with it and stay close."""
        home = _device(self.upstream)
        (here,) = self._encode(_noise(SAMPLE_RATE))
        away = "cuda" if torch.cuda.is_available() and home.type != "cuda" else "cpu"
        try:
            for place in (torch.device(away), home):
                for part in self._parts():
                    part.to(place)
                (moved,) = self._encode(_noise(SAMPLE_RATE))
                _want(moved.device.type == place.type, f"features are on {moved.device} after a move to {place}")
                _close(here, moved.to(here.device), exact=False, what=f"features change on {place}")
        finally:
            for part in self._parts():
                part.to(home)
        return f"{home.type} and {away}"

    def _parts(self) -> Iterator[Upstream]:
        yield self.upstream
        if self.base is not None:
            yield self.base


def _close(one: Tensor, other: Tensor, *, exact: bool, what: str) -> str:
    """Features are rounded to half precision on the way, so 'close' is a few of its steps (2^-11 of the value)."""
    gap = float((one - other).abs().max())
    scale = float(one.abs().max())
    _want(
        gap == 0 if exact else gap <= 5e-3 * max(scale, 1e-3),
        f"{what} by {gap:.3g} on a scale of {scale:.3g}",
    )
    return "bit for bit" if gap == 0 else f"within {gap:.2g} on a scale of {scale:.3g}"


def _device(upstream: Upstream) -> torch.device:
    if isinstance(upstream, nn.Module):
        for tensor in (*upstream.parameters(), *upstream.buffers()):
            return tensor.device
    return torch.device("cpu")


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def _tone(samples: int) -> Tensor:
    return 0.3 * torch.sin(torch.arange(samples) * (2 * torch.pi * 220 / SAMPLE_RATE))
