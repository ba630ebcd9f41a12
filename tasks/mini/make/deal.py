"""The deal: which Kokoro voice is in which pool, and the blended voices that widen the training pool.

    voices()            # every Kokoro row of tasks/mini/voices.csv
    write(path)         # into that file, beside the rows of other engines

Kokoro's names say language and gender: `bf_emma` is British and female. A blend is the mean of two voices' style
tables. No voice, and no parent of a blend, is in two pools. The Portuguese voices are the Spanish ones over again
(style vectors with a cosine of 0.97 to 0.98; a speaker encoder cannot tell them apart), so no split has them.
"""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from pathlib import Path

LANGUAGES = {
    "a": "en-US",
    "b": "en-GB",
    "e": "es",
    "f": "fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt",
    "z": "zh",
}
GENDERS = {"f": "female", "m": "male"}

POOLS = {
    "icl_train": (
        "af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky "
        "am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa"
    ),
    "icl_val": "bf_alice bm_daniel zf_xiaobei zm_yunjian jf_alpha bf_isabella",
    "asv_train": "bf_emma bm_george zf_xiaoxiao zf_xiaoyi zm_yunxia zm_yunyang jf_nezumi jf_tebukuro jm_kumo",
    "asv_dev": "bf_lily bm_fable zf_xiaoni zm_yunxi jf_gongitsune bm_lewis",
    "asv_test": "ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola",
    "left_out": "pf_dora pm_alex pm_santa",
}
NOTES = {
    "pf_dora": "the voice of ef_dora",
    "pm_alex": "the voice of em_alex",
    "pm_santa": "the voice of em_santa",
    "am_santa": "resembles em_santa of asv_test",
}
TRAIN_SPEAKERS = 34


@dataclass(frozen=True, slots=True)
class Voice:
    """One row of voices.csv."""

    voice: str
    engine: str
    gender: str
    native_language: str
    pool: str
    note: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        """The Kokoro voices this one is made of: itself, or the two of a blend."""
        return tuple(self.voice.removeprefix("blend_").split("-"))


def voices() -> list[Voice]:
    """The 54 voices and the blends, sorted by pool and name."""
    plain = [_plain(name, pool) for pool, names in POOLS.items() for name in names.split()]
    train = [voice for voice in plain if voice.pool == "asv_train"]
    return sorted(plain + _blends(train, TRAIN_SPEAKERS - len(train)), key=lambda v: (v.pool, v.voice))


def pool(name: str) -> list[Voice]:
    """The voices of one pool, sorted by name."""
    return [voice for voice in voices() if voice.pool == name]


def write(path: Path) -> None:
    """Write the Kokoro rows into voices.csv, first, and keep the rows of other engines as they are."""
    header = [field.name for field in fields(Voice)]
    kept: list[list[str]] = []
    if path.exists():
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        kept = [row for row in lines[1:] if not row[1].startswith("kokoro")]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([header, *(astuple(voice) for voice in voices()), *kept])
    path.write_text(out.getvalue(), encoding="utf-8")


def _plain(name: str, pool_name: str) -> Voice:
    return Voice(name, "kokoro", GENDERS[name[1]], LANGUAGES[name[0]], pool_name, NOTES.get(name, ""))


def _blends(parents: list[Voice], count: int) -> list[Voice]:
    """`count` pairs: all of one gender first, then mixed ones, taken so that each voice is a parent about as
    often."""
    pairs = [(a, b) for i, a in enumerate(parents) for b in parents[i + 1 :]]
    used = {voice.voice: 0 for voice in parents}
    chosen: list[Voice] = []
    while len(chosen) < count:
        a, b = min(pairs, key=lambda p: (p[0].gender != p[1].gender, used[p[0].voice] + used[p[1].voice]))
        pairs.remove((a, b))
        used[a.voice] += 1
        used[b.voice] += 1
        chosen.append(_blend(a, b))
    return chosen


def _blend(a: Voice, b: Voice) -> Voice:
    return Voice(
        voice=f"blend_{a.voice}-{b.voice}",
        engine="kokoro-blend",
        gender=a.gender if a.gender == b.gender else "mixed",
        native_language=a.native_language if a.native_language == b.native_language else "mixed",
        pool="asv_train",
        note=f"mean of {a.voice} and {b.voice}",
    )
