"""The condition engine: what each op does to a signal, that it does the same everywhere, and its errors."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harness.contracts import Utterance
from harness.errors import UserError
from tasks import condition_ops, conditions, noises
from tasks.conditions import build
from tasks.manifest import read_manifest, write_manifest

RATE = 16_000
ROOT = Path(__file__).parents[2]
T60 = (0.25, 0.5, 1.0)
VOICES = (300.0, 700.0, 1_900.0, 3_100.0)
"""Each "speaker" of the miniature corpus is a tone, so that babble can be taken apart again."""

EVERY_OP: list[dict[str, Any]] = [
    {"op": "gain", "db": -3},
    {"op": "band", "low": 300, "high": 3_400},
    {"op": "resample"},
    *({"op": "codec", "codec": codec} for codec in ("gsm", "ulaw", "alaw", "opus", "mp3", "vorbis")),
    *({"op": "codec", "codec": codec, "rate": 16_000} for codec in ("opus", "mp3", "vorbis")),
    *({"op": "noise", "family": family, "snr": 5} for family in ("white", "pink", "brown", "hum", "machine")),
    {"op": "noise", "family": "babble", "snr": 10, "speakers": 3},
    {"op": "room", "t60": [0.2, 2.0]},
]
NAMES = ["-".join(str(v) for k, v in spec.items() if k in ("op", "codec", "rate", "family")) for spec in EVERY_OP]
every_op = pytest.mark.parametrize("spec", EVERY_OP, ids=NAMES)


def decay(seconds: float) -> np.ndarray:
    """A room: 5 ms before the direct path, then noise that falls by 60 dB in `seconds`."""
    n = np.arange(round(1.2 * seconds * RATE))
    tail = 0.05 * np.random.default_rng(7).standard_normal(len(n)) * 10 ** (-3 * n / RATE / seconds)
    tail[0] = 0.9
    return np.concatenate([np.zeros(80), tail])


def corpus(folder: Path, sounds: dict[str, tuple[str, str, np.ndarray]]) -> None:
    folder.mkdir(parents=True)
    rows = []
    with zipfile.ZipFile(folder / "audio.zip", "w") as archive:
        for name, (speaker, label, samples) in sounds.items():
            path = folder / "x.flac"
            soundfile.write(path, samples, RATE)
            data = path.read_bytes()
            path.unlink()
            archive.writestr(f"{name}.flac", data)
            place = (folder.resolve() / "audio.zip", f"{name}.flac", 0.0, len(samples) / RATE, RATE)
            rest = ("sure", "en", "", "", "", label, "made", "CC0-1.0", hashlib.sha256(data).hexdigest())
            rows.append(Utterance(name, folder.name, "train", *place, speaker, *rest))
    write_manifest(rows, folder / "manifest.csv")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    corpus(root / "rooms", {f"room{i}": (f"r{i}", str(t60), decay(t60)) for i, t60 in enumerate(T60)})
    n = np.arange(RATE)
    voices = {
        f"v{i}_{clip}": (f"speaker{i}", "", 0.1 * (i + 1) * np.sin(2 * np.pi * hertz * n / RATE + clip))
        for i, hertz in enumerate(VOICES)
        for clip in range(2)
    }
    corpus(root / "kokoro_asv", voices)
    return root


def speech(n: int = 2 * RATE) -> np.ndarray:
    """Noise in bursts of 0.2 s with pauses, about as loud as speech."""
    rng = np.random.default_rng(3)
    bursts = np.repeat(rng.choice([0.0, 0.5, 1.0], n // 3_200 + 1), 3_200)[:n]
    bursts[: n // 2] = np.maximum(bursts[: n // 2], 0.5)
    return (0.05 * bursts * rng.standard_normal(n)).astype(np.float32)


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.asarray(wave, dtype=np.float64) ** 2))


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


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


def test_gain_is_exact() -> None:
    out = build([{"op": "gain", "db": -3}]).apply(speech(), "u1")
    assert decibels(power(out) / power(speech())) == pytest.approx(-3, abs=1e-4)


def test_a_crop_is_a_run_of_the_samples_and_a_short_wave_stays_whole() -> None:
    wave, crop = speech(), build([{"op": "crop", "seconds": 0.5}])
    for name in ("a", "b"):
        cut = crop.apply(wave, name)
        start = next(i for i in range(len(wave) - len(cut) + 1) if np.array_equal(wave[i : i + len(cut)], cut))
        assert len(cut) == RATE // 2 and start > 0
    assert not np.array_equal(crop.apply(wave, "a"), crop.apply(wave, "b"))
    assert np.array_equal(crop.apply(wave[:1000], "a"), wave[:1000].astype(np.float32)) and not crop.keeps_length


def test_a_peak_above_one_is_scaled_not_clipped() -> None:
    wave = speech()
    out = build([{"op": "gain", "db": 40}]).apply(wave, "u1")
    assert np.abs(out).max() == 1.0
    assert np.allclose(out, wave / np.abs(wave).max(), atol=1e-6)


def test_band_keeps_the_inside_and_removes_the_outside() -> None:
    impulse = np.zeros(RATE, dtype=np.float32)
    impulse[RATE // 2] = 0.5
    out = build([{"op": "band", "low": 300, "high": 3_400}]).apply(impulse, "u1")
    gain = 2 * np.abs(np.fft.rfft(out))  # one bin a hertz
    assert np.abs(20 * np.log10(gain[350:3_351])).max() < 0.05
    assert 20 * np.log10(gain[[300, 3_400]]) == pytest.approx([-6, -6], abs=0.1)
    assert 20 * np.log10(max(gain[:250].max(), gain[3_450:].max())) < -60
    mirrored = np.roll(out[::-1], 1)  # linear phase: symmetric about the impulse
    assert np.abs(out - mirrored).max() < 1e-7


@pytest.mark.parametrize(("edges", "kept", "lost"), [((0, 2_000), 100, 4_000), ((2_000, 8_000), 6_000, 500)])
def test_band_may_be_open_on_one_side(edges: tuple[int, int], kept: int, lost: int) -> None:
    op = build([{"op": "band", "low": edges[0], "high": edges[1]}])
    n = np.arange(RATE)
    inner = slice(2_000, -2_000)
    assert power(op.apply(0.5 * np.sin(2 * np.pi * kept * n / RATE), "u")[inner]) == pytest.approx(0.125, rel=0.01)
    assert power(op.apply(0.5 * np.sin(2 * np.pi * lost * n / RATE), "u")[inner]) < 1e-6


def test_resample_removes_what_the_telephone_cannot_carry() -> None:
    n = np.arange(RATE)
    op = build([{"op": "resample", "rate": 8_000}])
    inner = slice(2_000, -2_000)
    assert power(op.apply(0.5 * np.sin(2 * np.pi * 5_000 * n / RATE), "u")[inner]) < 1e-8
    low = 0.5 * np.sin(2 * np.pi * 1_000 * n / RATE)
    assert np.abs(op.apply(low, "u") - low)[inner].max() < 1e-3


@pytest.mark.parametrize(
    ("spec", "least", "most"),
    [
        ({"codec": "ulaw"}, 30, 45),
        ({"codec": "alaw"}, 30, 45),
        ({"codec": "gsm"}, 2, 25),
        ({"codec": "opus"}, 2, 30),
        ({"codec": "mp3"}, 5, 60),
        ({"codec": "vorbis"}, 5, 40),
    ],
    ids=lambda value: str(value),
)
def test_codecs_distort_as_codecs_do(spec: dict[str, Any], least: float, most: float) -> None:
    wave = condition_ops.Band(op="band", low=300.0, high=3_000.0).run(speech().astype(np.float64)).astype(np.float32)
    out = build([{"op": "codec", **spec}]).apply(wave, "u1")
    assert least < decibels(power(wave) / power(out - wave)) < most


def test_a_higher_compression_level_costs_quality() -> None:
    wave = speech()
    errors = [
        power(build([{"op": "codec", "codec": "vorbis", "rate": 16_000, "level": level}]).apply(wave, "u") - wave)
        for level in (0.0, 0.5, 1.0)
    ]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("family", ["white", "pink", "brown", "hum", "machine", "babble"])
@pytest.mark.parametrize("snr", [20, 0.0, -5])
def test_snr_is_reached_within_a_tenth_of_a_decibel(data: Path, family: str, snr: float) -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE)
    out = build([{"op": "noise", "family": family, "snr": snr}], data=data).apply(wave, "u1")
    assert np.abs(out).max() < 1  # else the noise could not be had by subtraction
    assert decibels(power(wave) / power(out - wave)) == pytest.approx(snr, abs=0.1)


def test_pauses_do_not_change_the_noise_under_speech() -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE)
    with_pause = np.concatenate([wave, np.zeros(2 * RATE)])
    op = build([{"op": "noise", "family": "white", "snr": 10}])
    one, other = (power(op.apply(w, "u1") - w) for w in (wave, with_pause))
    assert abs(decibels(one / other)) < 0.1
    assert noises.active_power(with_pause) == pytest.approx(power(wave), rel=1e-6)
    assert noises.active_power(wave[:100]) == pytest.approx(power(wave[:100]))


@pytest.mark.parametrize(("family", "slope"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_colours_fall_as_named(family: str, slope: float) -> None:
    noise = noises.FAMILIES[family](60 * RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [spectrum[60 * low : 120 * low].mean() for low in (100, 200, 400, 800, 1_600, 3_200)]
    assert np.diff([decibels(level) for level in octaves]) == pytest.approx([slope] * 5, abs=0.3)


def test_hum_is_mains_and_its_harmonics() -> None:
    hum = noises.hum(10 * RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(hum * np.hanning(len(hum)))) ** 2
    peak = np.argmax(spectrum) / 10
    assert min(abs(peak - 50), abs(peak - 60)) < 0.2
    near = [spectrum[int(10 * k * peak) - 5 : int(10 * k * peak) + 6].sum() for k in range(1, 17)]
    assert sum(near) > 0.98 * spectrum.sum()


def test_machine_beats_and_is_kept_for_testing() -> None:
    assert list(noises.TEST_ONLY) == ["machine"] and "machine" in noises.FAMILIES
    noise = noises.machine(10 * RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    shaft = np.argmax(spectrum[:1_000]) / 10
    assert 14 < shaft < 61
    assert spectrum[3_000:50_000].sum() > 0.2 * spectrum.sum()  # the rush above 300 Hz


def parts(noise: np.ndarray) -> list[float]:
    """Power of each miniature speaker's tone in a second of noise."""
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    return [float(spectrum[int(hertz) - 3 : int(hertz) + 4].sum()) for hertz in VOICES]


