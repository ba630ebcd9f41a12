"""Samples on disk become waveforms here and nowhere else: read, mix down to mono, cut, resample to 16 kHz.

    wave = audio.read(utterance)        # float32 (n,), 16 kHz
    audio.verify(utterance)             # the file's bytes against the manifest's sha256

An utterance lives in a zip archive, read in place, or in a plain file (`archive` None, `member` its absolute
path). The bytes are compared with the manifest's sha256, up to files of 64 MiB: beyond that the comparison would cost
more than the reading, and is `verify`'s. Whatever is wrong with the audio ends in one UserError that names the
utterance and the file.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import scipy
import soundfile
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly

from harness.contracts import SAMPLE_RATE, Utterance
from harness.errors import UserError

Wave = NDArray[np.float32]

MAX_SECONDS = 7_200.0
"""A longer file is refused from its header, before a sample of it is decoded."""
SILENCE_LABEL = "_silence_"
SILENCE_PEAK = 1e-4
MAX_PEAK = 8.0
"""Full scale is 1. A little above is an overshoot; far above, integers were stored as floats."""
STAMP = "header:"
"""How the `sha256` of a row begins whose file's bytes were never read: see `stamp`."""
SHORT_SECONDS = 0.05
"""How much less than the manifest's duration a file may hold (encoders round to their frame)."""

_ZEROS, _ROLLOFF, _BETA = 64, 0.95, 9.0
RESAMPLER = f"scipy.signal.resample_poly {scipy.__version__} kaiser({_BETA:g}) zeros={_ZEROS} rolloff={_ROLLOFF:g}"
"""Name, version and design of the one resampler; a result records it."""

_IN_MEMORY_BYTES = 64 << 20
_OPEN_ARCHIVES = 32
_archives: OrderedDict[tuple[int, str, int, int], zipfile.ZipFile] = OrderedDict()
_archives_lock = threading.Lock()
_compared: set[tuple[str, int, int, str]] = set()
"""Plain files whose bytes this process has compared: path, time of change, size, sha256. A long recording of which many
utterances are cut is compared once."""


def read(utterance: Utterance) -> Wave:
    """The utterance's waveform, float32 (n,) at 16 kHz, mono, cut to `start` and `duration`.

    Raises UserError, in one line with the utterance's id and file, for a missing archive, member or file, bytes
    that are not the manifest's, audio that cannot be decoded, no samples, another rate than the manifest's, a file
    over MAX_SECONDS, more than 50 ms less than the manifest promises, NaN or infinity, a peak above 8, and silence
    (unless the label is `_silence_`).
    """
    with _opened(utterance) as raw:
        _compare(utterance, raw)
        guarded = _Guarded(raw)
        try:
            with soundfile.SoundFile(guarded) as sound:
                _check_header(utterance, sound)
                samples = _cut(utterance, sound)
        except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
            raise _fault(utterance, f"the audio cannot be decoded ({error}); replace the file") from None
        finally:  # what stopped the reading explains whatever followed from it
            if guarded.fault:
                raise _fault(utterance, f"the bytes cannot be read ({guarded.fault}); replace the file") from None
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if not np.isfinite(mono).all():
        raise _fault(utterance, "wanted finite samples, found NaN or infinity; export the file again")
    peak = float(np.abs(mono).max())
    if peak > MAX_PEAK:
        raise _fault(
            utterance,
            f"wanted samples in [-1, 1], found a peak of {peak:g}; scale the file and write it again",
        )
    if utterance.label != SILENCE_LABEL and peak < SILENCE_PEAK:
        raise _fault(
            utterance,
            f"wanted sound, found silence (every sample below {SILENCE_PEAK:g}); "
            f"remove the row, or label it {SILENCE_LABEL}",
        )
    return resample(mono, utterance.rate, SAMPLE_RATE)


def resample(wave: NDArray[np.floating], rate: int, to_rate: int) -> Wave:
    """The waveform (n,) at `rate` Hz as float32 (ceil(n * to_rate / rate),) at `to_rate` Hz, without delay.

    A polyphase Kaiser-windowed sinc of 64 zero crossings a side: flat to 0.9 of the lower Nyquist frequency,
    -6 dB at 0.95 of it, more than 80 dB down from 1.01 of it on.
    """
    if rate == to_rate:
        return np.ascontiguousarray(wave, dtype=np.float32)
    factor = math.gcd(rate, to_rate)
    up, down = to_rate // factor, rate // factor
    out = resample_poly(np.asarray(wave, dtype=np.float64), up, down, window=_low_pass(up, down))
    return np.asarray(out, dtype=np.float32)


