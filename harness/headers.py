"""How long a sound file is, from its first bytes: half a million files take a minute and no samples are decoded.

WAV (PCM, float, mu-law, A-law) and FLAC are read here; everything else, and whatever looks unusual, goes to libsndfile,
which is some twenty times slower. Formats: https://www.rfc-editor.org/rfc/rfc9639 (FLAC, section 8.2) and the chunks of
a RIFF WAVE file.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from harness import audio
from harness.errors import UserError

_BLOCK = 4096
KEPT = 0.99
"""Of the samples that a header promises; some writers promise a few bytes too many."""
_PIPED = 0x7FFF0000
"""Lengths from here on are what writers to a pipe put, which cannot know theirs."""
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_FIXED = {_PCM, _FLOAT, _ALAW, _ULAW}
"""Codings of which every frame takes the same bytes."""


def length(path: str | Path) -> tuple[int, int]:
    """(frames, rate in Hz) of a file. A WAV file that was written to a pipe, whose header could not know its length,
    counts the frames that are there.

    Raises UserError, in one line with the path, for a file that cannot be opened, is no audio or holds no samples, and
    for a WAV file that ends before its header says."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            start = os.read(handle, _BLOCK)
            size = os.fstat(handle).st_size
        finally:
            os.close(handle)
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}); restore it") from None
    found = _wav(start, size, path) if start[:4] == b"RIFF" else _flac(start) if start[:4] == b"fLaC" else None
    frames, rate = found or audio.length(path)
    if frames <= 0:
        raise UserError(f"{path}: wanted audio, found no samples; replace the file")
    return frames, rate


def _wav(start: bytes, size: int, path: str | Path) -> tuple[int, int] | None:
    if start[8:12] != b"WAVE":
        return None
    place, rate, frame = 12, 0, 0
    while place + 8 <= len(start):
        kind, length = struct.unpack_from("<4sI", start, place)
        place += 8
        if kind == b"fmt " and length >= 16 and place + 16 <= len(start):
            coding, _, rate, _, frame = struct.unpack_from("<HHIIH", start, place)
            if coding == _EXTENSIBLE and length >= 26 and place + 26 <= len(start):
                coding = struct.unpack_from("<H", start, place + 24)[0]
            if coding not in _FIXED:
                return None
        elif kind == b"data":
            there = size - place
            if there < KEPT * length and length < _PIPED:
                raise UserError(f"{path} is cut short: {there:,} bytes of {length:,} are there; copy it again")
            return (min(length, there) // frame, rate) if rate and frame else None
        place += length + length % 2
    return None


def _flac(start: bytes) -> tuple[int, int] | None:
    """STREAMINFO is the first block: 20 bits rate, 3 channels, 5 bits a sample, 36 samples, from its tenth byte."""
    if len(start) < 26 or start[4] & 0x7F != 0:
        return None
    packed = int.from_bytes(start[18:26], "big")
    rate, frames = packed >> 44, packed & ((1 << 36) - 1)
    return (frames, rate) if rate and frames else None
