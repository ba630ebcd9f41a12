"""The operations a condition is made of: one strict model an op, its parameters the fields.

An op maps a waveform (n,) at 16 kHz to another of the same length (`trim_silence` and `crop` shorten), without
delay. It draws at random from the generator it is given and from nothing else. `VERSION` is raised whenever
the same parameters would give other samples, a changed default included; a new op or a new optional field
changes no version.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.signal import fftconvolve, firwin, kaiserord

from harness import audio
from harness.contracts import SAMPLE_RATE, Utterance
from tasks import noises, rooms, silence
from tasks.noises import Signal

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]*$")]


class Op(BaseModel):
    """`resources` are the manifest rows it may read, fixed when the condition is built; their content is part
    of the condition's version, as are `libraries`, whose release may change the samples."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    VERSION: ClassVar[int] = 1
    KEEPS_LENGTH: ClassVar[bool] = True
    op: str

    def resources(self, data: Path) -> tuple[Utterance, ...]:
        return ()

    def libraries(self) -> dict[str, str]:
        return {}

    def run(
        self, wave: Signal, rng: np.random.Generator, utterance_id: str, resources: tuple[Utterance, ...]
    ) -> Signal:
        raise NotImplementedError


class Gain(Op):
    """Multiply by `db` decibels."""

    op: Literal["gain"]
    db: Annotated[float, Field(ge=-60, le=60)]

    def run(self, wave: Signal, *_: Any) -> Signal:
        return wave * 10 ** (self.db / 20)


class TrimSilence(Op):
    """sox `silence 1 0.1 0.1% -1 0.1 0.1%`; see `tasks.silence`. Nothing left is an error."""

    KEEPS_LENGTH: ClassVar[bool] = False
    op: Literal["trim_silence"]

    def run(self, wave: Signal, *_: Any) -> Signal:
        kept = wave[silence.sounding(wave)]
        if not len(kept):
            raise ValueError("wanted 0.1 s of sound above 0.1 % of full scale, found none; remove the utterance")
        return kept


class Crop(Op):
    """Keep `seconds` from a random place; a shorter wave stays whole."""

    KEEPS_LENGTH: ClassVar[bool] = False
    op: Literal["crop"]
    seconds: Annotated[float, Field(gt=0, le=3600)]

    def run(self, wave: Signal, rng: np.random.Generator, *_: Any) -> Signal:
        length = round(self.seconds * SAMPLE_RATE)
        start = int(rng.integers(0, max(1, len(wave) - length + 1)))
        return wave[start : start + length]


class Band(Op):
    """Keep `low` to `high` Hz with a linear-phase FIR, its delay removed: -6 dB at the edges, flat from
    `width` / 2 inside them, 60 dB down from `width` / 2 outside. `low` 0 or `high` 8000 leaves that side
    open."""

    op: Literal["band"]
    low: Annotated[float, Field(ge=0, lt=SAMPLE_RATE / 2)]
    high: Annotated[float, Field(gt=0, le=SAMPLE_RATE / 2)]
    width: Annotated[float, Field(ge=20, le=1_000)] = 100.0

    @model_validator(mode="after")
    def _ordered(self) -> Band:
        if self.low >= self.high or (self.low == 0 and self.high == SAMPLE_RATE / 2):
            raise ValueError("wanted low < high, and at least one of them inside 0-8000 Hz")
        return self

    def run(self, wave: Signal, *_: Any) -> Signal:
        return np.asarray(fftconvolve(wave, _band_filter(self.low, self.high, self.width), mode="same"))


class Resample(Op):
    """Down to `rate` Hz and back: the telephone's 8 kHz by default."""

    op: Literal["resample"]
    rate: Annotated[int, Field(ge=4_000, lt=SAMPLE_RATE)] = 8_000

    def run(self, wave: Signal, *_: Any) -> Signal:
        return _fit(_back(audio.resample(wave, SAMPLE_RATE, self.rate), self.rate), len(wave))


class Codec(Op):
    """Encode and decode in memory with libsndfile, at `rate` Hz. `level`, 0 to 1, is its compression level
    (less bits towards 1) for opus, mp3 and vorbis; without it the library's own default.

    None of the six delays what it decodes (encoder delay is taken off by the container); GSM pads to whole
    frames, and the padding is cut.
    """

    op: Literal["codec"]
    codec: Literal["gsm", "ulaw", "alaw", "opus", "mp3", "vorbis"]
    rate: Literal[8_000, 16_000] = 8_000
    level: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Codec:
        if self.codec == "gsm" and self.rate != 8_000:
            raise ValueError("gsm is defined at 8000 Hz only")
        if self.level is not None and self.codec not in ("opus", "mp3", "vorbis"):
            raise ValueError(f"{self.codec} has no compression level")
        return self

    def libraries(self) -> dict[str, str]:
        return {"libsndfile": str(soundfile.__libsndfile_version__)}

    def run(self, wave: Signal, *_: Any) -> Signal:
        sent = np.clip(audio.resample(wave, SAMPLE_RATE, self.rate), -1.0, 1.0)
        return _fit(_back(_fit(self._transcode(sent), len(sent)), self.rate), len(wave))

    def _transcode(self, sent: NDArray[np.float32]) -> Signal:
        form, subtype = _CODECS[self.codec]
        options = {} if self.level is None else {"compression_level": self.level}
        stream = io.BytesIO()
        with soundfile.SoundFile(stream, "w", self.rate, 1, subtype, format=form, **options) as out:
            for start in range(0, len(sent), self.rate):  # libsndfile's Vorbis overruns its stack on long blocks
                out.write(sent[start : start + self.rate])
        stream.seek(0)
        decoded: Signal = soundfile.read(stream, dtype="float64")[0]
        return decoded