def verify(utterance: Utterance) -> None:
    """Raise UserError unless the sha256 of the member's (or file's) bytes is the manifest's."""
    digest = hashlib.sha256()
    with _opened(utterance, stream=True) as raw:
        try:
            while block := raw.read(1 << 20):
                digest.update(block)
        except (OSError, *_ZIP_FAULTS) as error:
            raise _fault(utterance, f"the bytes cannot be read ({error}); replace the file") from None
    _same(utterance, digest.hexdigest())


def _compare(utterance: Utterance, raw: IO[bytes]) -> None:
    """`verify` for what is small enough, before it is decoded. A row made in code may have no sha256."""
    if not utterance.sha256 or utterance.sha256.startswith(STAMP):
        return
    if isinstance(raw, io.BytesIO):
        _same(utterance, hashlib.sha256(raw.getbuffer()).hexdigest())
    elif utterance.archive is None:
        found = os.fstat(raw.fileno())
        key = (utterance.member, found.st_mtime_ns, found.st_size, utterance.sha256)
        if found.st_size <= _IN_MEMORY_BYTES and key not in _compared:
            try:
                data = raw.read()
                raw.seek(0)
            except OSError as error:
                raise _fault(utterance, f"the bytes cannot be read ({error}); replace the file") from None
            _same(utterance, hashlib.sha256(data).hexdigest())
            _compared.add(key)


def _same(utterance: Utterance, found: str) -> None:
    if found != utterance.sha256:
        raise _fault(
            utterance, f"wanted sha256 {utterance.sha256}, found {found}; restore the file or correct the manifest"
        )


def content_key(utterance: Utterance) -> str:
    """sha256 (hex) that stands for the samples: the file's sha256, or its stamp, and the cut, to the microsecond."""
    text = f"{utterance.sha256}\n{utterance.start:.6f}\n{utterance.duration:.6f}"
    return hashlib.sha256(text.encode()).hexdigest()


def stored_key(utterance: Utterance) -> str:
    """`content_key` for the feature store: for a file that was never hashed its size and time of change count too, so
    that features of a replaced file are made again. Raises UserError where that file is gone."""
    if not utterance.sha256.startswith(STAMP):
        return content_key(utterance)
    try:
        found = Path(utterance.member).stat()
    except OSError as error:
        raise _fault(utterance, f"the audio file cannot be opened ({error.strerror}); restore it") from None
    text = f"{content_key(utterance)}\n{found.st_size}\n{found.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()


def stamp(corpus: str, recording: str, frames: int, rate: int) -> str:
    """What stands in a manifest for the sha256 of a file whose bytes were not read: the same for every copy of a
    corpus, in any folder and lossless format. It tells other lengths apart, not other content of the same length."""
    return STAMP + hashlib.sha256(f"{corpus}\n{recording}\n{frames}\n{rate}".encode()).hexdigest()


def length(path: str | Path) -> tuple[int, int]:
    """(frames, rate in Hz) as libsndfile reads them from a file's header; `harness.headers.length` is faster. Raises
    UserError."""
    try:
        with Path(path).open("rb") as raw, soundfile.SoundFile(raw) as sound:  # by path it minds a Mac's ._ files
            return sound.frames, sound.samplerate
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise UserError(f"{path} is no readable audio ({getattr(error, 'error_string', error)}); replace it") from None


_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError)


class _Guarded:
    """A file for libsndfile, which reads through callbacks: an exception there would be printed and lost. The
    first is kept in `fault` instead, and the file appears to end."""

    def __init__(self, raw: IO[bytes]):
        self.raw = raw
        self.fault: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            return self.raw.read(size)
        except (OSError, RuntimeError, *_ZIP_FAULTS) as error:
            self.fault = self.fault or error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self.raw.seek(offset, whence)
        except (OSError, RuntimeError, ValueError, *_ZIP_FAULTS) as error:
            self.fault = self.fault or error
            return -1

    def tell(self) -> int:
        return self.raw.tell()


def _fault(utterance: Utterance, message: str) -> UserError:
    place = utterance.member if utterance.archive is None else f"{utterance.archive}!{utterance.member}"
    return UserError(f"utterance {utterance.id}, {place}: {message}")


