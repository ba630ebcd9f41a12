"""Pack clips as a mini corpus: trim, normalise, encode, zip, manifest, checksums. Same clips, same bytes.

    pack(folder, "kajongg", clips, source="kajongg 22.12.3", licence="GPL-2.0-or-later")

Extra packages: soundfile; soxr (`resample`). The Ogg serial number, which libsndfile draws from the clock, is
replaced by one taken from the clip's id. Bytes are the same wherever libsndfile and libopus are.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contracts import SAMPLE_RATE, Utterance
from tasks.manifest import write_manifest

Wave = NDArray[np.float64]

KBIT_24 = 0.918
KBIT_32 = 0.88
"""libsndfile's compression levels that give about 24 and 32 kbit/s of 16 kHz mono Opus."""
KBIT_32_SHORT = 0.9
"""The same for files of a second or two without pauses, their headers counted in 32 kbit/s."""

PEAK = 0.7
FRAME = SAMPLE_RATE // 100


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance to be packed: `wave` (n,) at 16 kHz, normalised unless `keep_level`, the rest as in a manifest."""

    id: str
    split: str
    wave: Wave
    speaker: str
    language: str
    channel: str
    text: str = ""
    phones: str = ""
    label: str = ""
    speaker_known: str = "sure"
    keep_level: bool = False


def resample(wave: Wave, rate: int) -> Wave:
    """(n,) or (n, channels) at `rate` Hz -> (m,) at 16 kHz: channels averaged, soxr's very high quality."""
    import soxr

    mono = wave.mean(axis=1) if wave.ndim == 2 else wave
    return np.asarray(soxr.resample(mono, rate, SAMPLE_RATE, quality="VHQ"), dtype=np.float64)


def trim(wave: Wave, below_db: float = 40.0, keep: float = 0.05) -> Wave:
    """(n,) without what precedes the first and follows the last 10 ms frame within `below_db` of the loudest
    one, less `keep` seconds on either side. Raises ValueError for a silent clip."""
    count = len(wave) // FRAME
    level = np.sqrt(np.mean(wave[: count * FRAME].reshape(count, FRAME) ** 2, axis=1)) if count else np.zeros(0)
    if not count or level.max() <= 1e-5:
        raise ValueError("a silent clip")
    loud = np.flatnonzero(level > level.max() * 10 ** (-below_db / 20))
    margin = round(keep * SAMPLE_RATE)
    first, last = int(loud[0]), int(loud[-1])
    cut: Wave = wave[max(0, first * FRAME - margin) : (last + 1) * FRAME + margin]
    return cut


def normalise(wave: Wave, peak: float = PEAK) -> Wave:
    """(n,) scaled to an absolute peak of `peak`, full scale being 1."""
    scaled: Wave = wave * (peak / np.abs(wave).max())
    return scaled


