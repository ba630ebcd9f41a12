"""Lengths from headers are those that libsndfile says."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness import audio
from harness.errors import UserError
from harness.headers import length

FORMS = [
    *(("WAV", coding) for coding in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW", "IMA_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("NIST", "PCM_16")),
]


@pytest.mark.parametrize(("form", "coding"), FORMS)
@pytest.mark.parametrize("channels", [1, 2])
def test_as_libsndfile_says(form: str, coding: str, channels: int, tmp_path: Path) -> None:
    if coding == "GSM610" and channels == 2:
        pytest.skip("GSM is mono")
    path = tmp_path / "a.audio"
    wave = np.random.default_rng(0).normal(0, 0.1, (3001, channels))
    soundfile.write(path, wave, 8000, format=form, subtype=coding)
    assert length(path) == audio.length(path)
    assert length(path)[1] == 8000


def test_chunks_before_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(100), 16000)
    raw = path.read_bytes()
    extra = b"LIST" + struct.pack("<I", 27) + b"INFO" + b"x" * 23 + b"\0"
    path.write_bytes(raw[:36] + extra + raw[36:])
    assert length(path) == (100, 16000)


def test_a_wav_cut_short_is_told_from_one_written_to_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1000), 16000)
    raw = path.read_bytes()
    path.write_bytes(raw[:1044])
    with pytest.raises(UserError, match=r"a.wav is cut short: 1,000 bytes of 2,000 are there; copy it again"):
        length(path)
    path.write_bytes(raw[:-2])  # a frame less than promised is some writer's way
    assert length(path) == (999, 16000)
    path.write_bytes(raw[:40] + struct.pack("<I", 0xFFFFFFFF) + raw[44:1044])
    assert length(path) == (500, 16000)


@pytest.mark.parametrize("raw", [b"", b"RIFF", b"fLaC", b"RIFF\0\0\0\0WAVEfmt ", b"no audio at all" * 100])
def test_what_is_no_audio(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(raw)
    with pytest.raises(UserError, match="a.wav"):
        length(path)


def test_empty_and_missing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(UserError, match="found no samples"):
        length(tmp_path / "a.wav")
    with pytest.raises(UserError, match="cannot be opened"):
        length(tmp_path / "b.wav")
