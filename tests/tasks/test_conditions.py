"""The condition engine: that every op keeps length and place, does the same everywhere, and its errors."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_up_sounds import EVERY_OP, NAMES, RATE, T60, corpus, decay, refused, speech

from tasks import condition_ops, conditions, noises
from tasks.conditions import build
from tasks.manifest import read_manifest

ROOT = Path(__file__).parents[2]
every_op = pytest.mark.parametrize("spec", EVERY_OP, ids=NAMES)


@every_op
@pytest.mark.parametrize("n", [400, 7_999, 24_001])
def test_length_type_and_range_are_kept(data: Path, spec: dict[str, Any], n: int) -> None:
    out = build([spec], data=data).apply(speech(n), "u1")
    assert out.shape == (n,) and out.dtype == np.float32
    assert np.isfinite(out).all() and 0 < np.abs(out).max() <= 1


@every_op
def test_nothing_is_delayed(data: Path, spec: dict[str, Any]) -> None:
    wave = condition_ops.Band(op="band", low=300.0, high=3_000.0).run(speech().astype(np.float64)).astype(np.float32)
    out = build([spec], data=data).apply(wave, "u1")
    spectra = np.fft.rfft(out, 2 * len(out)) * np.fft.rfft(wave, 2 * len(out)).conj()
    assert int(np.argmax(np.fft.irfft(spectra))) == 0


def test_no_ops_leave_the_samples_untouched() -> None:
    clean = build([])
    assert clean.version == conditions.CLEAN == "clean"
    loud = 3 * speech()
    assert np.array_equal(clean.apply(loud, "u1"), loud)


def test_a_peak_above_one_is_scaled_not_clipped() -> None:
    wave = speech()
    out = build([{"op": "gain", "db": 40}]).apply(wave, "u1")
    assert np.abs(out).max() == 1.0
    assert np.allclose(out, wave / np.abs(wave).max(), atol=1e-6)


IDS = ["a", "b", "c", "d"]


def digests(data: Path, ids: list[str]) -> dict[str, str]:
    found = {}
    for spec, name in zip(EVERY_OP, NAMES, strict=True):
        op = build([spec, {"op": "gain", "db": -3}], data=data)
        for uid in ids:
            found[f"{name}/{uid}"] = hashlib.sha256(op.apply(speech(6_000), uid).tobytes()).hexdigest()
        found[name] = op.version
    return found


def test_the_same_in_another_process_and_in_any_order(data: Path) -> None:
    code = (
        "import json, sys, pathlib; sys.path[:0] = sys.argv[2:4]; import test_conditions as t; "
        "print(json.dumps(t.digests(pathlib.Path(sys.argv[1]), t.IDS[::-1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data), str(ROOT), str(Path(__file__).parent)],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "99", "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert json.loads(done.stdout) == digests(data, IDS)


def test_random_ops_follow_utterance_seed_and_parameters(data: Path) -> None:
    wave = speech()
    base = {"op": "noise", "family": "white", "snr": 10}
    out = build([base], data=data).apply(wave, "u1")
    assert np.array_equal(out, build([dict(reversed(base.items()))], data=data).apply(wave, "u1"))
    others = [
        build([base], data=data).apply(wave, "u2"),
        build([base], seed=1, data=data).apply(wave, "u1"),
        build([{**base, "snr": 11}], data=data).apply(wave, "u1"),
    ]
    noise = out - wave
    for other in others:
        assert abs(np.corrcoef(noise, other - wave)[0, 1]) < 0.05


def test_an_added_op_leaves_the_draws_of_the_others(data: Path) -> None:
    noise, gain = {"op": "noise", "family": "pink", "snr": 10}, {"op": "gain", "db": -6}
    both, alone = build([noise, gain]).apply(speech(), "u"), build([noise]).apply(speech(), "u")
    assert np.allclose(both, alone * 10 ** (-6 / 20), atol=1e-7)


def test_the_same_op_twice_draws_twice() -> None:
    noise = {"op": "noise", "family": "white", "snr": 0}
    once, twice = build([noise]).apply(speech(), "u"), build([noise, noise]).apply(speech(), "u")
    second = noises.mix(once, twice.astype(np.float64) - once, 0)
    assert abs(np.corrcoef(once - speech(), second - once)[0, 1]) < 0.05


def test_versions_are_stable_and_follow_what_decides_the_samples(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build([{"op": "gain", "db": -3}]).version == "af37edeafc6d1f08"
    room: dict[str, Any] = {"op": "room", "t60": [0.2, 2]}
    codec: dict[str, Any] = {"op": "codec", "codec": "opus"}
    specs = [room], [{**room, "t60": [0.2, 1.0]}], [codec], [room, codec], [codec, room]
    versions = {build(spec, seed=seed, data=data).version for spec in specs for seed in (0, 1)}
    assert len(versions) == 10
    assert build([{**codec, "rate": 8_000}]).version == build([codec]).version  # a default, said or not
    before = build([codec]).version, build([room], data=data).version
    with monkeypatch.context() as patch:
        patch.setattr(soundfile, "__libsndfile_version__", "0.0.0")
        assert build([codec]).version != before[0] and build([room], data=data).version == before[1]
    with monkeypatch.context() as patch:
        patch.setattr(condition_ops.Codec, "VERSION", 2)
        assert build([codec]).version != before[0]
    corpus(tmp_path / "same" / "rooms", {f"room{i}": (f"r{i}", str(t), decay(t)) for i, t in enumerate(T60)})
    corpus(
        tmp_path / "other" / "rooms",
        {f"room{i}": (f"r{i}", str(t), 0.9 * decay(t)) for i, t in enumerate(T60)},
    )
    assert build([room], data=tmp_path / "same").version == before[1]
    assert build([room], data=tmp_path / "other").version != before[1]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"op": "nosie"}, ["op 1", "unknown op 'nosie'", "did you mean noise"]),
        ({"op": "gain", "dB": -3}, ["gain", "unknown key 'dB'", "did you mean db"]),
        ({"op": "gain"}, ["gain", "db", "required"]),
        ({"op": "gain", "db": "loud"}, ["db", "number", "'loud'"]),
        ({"op": "gain", "db": float("nan")}, ["db"]),
        ({"gain": -3}, ["key 'op'"]),
        ("gain", ["mapping"]),
        ({"op": "band", "low": 3_400, "high": 300}, ["low < high"]),
        ({"op": "band", "low": 0, "high": 9_000}, ["high", "8000"]),
        ({"op": "codec", "codec": "flac"}, ["codec", "'flac'"]),
        ({"op": "codec", "codec": "gsm", "rate": 16_000}, ["gsm is defined at 8000"]),
        ({"op": "codec", "codec": "ulaw", "level": 0.5}, ["no compression level"]),
        ({"op": "codec", "codec": "mp3", "level": 1.0}, ["mp3", "below 1"]),
        ({"op": "noise", "family": "babel", "snr": 3}, ["family", "'babel'"]),
        ({"op": "noise", "family": "pink", "snr": 3, "speakers": 2}, ["speakers belongs to family babble"]),
        ({"op": "noise", "family": "babble", "snr": 3, "corpus": "../x"}, ["corpus"]),
        ({"op": "noise", "family": "babble", "snr": 3, "corpus": "gone"}, ["gone", "no folder given"]),
        ({"op": "noise", "family": "babble", "snr": 3, "split": "tran"}, ["split=tran", "train"]),
        ({"op": "room", "t60": [3, 4]}, ["no room of rooms", "0.25 to 1 s"]),
        ({"op": "room", "t60": 0.5}, ["t60", "list"]),
        ({"op": "room", "t60": [0.1, 0.5], "corpus": "kokoro_asv"}, ["T60 in seconds"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_condition_is_one_line(data: Path, entry: Any, words: list[str]) -> None:
    refused(lambda: build([entry], data=data), *words)


def test_waves_that_cannot_be_worked_on(data: Path) -> None:
    op = build([{"op": "noise", "family": "white", "snr": 3}])
    refused(lambda: op.apply(np.zeros(RATE), "u9"), "utterance u9", "noise", "all zero")
    refused(lambda: op.apply(np.zeros(0), "u9"), "utterance u9")
    refused(lambda: op.apply(np.zeros((2, 50)), "u9"), "utterance u9", "(2, 50)")
    refused(lambda: op.apply(np.full(50, np.nan), "u9"), "utterance u9", "finite")


def test_the_miniature_corpora_are_real_manifests(data: Path) -> None:
    assert len(read_manifest(data / "rooms")) == 3 and len(read_manifest(data / "kokoro_asv")) == 8