def test_babble_mixes_the_asked_number_of_speakers_at_one_level(data: Path) -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    op = build([{"op": "noise", "family": "babble", "snr": 0, "speakers": 3}], data=data)
    for uid in ("u1", "u2", "u3", "u4"):
        found = np.sort(parts(op.apply(wave, uid).astype(np.float64) - wave))
        assert found[0] < 0.01 * found[1]
        assert found[3] < 1.5 * found[1]


def test_babble_never_holds_the_utterances_own_speaker(data: Path) -> None:
    wave = 0.02 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    op = build([{"op": "noise", "family": "babble", "snr": 0, "speakers": 3}], data=data)
    for own in range(len(VOICES)):
        found = parts(op.apply(wave, f"v{own}_0").astype(np.float64) - wave)
        assert found[own] < 0.01 * max(found)
    four = build([{"op": "noise", "family": "babble", "snr": 0, "speakers": 4}], data=data)
    four.apply(wave, "somebody_else")
    refused(lambda: four.apply(wave, "v0_0"), "utterance v0_0", "4 other speakers, found 3")


@pytest.mark.parametrize("t60", T60)
def test_a_room_gives_its_reverberation_time_and_keeps_the_level(data: Path, t60: float) -> None:
    op = build([{"op": "room", "t60": [t60 - 0.01, t60 + 0.01]}], data=data)
    click = np.zeros(2 * RATE, dtype=np.float32)
    click[1_000] = 0.5
    tail = np.cumsum(op.apply(click, "u1")[1_001:][::-1].astype(np.float64) ** 2)[::-1]
    fall = 10 * np.log10(tail / tail[0] + 1e-30)
    reached = [int(np.argmax(fall < level)) / RATE for level in (-5, -35)]
    assert 2 * (reached[1] - reached[0]) == pytest.approx(t60, rel=0.15)
    wet = op.apply(speech(), "u1")
    assert abs(decibels(noises.active_power(wet) / noises.active_power(speech()))) < 0.01
    assert power(wet - speech()) > 0.01 * power(speech())