def encode(wave: Wave, name: str, level: float | None = KBIT_32, slim: bool = False) -> bytes:
    """(n,) at 16 kHz -> Ogg/Opus at libsndfile's compression level, or FLAC of 24 bits where it is None. `slim` drops
    the half kilobyte of zeros that libsndfile puts after an Opus stream's comments."""
    import soundfile

    out = io.BytesIO()
    if level is None:
        soundfile.write(out, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_24")
        return out.getvalue()
    soundfile.write(out, wave, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level)
    ogg = without_padding(out.getvalue()) if slim else out.getvalue()
    return with_serial(ogg, zlib.crc32(name.encode("utf-8")))


def without_padding(ogg: bytes) -> bytes:
    """An Ogg/Opus stream whose second page, the comments (RFC 7845, 5.2), ends with the last comment. Checksums are
    left to `with_serial`. Raises ValueError where that page is no page of comments."""
    first = _page_end(ogg, 0)
    end = _page_end(ogg, first)
    body = first + 27 + ogg[first + 26]
    if ogg[body : body + 8] != b"OpusTags":
        raise ValueError("the second page of an Ogg/Opus stream is no OpusTags page")
    at = body + 12 + struct.unpack_from("<I", ogg, body + 8)[0]
    count = struct.unpack_from("<I", ogg, at)[0]
    at += 4
    for _ in range(count):
        at += 4 + struct.unpack_from("<I", ogg, at)[0]
    kept = ogg[body:at]
    lacing = bytes([255] * (len(kept) // 255) + [len(kept) % 255])
    header = ogg[first : first + 26] + bytes([len(lacing)]) + lacing
    return ogg[:first] + header + kept + ogg[end:]


def with_serial(ogg: bytes, serial: int) -> bytes:
    """An Ogg stream with another serial number on all its pages (RFC 3533: serial in bytes 14-17 of a page
    header, CRC in 22-25, taken with itself as zero)."""
    out, at = bytearray(ogg), 0
    while at < len(out):
        end = _page_end(out, at)
        struct.pack_into("<I", out, at + 14, serial)
        struct.pack_into("<I", out, at + 22, 0)
        struct.pack_into("<I", out, at + 22, _ogg_crc(out[at:end]))
        at = end
    return bytes(out)


def _page_end(ogg: bytes | bytearray, at: int) -> int:
    """Where the Ogg page that begins at `at` ends."""
    segments = ogg[at + 26]
    return at + 27 + segments + sum(ogg[at + 27 : at + 27 + segments])


def pack(
    folder: Path,
    corpus: str,
    clips: Iterable[Clip],
    *,
    source: str,
    licence: str,
    level: float | None = KBIT_32,
    levels: Mapping[str, float] | None = None,
    peak: float = PEAK,
    slim: bool = False,
) -> list[Utterance]:
    """Write `audio.zip` and `manifest.csv`, sorted by id; return the rows. Durations are those that decode.

    Each clip but one of `keep_level` is normalised to `peak` first; trim before. Raises ValueError for two clips of
    one id and for a clip that clips or changes its length by over 25 ms once coded. `levels` (clip id ->
    compression level) overrides `level` where it names a clip; `slim` is as in `encode`.
    """
    import soundfile

    levels = levels or {}
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "flac" if level is None else "ogg"
    ordered = sorted(clips, key=lambda clip: clip.id)
    if len({clip.id for clip in ordered}) != len(ordered):
        raise ValueError(f"{corpus}: two clips of one id")
    rows = []
    with zipfile.ZipFile(folder / "audio.zip", "w", zipfile.ZIP_STORED) as archive:
        for clip in ordered:
            wave = clip.wave if clip.keep_level else normalise(clip.wave, peak)
            blob, member = encode(wave, clip.id, levels.get(clip.id, level), slim), f"{clip.id}.{suffix}"
            decoded, rate = soundfile.read(io.BytesIO(blob))
            if rate != SAMPLE_RATE or abs(len(decoded) - len(wave)) > 0.025 * SAMPLE_RATE:
                raise ValueError(f"{clip.id}: coded {len(wave)} samples, read {len(decoded)} at {rate} Hz")
            if np.abs(decoded).max() >= 1.0:
                raise ValueError(f"{clip.id} clips once coded; lower the peak")
            info = zipfile.ZipInfo(member, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, blob)
            rows.append(_row(clip, folder, corpus, member, blob, len(decoded) / rate, source, licence))
    write_manifest(rows, folder / "manifest.csv")
    return rows


def checksums(folder: Path, names: Sequence[str] | None = None) -> None:
    """Write the folder's SHA256SUMS over `names`, or over every other file in it."""
    found = names or [path.name for path in folder.iterdir() if path.is_file() and path.name != "SHA256SUMS"]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(found)]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _row(
    clip: Clip, folder: Path, corpus: str, member: str, blob: bytes, seconds: float, source: str, licence: str
) -> Utterance:
    return Utterance(
        id=clip.id,
        corpus=corpus,
        split=clip.split,
        archive=folder.resolve() / "audio.zip",
        member=member,
        start=0.0,
        duration=round(seconds, 4),
        rate=SAMPLE_RATE,
        speaker=clip.speaker,
        speaker_known=clip.speaker_known,
        language=clip.language,
        channel=clip.channel,
        text=clip.text,
        phones=clip.phones,
        label=clip.label,
        source=source,
        licence=licence,
        sha256=hashlib.sha256(blob).hexdigest(),
    )


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
        table.append(crc)
    return table


_CRC = _crc_table()


def _ogg_crc(page: bytes | bytearray) -> int:
    crc = 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC[(crc >> 24) ^ byte]
    return crc
