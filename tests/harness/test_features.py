"""The store: encoded once, the same warm or cold, free of the batch, and its key sees all that matters."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import features as module
from harness.contracts import Utterance
from harness.encode import encode
from harness.errors import UserError
from harness.features import Features, FeatureStore, LayerView, time_mean


class Backbone:
    """Two layers of framed samples; counts how often it is asked."""

    name, base, level, dim, num_layers, stride, fingerprint = "toy", None, "frame", 4, 2, 4, "a" * 64

    def __init__(self) -> None:
        self.calls = 0

    def layers(self, waves):
        self.calls += len(waves)
        framed = [w.reshape(-1, 4) for w in waves]
        return [torch.stack([f, 3 * f], dim=1) for f in framed]

    def transform(self, layers):
        return list(layers)


class Doubled:
    """Twice the backbone; pooled over time where the level says so."""

    name, base, dim, num_layers, stride = "doubled", "toy", 4, 2, 4

    def __init__(self, level: str = "frame", fingerprint: str = "b" * 64):
        self.level, self.fingerprint = level, fingerprint

    def transform(self, layers):
        doubled = [2 * x for x in layers]
        return [x.mean(0, keepdim=True) for x in doubled] if self.level == "utterance" else doubled


class Louder:
    def __init__(self, version: str, gain: float):
        self.version, self.gain = version, gain

    def apply(self, wave, utterance_id):
        return wave * self.gain


def row(name: str, sha: str = "s") -> Utterance:
    return Utterance(name, "c", "s", None, name, 0, 1, 16000, "p", "sure", "", "", "", "", "", "", "", sha)


@pytest.fixture
def audio(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.audio, "read", lambda u: np.linspace(-0.7, 0.9, 40, dtype=np.float32))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def test_encoded_once_ever(audio, store) -> None:
    backbone = Backbone()
    cold = Features(backbone, None, [row("u")], store)
    first = cold.frames("u"), cold.mean("u")
    warm = Features(backbone, None, [row("u")], store)
    assert torch.equal(warm.frames("u"), first[0]) and torch.equal(warm.mean("u"), first[1])
    assert backbone.calls == 1 and first[0].shape == (10, 2, 4) and first[1].shape == (2, 4)


def test_the_store_and_the_wave_path_agree(audio, store) -> None:
    wave = torch.from_numpy(module.audio.read(row("u")))
    for upstream in (Doubled(), Doubled("utterance")):
        source = Features(upstream, Backbone(), [row("u")], store)
        direct = encode(upstream, [wave], Backbone())[0]
        assert torch.equal(source.frames("u"), direct)
        assert torch.equal(source.mean("u"), time_mean(direct))


def test_what_stands_on_a_backbone_reuses_its_frames(audio, store) -> None:
    backbone = Backbone()
    Features(backbone, None, [row("u")], store).prepare(["u"], "frames", "")
    Features(Doubled(), backbone, [row("u")], store).frames("u")
    assert backbone.calls == 1


@pytest.mark.parametrize("level", ["frame", "utterance"])
def test_prepare_fills_and_a_second_prepare_finds(audio, store, level: str) -> None:
    backbone = Backbone()
    for form in ("frames", "means"):
        Features(Doubled(level), backbone, [row("u"), row("v", "t")], store).prepare(["u", "v"], form, "")
    assert backbone.calls == 2
    assert not Features(Doubled(level), backbone, [row("u")], store)._utterances.keys() - {"u"}


def test_the_key_sees_weights_content_condition_and_base(audio, store) -> None:
    def made(upstream, base, utterance, condition=None) -> torch.Tensor:
        conditions = {utterance.id: condition} if condition else {}
        return Features(upstream, base, [utterance], store, conditions=conditions).mean(utterance.id)

    toy, other = Backbone(), Backbone()
    other.fingerprint = "c" * 64
    made(toy, None, row("u"))
    made(toy, None, row("w"))  # another id of the same recording: the same features
    assert toy.calls == 1
    made(toy, None, row("u", "other content"))
    made(toy, None, dataclasses.replace(row("u"), start=0.5))
    made(toy, None, row("u"), Louder("1", 0.5))
    made(toy, None, row("u"), Louder("2", 0.25))
    made(toy, None, row("w"), Louder("1", 0.5))  # a condition draws from the id
    assert toy.calls == 6
    made(other, None, row("u"))
    assert other.calls == 1
    paths = {Features(Doubled(), base, [row("u")], store).fingerprint for base in (toy, other)}
    assert len(paths) == 2


def test_a_broken_file_is_made_again(audio, store, tmp_path: Path) -> None:
    backbone = Backbone()
    good = Features(backbone, None, [row("u")], store).frames("u")
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:-7])
    assert torch.equal(Features(backbone, None, [row("u")], store).frames("u"), good) and backbone.calls == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(audio, store, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(UserError, match="No space left on device.*POST_SUPERB_CACHE"):
        Features(Backbone(), None, [row("u")], store).frames("u")
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_what_half_precision_cannot_hold_is_refused(audio, store) -> None:
    class Huge(Backbone):
        def layers(self, waves):
            return [1e6 * x for x in super().layers(waves)]

    with pytest.raises(UserError, match="half precision"):
        Features(Huge(), None, [row("u")], store).frames("u")


def test_memory_is_bounded_and_the_last_one_stays(audio, store) -> None:
    rows = [row(f"u{i}", str(i)) for i in range(5)]
    source = Features(Backbone(), None, rows, store, memory_mb=0)
    for utterance in rows:
        source.frames(utterance.id)
    assert list(source._memory) == ["u4"]


def test_a_view_shows_its_layers(audio, store) -> None:
    source = Features(Backbone(), None, [row("u")], store)
    last = LayerView(source, [1])
    assert last.num_layers == 1
    assert torch.equal(last.frames("u"), source.frames("u")[:, 1:]) and torch.equal(
        last.mean("u"), source.mean("u")[1:]
    )