def test_rooms_are_drawn_from_the_range_only(data: Path) -> None:
    wide = build([{"op": "room", "t60": [0.2, 0.6]}], data=data)
    assert [row.label for row in wide.resources[0]] == ["0.25", "0.5"]
    alone = {build([{"op": "room", "t60": [t, t]}], data=data).apply(speech(), "u").tobytes() for t in (0.25, 0.5)}
    assert {wide.apply(speech(), f"u{i}").tobytes() for i in range(20)} == alone


PATTERNS = [
    # (amplitude, seconds) of a 440 Hz tone, and the samples that sox 14.4.2 kept of it
    (
        [
            (0, 0.3),
            (0.5, 0.4),
            (0, 0.25),
            (0.2, 0.05),
            (0, 0.1),
            (0.1, 0.3),
            (0.0005, 0.09),
            (0.3, 0.2),
            (0, 0.06),
        ],
        17_116,
    ),
    ([(0.3, 0.08), (0, 0.05), (0.3, 0.5), (0.0009, 0.5), (0.002, 0.4), (0.0012, 0.3)], 14_853),
    (
        [(0.001, 0.2), (0.0016, 0.3), (0.5, 0.2), (0, 0.119), (0.5, 0.2), (0, 0.1215), (0.5, 0.2), (0, 0.5)],
        16_733,
    ),
]


