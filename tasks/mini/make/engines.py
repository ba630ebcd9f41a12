"""Eleven voices of engines that no training clip comes from: flite, Festival and espeak-ng's formant variants.

    python -m tasks.mini.make engines_asv --scratch DIR

Needs `apt-get install flite festival festvox-kdlpc16k espeak-ng` and `pip install soundfile soxr`. A voice occurs
once over all engines: Festival's kal is flite's (cosine .94 by a speaker encoder) and so is its slt (.85). The
espeak-ng variants are those found farthest from one another and from the other voices (77 tried; no pair above .64).
"""

from __future__ import annotations

import csv
import io
import random
import subprocess
from pathlib import Path

import numpy as np

from tasks.mini.make.pack import KBIT_32_SHORT, Clip, Wave, pack, resample, trim

SEED = 2027
SENTENCES = 10
VOICES = {
    "flite": {"awb": "male", "kal16": "male", "rms": "male", "slt": "female"},
    "festival": {"ked_diphone": "male"},
    "espeak-ng": {
        "Alicia": "female",
        "anika": "female",
        "boris": "male",
        "f5": "female",
        "Hugo": "male",
        "marcelo": "male",
    },
}
ACCENTS = {"awb": "en-GB"}
"""Native language where it is not en-US; awb is Scottish."""
LICENCE = "MIT-CMU AND GPL-3.0-or-later"
POOL = "asv_engine"

PATTERNS = (
    "{who} and {who} wanted to {do} {what} {when}",
    "the {kind} {what} was never meant to {do} {whom}",
    "{when} {who} will {do} another {kind} {what} with pleasure",
    "could {who} really {do} that {kind} {what} {when}",
    "somebody forgot to {do} the {what} {when} says {who}",
    "our {kind} {what} and your {what} both {seem} rather {kind}",
    "{who} promised to {do} {whom} with one {kind} {what}",
    "every {kind} {what} in this town must {seem} {kind} {when}",
)
WORDS = {
    "who": "Martha Oliver Winston Beatrice Harold Felicity Douglas Ingrid Leonard Rosalind",
    "whom": "tourists lawyers pirates students wizards plumbers",
    "do": "deliver inspect polish exchange defend discover organise photograph replace amuse",
    "what": "umbrella telescope carriage orchestra volcano bakery engine fountain parcel statue violin museum",
    "kind": "ancient curious fragile enormous modest splendid rusty magnetic colourful ordinary",
    "seem": "look feel sound appear become stay",
    "when": "at-dawn next-week this-evening in-October on-Sunday before-long",
}


def sentences(count: int) -> list[str]:
    """`count` distinct sentences of 8 or 9 words, the same at every call."""
    draw, found = random.Random(SEED), dict[str, None]()
    bags = {slot: words.split() for slot, words in WORDS.items()}
    while len(found) < count:
        words = draw.choice(PATTERNS).split()
        used: set[str] = set()
        for at, word in enumerate(words):
            if word.startswith("{"):
                words[at] = draw.choice([w for w in bags[word[1:-1]] if w not in used])
                used.add(words[at])
        text = " ".join(words).replace("-", " ")
        if 8 <= len(text.split()) <= 9:
            found[text[0].upper() + text[1:] + "."] = None
    return list(found)


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`; no sentence is read twice."""
    names = [(engine, voice) for engine, voices in VOICES.items() for voice in voices]
    texts = iter(sentences(SENTENCES * len(names)))
    scratch.mkdir(parents=True, exist_ok=True)
    clips = [
        Clip(
            id=f"engines_asv-{speaker(engine, voice)}-{number:02d}",
            split="test",
            wave=speak(engine, voice, text, scratch / "engine.wav"),
            speaker=speaker(engine, voice),
            language="en",
            channel=engine,
            text=text,
        )
        for engine, voice in names
        for number, text in enumerate(next(texts) for _ in range(SENTENCES))
    ]
    source = "Debian flite, festival, espeak-ng"
    pack(folder, "engines_asv", clips, source=source, licence=LICENCE, level=KBIT_32_SHORT)


def speaker(engine: str, voice: str) -> str:
    """The speaker's name in the manifest and in voices.csv."""
    return f"eng_{engine.replace('-ng', '')}_{voice.removesuffix('_diphone').lower()}"


def write_voices(path: Path) -> None:
    """Write the engines' rows into voices.csv, last, and keep the others as they are."""
    header = ["voice", "engine", "gender", "native_language", "pool", "note"]
    lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")))) if path.exists() else [header]
    rows = [
        [speaker(engine, voice), engine, gender, ACCENTS.get(voice, "en-US"), POOL, voice]
        for engine, voices in VOICES.items()
        for voice, gender in voices.items()
    ]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([*(row for row in lines if row[4] != POOL), *rows])
    path.write_text(out.getvalue(), encoding="utf-8")


def speak(engine: str, voice: str, text: str, wav: Path) -> Wave:
    """(n,) at 16 kHz, trimmed: `text` by a voice of an engine, by way of the file `wav`."""
    import soundfile

    commands = {
        "flite": ["flite", "-voice", voice, "-t", text, "-o", str(wav)],
        "festival": ["text2wave", "-eval", f"(voice_{voice})", "-o", str(wav)],
        "espeak-ng": ["espeak-ng", "-v", f"en-us+{voice}", "-s", "190", "-w", str(wav), text],
    }
    subprocess.run(commands[engine], input=text, text=True, check=True, capture_output=True)
    wave, rate = soundfile.read(wav)
    return trim(resample(np.asarray(wave, dtype=np.float64), rate))
