"""Ops that add noise: made by the code, made of the embedded speech, or recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from harness import audio
from harness.contracts import SAMPLE_RATE, Utterance
from tasks import noises, rooms
from tasks.condition_base import Name, Op, clip, fit
from tasks.noises import Signal

DRAWS = 20
QUIET = 1e-8
"""Mean power, -80 dB re full scale, up to which a piece of a recording counts as silent."""


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

    def test_only(self) -> bool:
        return self.family in noises.TEST_ONLY

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


class RecordedNoise(Op):
    """Add `count` recordings of `corpus` / `split`, all at one level, at `snr` dB as `noise` does: MUSAN in the user's
    folder by default. A recording longer than the utterance starts at a random place, a shorter one goes round.

    Where the user has no such corpus the condition cannot be built, unless `otherwise` names the embedded family that
    takes its place; the two have different versions.
    """

    op: Literal["recorded_noise"]
    snr: Annotated[float, Field(ge=-30, le=60)]
    corpus: Name = "musan"
    split: Name = "noise"
    count: Annotated[int, Field(ge=1, le=32)] = 1
    otherwise: Literal["white", "pink", "brown", "hum", "machine", "babble"] | None = None

    def test_only(self) -> bool:
        return self.split == noises.TEST_ONLY_SPLIT or self.otherwise in noises.TEST_ONLY

    def resources(self, data: Path) -> tuple[Utterance, ...]:
        if self.otherwise and not rooms.known(data, self.corpus):
            return self._instead().resources(data)
        return rooms.pool(data, self.corpus, self.split)

    def run(
        self, wave: Signal, rng: np.random.Generator, utterance_id: str, resources: tuple[Utterance, ...]
    ) -> Signal:
        if self.otherwise and (not resources or resources[0].corpus != self.corpus):
            return self._instead().run(wave, rng, utterance_id, resources)
        total = np.zeros(len(wave))
        for _ in range(self.count):
            piece = _recorded(len(wave), rng, resources)
            total += piece / np.sqrt(np.mean(piece**2))
        return noises.mix(wave, total, self.snr)

    def _instead(self) -> Noise:
        return Noise.model_validate({"op": "noise", "family": self.otherwise, "snr": self.snr})


def _recorded(n: int, rng: np.random.Generator, rows: tuple[Utterance, ...]) -> Signal:
    """(n,) of one recording, drawn again where the piece is silent."""
    for _ in range(DRAWS):
        row = rows[rng.integers(len(rows))]
        spare = row.duration - n / SAMPLE_RATE
        if spare <= 0:
            whole = clip(row).astype(np.float64)
            piece = np.resize(np.roll(whole, -int(rng.integers(len(whole)))), n)
        else:  # whole files of minutes are not kept in memory; the label lets silence through, to be seen here
            start = row.start + int(rng.integers(int(spare * row.rate) + 1)) / row.rate
            cut = replace(row, start=start, duration=n / SAMPLE_RATE, label=audio.SILENCE_LABEL)
            piece = fit(audio.read(cut), n)
        if np.mean(piece**2) > QUIET:
            return piece
    raise ValueError(f"wanted sound in {rows[0].corpus}, found {DRAWS} silent pieces in a row; check the recordings")


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
            stream.append(clip(clips[rng.integers(len(clips))]))
            length += len(stream[-1])
        talk = np.concatenate(stream).astype(np.float64)
        start = int(rng.integers(length - n + 1))
        total += talk[start : start + n] / np.sqrt(noises.active_power(talk))
    return total