def tones(pattern: list[tuple[float, float]]) -> np.ndarray:
    n = np.arange(RATE)
    pieces = [level * np.sin(2 * np.pi * 440 * n[: round(length * RATE)] / RATE) for level, length in pattern]
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize(("pattern", "kept"), PATTERNS)
def test_silence_is_trimmed_as_sox_trims_it(pattern: list[tuple[float, float]], kept: int) -> None:
    op = build([{"op": "trim_silence"}])
    assert not op.keeps_length
    assert len(op.apply(tones(pattern), "u1")) == kept


def test_trimming_keeps_samples_as_they_are_and_refuses_to_leave_none() -> None:
    wave = np.concatenate([np.zeros(4_000), tones([(0.5, 0.5)]), np.zeros(8_000)]).astype(np.float32)
    out = build([{"op": "trim_silence"}]).apply(wave, "u1")
    assert len(out) == pytest.approx(8_000, abs=340)
    assert any(np.array_equal(out, wave[start : start + len(out)]) for start in range(4_000, 4_020))
    too_short = tones([(0.5, 0.05), (0, 1)])
    refused(lambda: build([{"op": "trim_silence"}]).apply(too_short, "u7"), "utterance u7", "found none")


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
        ({"op": "noise", "family": "babel", "snr": 3}, ["family", "'babel'"]),
        ({"op": "noise", "family": "pink", "snr": 3, "speakers": 2}, ["speakers belongs to family babble"]),
        ({"op": "noise", "family": "babble", "snr": 3, "corpus": "../x"}, ["corpus"]),
        ({"op": "noise", "family": "babble", "snr": 3, "corpus": "gone"}, ["gone", "No such file"]),
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