class Noise(Op):
    """Add noise at `snr` dB: active speech power over the noise's mean power (`tasks.noises`).

    Families: white, pink, brown, hum, babble, and machine, which is kept for testing alone. Babble is
    `speakers` people of `corpus` / `split` talking at once at one level, never the utterance's own speaker
    where that is known.
    """

    op: Literal["noise"]
    family: Literal["white", "pink", "brown", "hum", "machine", "babble"]
    snr: Annotated[float, Field(ge=-30, le=60)]
    speakers: Annotated[int, Field(ge=1, le=32)] = 4
    corpus: Name = "kokoro_asv"
    split: Name = "train"

    @model_validator(mode="after")
    def _babble_only(self) -> Noise:
        idle = sorted(self.model_fields_set & {"speakers", "corpus", "split"})
        if self.family != "babble" and idle:
            raise ValueError(f"{idle[0]} belongs to family babble only")
        return self

    def resources(self, data: Path) -> tuple[Utterance, ...]:
        return rooms.pool(data, self.corpus, self.split) if self.family == "babble" else ()

    def run(
        self, wave: Signal, rng: np.random.Generator, utterance_id: str, resources: tuple[Utterance, ...]
    ) -> Signal:
        if self.family == "babble":
            noise = _babble(len(wave), rng, utterance_id, resources, self.speakers)
        else:
            noise = noises.FAMILIES[self.family](len(wave), rng)
        return noises.mix(wave, noise, self.snr)


class Room(Op):
    """Convolve with a room impulse response of `corpus` whose T60 lies in `t60` [from, to] seconds, one drawn
    for each utterance. The direct path stays in place, the tail beyond the end is cut, the active level is
    restored."""

    op: Literal["room"]
    t60: Annotated[list[float], Field(min_length=2, max_length=2)]
    corpus: Name = "rooms"
    split: Name | None = None

    def resources(self, data: Path) -> tuple[Utterance, ...]:
        low, high = self.t60
        return rooms.responses(data, self.corpus, self.split, low, high)

    def run(
        self, wave: Signal, rng: np.random.Generator, utterance_id: str, resources: tuple[Utterance, ...]
    ) -> Signal:
        return rooms.convolve(wave, _clip(resources[rng.integers(len(resources))]).astype(np.float64))


OPS: dict[str, type[Op]] = {
    "gain": Gain,
    "trim_silence": TrimSilence,
    "crop": Crop,
    "band": Band,
    "resample": Resample,
    "codec": Codec,
    "noise": Noise,
    "room": Room,
}

_CODECS = {
    "gsm": ("WAV", "GSM610"),
    "ulaw": ("WAV", "ULAW"),
    "alaw": ("WAV", "ALAW"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
}


def _babble(n: int, rng: np.random.Generator, utterance_id: str, pool: tuple[Utterance, ...], speakers: int) -> Signal:
    own = {row.speaker for row in pool if row.id == utterance_id}
    voices: dict[str, list[Utterance]] = {}
    for row in pool:
        if row.speaker not in own:
            voices.setdefault(row.speaker, []).append(row)
    if len(voices) < speakers:
        raise ValueError(f"wanted babble of {speakers} other speakers, found {len(voices)}; ask for fewer")
    total = np.zeros(n)
    for voice in rng.permutation(sorted(voices))[:speakers]:
        clips = voices[str(voice)]
        stream, length = [], 0
        while length < n:  # a talker goes on with another clip until the utterance ends
            stream.append(_clip(clips[rng.integers(len(clips))]))
            length += len(stream[-1])
        talk = np.concatenate(stream).astype(np.float64)
        start = int(rng.integers(length - n + 1))
        total += talk[start : start + n] / np.sqrt(noises.active_power(talk))
    return total


@lru_cache(maxsize=256)
def _clip(row: Utterance) -> NDArray[np.float32]:
    return audio.read(row)


@lru_cache(maxsize=32)
def _band_filter(low: float, high: float, width: float) -> Signal:
    taps, beta = kaiserord(65.0, width / (SAMPLE_RATE / 2))
    edges = [edge for edge in (low, high) if 0 < edge < SAMPLE_RATE / 2]
    taps += 1 - taps % 2
    return np.asarray(firwin(taps, edges, window=("kaiser", beta), pass_zero=low == 0, fs=SAMPLE_RATE))


def _back(wave: NDArray[np.floating], rate: int) -> Signal:
    return audio.resample(wave, rate, SAMPLE_RATE).astype(np.float64)


def _fit(wave: NDArray[np.floating], n: int) -> Signal:
    """Cut, or pad with zeros, at the end: resampling and codecs round lengths up to their own grid."""
    return np.pad(np.asarray(wave[:n], dtype=np.float64), (0, max(0, n - len(wave))))
