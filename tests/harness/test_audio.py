"""Reading audio: what comes back sample by sample, and one line for each thing that can be wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from harness import audio
from harness.contracts import Utterance
from harness.errors import UserError


def encode(samples: NDArray[np.float64], rate: int, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def tone(seconds: float, rate: int, hertz: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def row(archive: Path | None, member: str, duration: float, rate: int = 16_000, **other: Any) -> Utterance:
    fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Utterance)), "")
    values = {**fields, "id": "u1", "archive": archive, "member": member, "duration": duration, "rate": rate}
    return Utterance(**{**values, "start": 0.0, **other})


def zipped(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "audio.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def refused(utterance: Utterance, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        audio.read(utterance)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"utterance {utterance.id}, ") and utterance.member in line
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("form", "subtype", "tolerance"),
    [("WAV", "PCM_16", 1e-4), ("FLAC", "PCM_16", 1e-4), ("WAV", "FLOAT", 1e-7), ("OGG", "OPUS", 0.05)],
)
def test_a_zip_member_is_read_in_place(tmp_path: Path, form: str, subtype: str, tolerance: float) -> None:
    samples = tone(1.0, 16_000)
    path = zipped(tmp_path, {"a/b.audio": encode(samples, 16_000, form, subtype)})
    wave = audio.read(row(path, "a/b.audio", 1.0))
    assert wave.dtype == np.float32 and wave.shape == (16_000,)
    inner = slice(1_000, -1_000)
    assert np.abs(wave[inner] - samples[inner]).max() < tolerance


def test_a_plain_file_equals_the_zip_member(tmp_path: Path) -> None:
    data = encode(tone(0.5, 16_000), 16_000)
    (tmp_path / "x.wav").write_bytes(data)
    plain = audio.read(row(None, str(tmp_path / "x.wav"), 0.5))
    assert np.array_equal(plain, audio.read(row(zipped(tmp_path, {"x.wav": data}), "x.wav", 0.5)))


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.stack([tone(0.2, 16_000), np.zeros(3_200)], axis=1)
    wave = audio.read(row(zipped(tmp_path, {"x.wav": encode(stereo, 16_000)}), "x.wav", 0.2))
    assert np.abs(wave - stereo[:, 0] / 2).max() < 1e-4


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("OGG", "VORBIS")]
)
def test_start_and_duration_cut_the_whole_reading_exactly(tmp_path: Path, form: str, subtype: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000)
    path = zipped(tmp_path, {"x": encode(noise, 16_000, form, subtype)})
    whole = audio.read(row(path, "x", 3.0))
    assert np.array_equal(audio.read(row(path, "x", 0.5, start=1.25)), whole[20_000:28_000])


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_any_rate_is_resampled_without_delay_or_change_of_level(tmp_path: Path, rate: int) -> None:
    path = zipped(tmp_path, {"x.wav": encode(tone(1.0, rate), rate, subtype="FLOAT")})
    wave = audio.read(row(path, "x.wav", 1.0, rate=rate))
    assert wave.shape == (16_000,)
    inner = slice(2_000, -2_000)
    assert np.abs(wave - tone(1.0, 16_000))[inner].max() < 1e-3


def test_resampling_leaves_no_alias() -> None:
    high = audio.resample(tone(1.0, 44_100, 8_200.0), 44_100, 16_000)
    kept = audio.resample(tone(1.0, 44_100, 7_000.0), 44_100, 16_000)
    inner = slice(2_000, -2_000)
    assert np.std(high[inner]) < 1e-4 * np.std(kept[inner])
    assert np.std(kept[inner]) == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)


def test_the_resampler_names_its_library_and_version() -> None:
    assert audio.RESAMPLER.startswith("scipy.signal.resample_poly 1.")


def test_threads_share_one_archive(tmp_path: Path) -> None:
    sounds = {f"{i}.flac": encode(tone(0.3, 16_000, 200 + 50 * i), 16_000, "FLAC") for i in range(16)}
    path = zipped(tmp_path, sounds)
    rows = [row(path, name, 0.3) for name in sounds] * 8
    alone = [audio.read(one) for one in rows[:16]] * 8
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(audio.read, rows))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_forked_child_reads_beside_its_parent(tmp_path: Path) -> None:
    path = zipped(tmp_path, {f"{i}.wav": encode(tone(0.2, 16_000, 300 + i), 16_000) for i in range(40)})
    rows = [row(path, f"{i}.wav", 0.2) for i in range(40)]
    wanted = [audio.read(one).tobytes() for one in rows]
    child = os.fork()
    if child == 0:
        os._exit(0 if [audio.read(one).tobytes() for one in rows] == wanted else 1)
    assert [audio.read(one).tobytes() for one in rows] == wanted
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_replaced_archive_is_opened_again(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"x.wav": encode(tone(0.2, 16_000), 16_000)})
    audio.read(row(path, "x.wav", 0.2))
    path = zipped(tmp_path, {"x.wav": encode(tone(0.3, 16_000, 880.0), 16_000)})
    assert len(audio.read(row(path, "x.wav", 0.3))) == 4_800


def test_missing_archive(tmp_path: Path) -> None:
    refused(row(tmp_path / "none.zip", "x.wav", 1.0), "none.zip", "No such file")


def test_missing_member(tmp_path: Path) -> None:
    refused(row(zipped(tmp_path, {"y.wav": b"1"}), "x.wav", 1.0), "no such member")


def test_missing_file(tmp_path: Path) -> None:
    refused(row(None, str(tmp_path / "gone.wav"), 1.0), "No such file")


def test_relative_path_outside_an_archive() -> None:
    refused(row(None, "gone.wav", 1.0), "absolute path")


def test_not_a_zip(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"not a zip at all")
    refused(row(tmp_path / "bad.zip", "x.wav", 1.0), "zip")


@pytest.mark.parametrize("streamed", [False, True])
def test_damaged_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], streamed: bool
) -> None:
    if streamed:
        monkeypatch.setattr(audio, "_IN_MEMORY_BYTES", 0)
    path = zipped(tmp_path, {"x.wav": encode(tone(1.0, 16_000), 16_000)})
    data = bytearray(path.read_bytes())
    data[5_000:5_100] = bytes(100)
    path.write_bytes(bytes(data))
    refused(row(path, "x.wav", 1.0), "CRC")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [b"RIFF0000WAVE", b"", b"<html>404</html>", b"fLaC" + bytes(50)])
def test_corrupt_audio(tmp_path: Path, data: bytes) -> None:
    refused(row(zipped(tmp_path, {"x.wav": data}), "x.wav", 1.0), "cannot be decoded")
    (tmp_path / "x.wav").write_bytes(data)
    refused(row(None, str(tmp_path / "x.wav"), 1.0), "cannot be decoded")


def test_a_file_name_says_nothing_about_its_format(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(encode(tone(0.5, 16_000), 16_000))
    assert len(audio.read(row(None, str(tmp_path / "x.raw"), 0.5))) == 8_000


def test_empty_audio(tmp_path: Path) -> None:
    refused(row(zipped(tmp_path, {"x.wav": encode(np.zeros(0), 16_000)}), "x.wav", 1.0), "no samples")


def test_another_rate_than_the_manifest(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"x.wav": encode(tone(1.0, 8_000), 8_000)})
    refused(row(path, "x.wav", 1.0, rate=16_000), "16000 Hz", "found 8000 Hz")


def test_silence_only_where_the_label_says_so(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"x.wav": encode(np.full(8_000, 9e-5), 16_000, subtype="FLOAT")})
    refused(row(path, "x.wav", 0.5), "silence")
    assert len(audio.read(row(path, "x.wav", 0.5, label="_silence_"))) == 8_000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(tmp_path: Path, bad: float) -> None:
    samples = tone(0.5, 16_000)
    samples[100] = bad
    refused(row(zipped(tmp_path, {"x.wav": encode(samples, 16_000, subtype="FLOAT")}), "x.wav", 0.5), "NaN")


def test_integers_stored_as_floats(tmp_path: Path) -> None:
    data = encode(32_767 * tone(0.5, 16_000), 16_000, subtype="FLOAT")
    refused(row(zipped(tmp_path, {"x.wav": data}), "x.wav", 0.5), "[-1, 1]", "peak")


def test_shorter_than_the_manifest(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"x.wav": encode(tone(1.0, 16_000), 16_000)})
    assert len(audio.read(row(path, "x.wav", 1.04))) == 16_000
    refused(row(path, "x.wav", 1.06), "wanted 1.06 s", "found 1.000 s")
    refused(row(path, "x.wav", 1.0, start=2.0), "found 0.000 s")


@pytest.mark.parametrize("packed", [True, False])
def test_fifty_hours_are_refused_from_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    plain = tmp_path / "long.wav"
    frames = 50 * 3_600 * 8_000
    header = bytearray(encode(np.zeros(1), 8_000, subtype="ULAW"))
    start = header.index(b"data") + 8
    header[start - 4 : start] = frames.to_bytes(4, "little")
    header[4:8] = (start - 8 + frames).to_bytes(4, "little")
    with plain.open("wb") as handle:  # sparse: 1.4 GB long, no disk used
        handle.write(header[:start])
        handle.truncate(start + frames)
    archive = None
    if packed:
        monkeypatch.setattr(audio, "_IN_MEMORY_BYTES", 1_000)
        archive = tmp_path / "audio.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out, plain.open("rb") as source:
            out.writestr("long.wav", source.read(1_000_000))
        monkeypatch.setattr(audio, "MAX_SECONDS", 60.0)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("samples were decoded"))
    name = "long.wav" if packed else str(plain)
    refused(row(archive, name, 1.0, rate=8_000), "found 50.0 h" if not packed else "h; cut the recording")


@pytest.mark.parametrize("name", ["../x.wav", "/etc/x.wav", "a/../../x.wav", "..\\x.wav", "C:/x.wav"])
def test_a_member_that_leaves_the_archive(tmp_path: Path, name: str) -> None:
    refused(row(zipped(tmp_path, {name: encode(tone(1.0, 16_000), 16_000)}), name, 1.0), "absolute", "'..'")


def test_a_symbolic_link_in_the_archive(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x.wav")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "audio.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(row(tmp_path / "audio.zip", "x.wav", 1.0), "symbolic link")


@pytest.mark.parametrize("packed", [True, False])
def test_verify_compares_the_bytes(tmp_path: Path, packed: bool) -> None:
    data = encode(tone(0.2, 16_000), 16_000)
    (tmp_path / "x.wav").write_bytes(data)
    archive, name = (zipped(tmp_path, {"x.wav": data}), "x.wav") if packed else (None, str(tmp_path / "x.wav"))
    good = row(archive, name, 0.2, sha256=hashlib.sha256(data).hexdigest())
    audio.verify(good)
    with pytest.raises(UserError, match=f"utterance u1, .*wanted sha256 {'0' * 64}, found {good.sha256}"):
        audio.verify(dataclasses.replace(good, sha256="0" * 64))


def test_content_key_follows_bytes_and_cut_and_nothing_else(tmp_path: Path) -> None:
    one = row(tmp_path / "a.zip", "x.wav", 1.0, sha256="0" * 64)
    renamed = dataclasses.replace(one, id="u2", archive=tmp_path / "b.zip", member="y", split="test")
    assert audio.content_key(one) == audio.content_key(renamed)
    others: list[dict[str, Any]] = [{"sha256": "1" * 64}, {"start": 0.1}, {"duration": 1.1}]
    keys = {audio.content_key(dataclasses.replace(one, **other)) for other in others}
    assert len(keys | {audio.content_key(one)}) == 4


@pytest.mark.parametrize("packed", [True, False])
def test_reading_compares_the_bytes(tmp_path: Path, packed: bool) -> None:
    """A sound of the same length and level: only its checksum can tell."""
    data, other = (encode(tone(0.2, 16_000, hertz), 16_000) for hertz in (440.0, 550.0))
    (tmp_path / "x.wav").write_bytes(data)
    archive, name = (zipped(tmp_path, {"x.wav": data}), "x.wav") if packed else (None, str(tmp_path / "x.wav"))
    good = row(archive, name, 0.2, sha256=hashlib.sha256(data).hexdigest())
    assert len(audio.read(good)) == len(audio.read(good)) == 3_200
    (tmp_path / "x.wav").write_bytes(other)
    zipped(tmp_path, {"x.wav": other})
    os.utime(tmp_path / "x.wav", ns=(0, 0))
    refused(good, f"wanted sha256 {good.sha256}", f"found {hashlib.sha256(other).hexdigest()}", "restore the file")


def test_a_long_recording_is_compared_once_and_one_beyond_memory_by_verify_alone(tmp_path: Path, monkeypatch) -> None:
    data = encode(tone(1.0, 16_000), 16_000)
    (tmp_path / "x.wav").write_bytes(data)
    good = row(None, str(tmp_path / "x.wav"), 0.1, sha256=hashlib.sha256(data).hexdigest())
    compared, same = [], audio._same
    monkeypatch.setattr(audio, "_same", lambda *args: compared.append(args) or same(*args))
    for cut in range(5):
        audio.read(dataclasses.replace(good, start=cut / 10))
    assert len(compared) == 1
    monkeypatch.setattr(audio, "_IN_MEMORY_BYTES", 1_000)
    wrong = dataclasses.replace(good, sha256="0" * 64)
    assert len(audio.read(wrong)) == 1_600
    with pytest.raises(UserError, match="wanted sha256 000"):
        audio.verify(wrong)