def _check_header(utterance: Utterance, sound: soundfile.SoundFile) -> None:
    if sound.frames == 0:
        raise _fault(utterance, "wanted audio, found no samples; replace the file or remove the row")
    if sound.samplerate != utterance.rate:
        raise _fault(
            utterance,
            f"wanted the manifest's rate {utterance.rate} Hz, found {sound.samplerate} Hz; "
            "correct the manifest or the file",
        )
    seconds = sound.frames / sound.samplerate
    if seconds > MAX_SECONDS:
        raise _fault(
            utterance,
            f"wanted a file of at most {MAX_SECONDS / 3600:g} h, found {seconds / 3600:.1f} h; "
            "cut the recording into pieces",
        )


def _cut(utterance: Utterance, sound: soundfile.SoundFile) -> Wave:
    """The row's frames, (n, channels)."""
    first = round(utterance.start * sound.samplerate)
    wanted = round(utterance.duration * sound.samplerate)
    if sound.subtype.startswith("PCM_") or sound.subtype in {"FLOAT", "DOUBLE", "ULAW", "ALAW"}:
        sound.seek(min(first, sound.frames))
    else:  # a seek inside a lossy stream is only nearly exact, so decode up to the cut
        left = first
        while left > 0 and (skipped := len(sound.read(min(left, 1 << 20), dtype="float32"))):
            left -= skipped
    samples: Wave = sound.read(wanted, dtype="float32", always_2d=True)
    if len(samples) < wanted - SHORT_SECONDS * sound.samplerate or len(samples) == 0:
        raise _fault(
            utterance,
            f"wanted {utterance.duration:g} s from {utterance.start:g} s, "
            f"found {len(samples) / sound.samplerate:.3f} s; correct the manifest or restore the file",
        )
    return samples


@lru_cache(maxsize=16)
def _low_pass(up: int, down: int) -> NDArray[np.float64]:
    widest = max(up, down)
    taps: NDArray[np.float64] = firwin(2 * _ZEROS * widest + 1, _ROLLOFF / widest, window=("kaiser", _BETA))
    return taps


@contextmanager
def _opened(utterance: Utterance, stream: bool = False) -> Iterator[IO[bytes]]:
    """The bytes of the file or member, seekable. Small members come whole into memory, where seeking is
    cheap."""
    if utterance.archive is None:
        path = Path(utterance.member)
        if not path.is_absolute():
            raise _fault(utterance, "wanted an absolute path for a file outside an archive, found a relative one")
        try:
            handle = path.open("rb")
        except OSError as error:
            raise _fault(utterance, f"the audio file cannot be opened ({error.strerror}); restore it") from None
        with handle:
            yield handle
        return
    archive, info = _member(utterance)
    try:
        raw: IO[bytes] = archive.open(info)
        if info.file_size <= _IN_MEMORY_BYTES and not stream:
            with raw:
                raw = io.BytesIO(raw.read())
    except (OSError, RuntimeError, ValueError, *_ZIP_FAULTS) as error:
        raise _fault(utterance, f"the archive member cannot be read ({error}); restore the archive") from None
    with raw:
        yield raw


def _member(utterance: Utterance) -> tuple[zipfile.ZipFile, zipfile.ZipInfo]:
    assert utterance.archive is not None
    parts = utterance.member.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise _fault(utterance, "wanted a path inside the archive, found one that is absolute or holds '..'")
    archive = _archive(utterance)
    try:
        info = archive.getinfo(utterance.member)
    except KeyError:
        raise _fault(utterance, "the archive has no such member; correct the manifest or restore the archive") from None
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _fault(utterance, "wanted a file, found a symbolic link in the archive; store the file itself")
    return archive, info


def _archive(utterance: Utterance) -> zipfile.ZipFile:
    """An open handle, kept for the next read. Reads on one handle are thread-safe; a forked child opens its
    own, since it would share the file position with its parent. An evicted handle is closed by its last
    reader."""
    path = Path(str(utterance.archive))
    try:
        found = path.stat()
        key = (os.getpid(), str(path), found.st_mtime_ns, found.st_size)
        with _archives_lock:
            if key not in _archives:
                _archives[key] = zipfile.ZipFile(path)
                while len(_archives) > _OPEN_ARCHIVES:
                    _archives.popitem(last=False)
            _archives.move_to_end(key)
            return _archives[key]
    except OSError as error:
        raise _fault(utterance, f"the archive cannot be opened ({error.strerror}); restore it") from None
    except _ZIP_FAULTS as error:
        raise _fault(
            utterance, f"wanted a zip archive, found another or a damaged file ({error}); restore it"
        ) from None
