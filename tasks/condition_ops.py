"""The operations a condition is made of: one strict model an op, its parameters the fields.

An op maps a waveform (n,) at 16 kHz to another of the same length (`trim_silence`, `crop` and `speed` change it),
without delay. It draws at random from the generator it is given and from nothing else. `VERSION` is raised whenever
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
from pydantic import Field, model_validator
from scipy.signal import fftconvolve, firwin, kaiserord

from harness import audio
from harness.contracts import SAMPLE_RATE, Utterance
from tasks import noises, rooms, silence
from tasks.condition_base import Name, Op, clip, fit
from tasks.condition_noise import Noise, RecordedNoise
from tasks.condition_simulated import SimulatedRoom
from tasks.condition_voice import Pitch, Speed
from tasks.noises import Signal


class Gain(Op):
    """Multiply by `db` decibels."""

    op: Literal["gain"]
    db: Annotated[float, Field(ge=-60, le=60)]

    def run(self, wave: Signal, *_: Any) -> Signal:
        return wave * 10 ** (self.db / 20)


class Level(Op):
    """Bring the active speech level to `dbov` dB re full scale (RMS 1, as in ITU-T G.100.1; speech is usually kept at
    -26), give or take up to `spread` dB, uniformly drawn."""

    op: Literal["level"]
    dbov: Annotated[float, Field(ge=-80, le=0)]
    spread: Annotated[float, Field(ge=0, le=30)] = 0.0

    def run(self, wave: Signal, rng: np.random.Generator, *_: Any) -> Signal:
        power = noises.active_power(wave)
        if power <= 0:
            raise ValueError("a level needs a wave that is not all zero")
        target = self.dbov + (rng.uniform(-self.spread, self.spread) if self.spread else 0.0)
        return np.asarray(wave * np.sqrt(10 ** (target / 10) / power))


class Clip(Op):
    """Flatten what is loudest, so that `share` of the samples of active speech lie at the limit; the active level is
    restored."""

    op: Literal["clip"]
    share: Annotated[float, Field(gt=0, le=0.9)]

    def run(self, wave: Signal, *_: Any) -> Signal:
        before = noises.active_power(wave)
        sizes = np.abs(wave[noises.active_samples(wave)])
        limit = np.quantile(sizes, 1 - self.share, method="higher")
        if limit <= 0:
            raise ValueError("wanted sound to clip, found zeros; ask for a smaller share")
        flat = np.clip(wave, -limit, limit)
        return np.asarray(flat * np.sqrt(before / noises.active_power(flat)))


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
        return fit(_back(audio.resample(wave, SAMPLE_RATE, self.rate), self.rate), len(wave))


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
        if self.codec == "mp3" and self.level == 1:
            raise ValueError("mp3 has levels below 1 only; libsndfile refuses that one")
        return self

    def libraries(self) -> dict[str, str]:
        return {"libsndfile": str(soundfile.__libsndfile_version__)}

    def run(self, wave: Signal, *_: Any) -> Signal:
        sent = np.clip(audio.resample(wave, SAMPLE_RATE, self.rate), -1.0, 1.0)
        return fit(_back(fit(self._transcode(sent), len(sent)), self.rate), len(wave))

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


class Room(Op):
    """Convolve with a room impulse response of `corpus`, one drawn for each utterance: the embedded rooms, or measured
    ones in the user's folder (`rirs`). With `t60`, only those whose T60 lies in [from, to] seconds. Of several channels
    the first is taken. The direct path stays in place, the tail beyond the end is cut, the active level is restored."""

    op: Literal["room"]
    t60: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    corpus: Name = "rooms"
    split: Name | None = None

    def resources(self, data: Path) -> tuple[Utterance, ...]:
        if self.t60 is None:
            return rooms.pool(data, self.corpus, self.split)
        return rooms.responses(data, self.corpus, self.split, *self.t60)

    def run(
        self, wave: Signal, rng: np.random.Generator, utterance_id: str, resources: tuple[Utterance, ...]
    ) -> Signal:
        return rooms.convolve(wave, _response(resources[rng.integers(len(resources))]).astype(np.float64))


OPS: dict[str, type[Op]] = {
    "gain": Gain,
    "level": Level,
    "clip": Clip,
    "trim_silence": TrimSilence,
    "crop": Crop,
    "speed": Speed,
    "pitch": Pitch,
    "band": Band,
    "resample": Resample,
    "codec": Codec,
    "noise": Noise,
    "recorded_noise": RecordedNoise,
    "room": Room,
    "simulated_room": SimulatedRoom,
}

_CODECS = {
    "gsm": ("WAV", "GSM610"),
    "ulaw": ("WAV", "ULAW"),
    "alaw": ("WAV", "ALAW"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
}


@lru_cache(maxsize=32)
def _band_filter(low: float, high: float, width: float) -> Signal:
    taps, beta = kaiserord(65.0, width / (SAMPLE_RATE / 2))
    edges = [edge for edge in (low, high) if 0 < edge < SAMPLE_RATE / 2]
    taps += 1 - taps % 2
    return np.asarray(firwin(taps, edges, window=("kaiser", beta), pass_zero=low == 0, fs=SAMPLE_RATE))


def _response(row: Utterance) -> NDArray[np.floating]:
    """The first channel (n,) at 16 kHz: the mean over an array's microphones is the response of no place."""
    if row.archive is None:
        try:
            with soundfile.SoundFile(row.member) as sound:
                if sound.channels > 1:
                    return audio.resample(sound.read(always_2d=True)[:, 0], sound.samplerate, SAMPLE_RATE)
        except (soundfile.SoundFileError, RuntimeError, OSError) as error:
            raise ValueError(f"{row.member} cannot be decoded ({error}); restore the file") from None
    return clip(row)


def _back(wave: NDArray[np.floating], rate: int) -> Signal:
    return audio.resample(wave, rate, SAMPLE_RATE).astype(np.float64)
