"""Noise and rooms from folders of the user's own, and what takes their place where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_up_sounds import RATE, decay, decibels, power, refused

from tasks.conditions import build

LOUD = 0.02 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
TONES = {
    "noise/free-sound/noise-free-sound-0000": 500.0,
    "noise/free-sound/noise-free-sound-0001": 900.0,
    "noise/sound-bible/noise-sound-bible-0000": 3_000.0,
    "music/rfm/music-rfm-0000": 5_000.0,
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature MUSAN, one file of it long and half silent, and responses of one and of two channels."""
    root = tmp_path_factory.mktemp("disk")
    n = np.arange(RATE)
    for name, hertz in TONES.items():
        path = root / "data" / "musan" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.1 * np.sin(2 * np.pi * hertz * n[: RATE // 2] / RATE)
        soundfile.write(path, np.pad(np.tile(tone, 6), (3 * RATE, 0)) if name.endswith("0001") else tone, RATE)
    rooms = root / "RIRS_NOISES"
    (rooms / "real_rirs_isotropic_noises").mkdir(parents=True)
    other = np.roll(decay(0.5), 200)
    both = np.stack([decay(0.3), other[: len(decay(0.3))]], axis=1)
    soundfile.write(rooms / "real_rirs_isotropic_noises" / "RVB2014_type1_rir_a.wav", both, RATE, subtype="FLOAT")
    soundfile.write(rooms / "real_rirs_isotropic_noises" / "RVB2014_type1_noise_a.wav", LOUD, RATE)
    (rooms / "simulated_rirs" / "smallroom" / "Room001").mkdir(parents=True)
    soundfile.write(rooms / "simulated_rirs" / "smallroom" / "Room001" / "Room001-00001.wav", decay(0.2), RATE)
    return root


@pytest.fixture
def mine(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "corpora.yaml"
    listing.write_text(f"corpora:\n  musan: {disk}/data\n  rirs: {disk}/RIRS_NOISES\n")
    monkeypatch.setenv("POST_SUPERB_CORPORA", str(listing))
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "none.yaml").write_text("corpora:\n")
    monkeypatch.setenv("POST_SUPERB_CORPORA", str(tmp_path / "none.yaml"))


def loudest(wave: np.ndarray) -> int:
    return int(np.argmax(np.abs(np.fft.rfft(wave))))


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("n", [RATE // 4, RATE, 2 * RATE])
def test_recorded_noise_reaches_its_snr_and_is_never_silent(n: int) -> None:
    op = build([{"op": "recorded_noise", "snr": 3}])
    wave = np.resize(LOUD, n)
    heard = set()
    for uid in map(str, range(12)):
        noise = op.apply(wave, uid).astype(np.float64) - wave
        assert decibels(power(wave) / power(noise)) == pytest.approx(3, abs=0.1)
        heard.add(round(loudest(noise) * RATE / n, -2))
    assert heard == {500, 900}  # both clips of its split, and none of another


@pytest.mark.usefixtures("mine")
def test_several_recordings_are_mixed_at_one_level() -> None:
    op = build([{"op": "recorded_noise", "snr": 0, "count": 4, "split": "noise"}])
    noise = op.apply(LOUD, "u2").astype(np.float64) - LOUD
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    assert decibels(power(LOUD) / power(noise)) == pytest.approx(0, abs=0.1)
    assert spectrum[[500, 900]].min() > 0.01 * spectrum.max()


@pytest.mark.usefixtures("mine")
def test_one_source_of_musan_and_one_family_are_kept_for_testing() -> None:
    unseen = {"op": "recorded_noise", "snr": 0, "split": "noise_unseen"}
    assert loudest(build([unseen]).apply(LOUD, "u").astype(np.float64) - LOUD) == 3_000
    for kept in (unseen, {"op": "noise", "family": "machine", "snr": 0}):
        build([kept])
        chain = [{"op": "gain", "db": -3}, kept]
        refused(lambda chain=chain: build(chain, training=True), str(kept["op"]), "for testing alone")
    build([{"op": "recorded_noise", "snr": 0}, {"op": "noise", "family": "pink", "snr": 0}], training=True)


@pytest.mark.usefixtures("mine")
def test_the_folder_decides_the_version_and_not_where_it_lies(disk: Path, tmp_path: Path) -> None:
    spec = [{"op": "recorded_noise", "snr": 3, "otherwise": "pink"}]
    here = build(spec)
    assert here.version != build([{**spec[0], "split": "music"}]).version
    (tmp_path / "moved").symlink_to(disk / "data")
    (tmp_path / "corpora.yaml").write_text(f"corpora:\n  musan: {tmp_path}/moved\n")
    assert build(spec).version == here.version
    assert np.array_equal(build(spec).apply(LOUD, "u"), here.apply(LOUD, "u"))
    (tmp_path / "corpora.yaml").write_text("corpora: {}\n")
    assert build(spec).version != here.version


@pytest.mark.usefixtures("nobodys")
def test_without_the_folder_the_named_family_stands_in() -> None:
    for family in ("pink", "babble"):
        op = build([{"op": "recorded_noise", "snr": 3, "otherwise": family}])
        noise = op.apply(LOUD, "u").astype(np.float64) - LOUD
        assert decibels(power(LOUD) / power(noise)) == pytest.approx(3, abs=0.1)
    refused(lambda: build([{"op": "recorded_noise", "snr": 3}]), "musan", "openslr.org/17", "corpora:")


@pytest.mark.usefixtures("mine")
def test_measured_rooms_are_read_by_their_first_channel() -> None:
    click = np.zeros(RATE, dtype=np.float32)
    click[1_000] = 0.5
    out = build([{"op": "room", "corpus": "rirs", "split": "real"}]).apply(click, "u").astype(np.float64)
    alone = decay(0.3)[80:]
    assert np.corrcoef(out[1_000 : 1_000 + len(alone)], alone)[0, 1] > 0.999
    assert int(np.argmax(np.abs(out))) == 1_000
    small = build([{"op": "room", "corpus": "rirs", "split": "simulated_small"}])
    assert [row.id for row in small.resources[0]] == ["small-room001-00001"]


@pytest.mark.usefixtures("mine")
def test_what_a_folder_does_not_have_is_one_line() -> None:
    refused(lambda: build([{"op": "recorded_noise", "snr": 3, "split": "speech"}]), "split=speech", "noise_unseen")
    refused(lambda: build([{"op": "room", "corpus": "rirs", "t60": [0.1, 1.0]}]), "T60 in seconds", "leave t60 out")
    refused(lambda: build([{"op": "recorded_noise", "snr": 3, "corpus": "muson"}]), "muson", "musan")
