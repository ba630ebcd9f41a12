"""Keywords of other voices, each clip one second: eleven engines' (`engines_ks`), recorded people's (`people_ks`).

    python -m tasks.mini.make engines_ks --scratch DIR
    python -m tasks.mini.make people_ks --scratch DIR

The first needs what engines.py names; the second, `asterisk` and `tuxpaint_words`. Words are set in noise as those of
kokoro_ks are. The people say digits, and one of them "no".
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from tasks.manifest import write_manifest
from tasks.mini.make import asterisk, debian, engines, tuxpaint, tuxpaint_words
from tasks.mini.make.keywords import KEYWORDS, UNKNOWN, UNKNOWN_LABEL
from tasks.mini.make.kokoro_tasks import in_a_second
from tasks.mini.make.pack import Clip, pack

SEED = 2028
OTHERS = 6
"""Words of each engine's voice that are no keyword."""
LEVEL = 0.953


def make_engines(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv of `engines_ks` into `folder`."""
    scratch.mkdir(parents=True, exist_ok=True)
    clips = []
    for engine, voices in engines.VOICES.items():
        for voice in voices:
            who = engines.speaker(engine, voice)
            others = random.Random(f"{SEED} {who}").sample(UNKNOWN["test"].split(), OTHERS)
            for word in (*KEYWORDS, *others):
                name = f"engines_ks-{who}-{word}"
                clips.append(
                    Clip(
                        id=name,
                        split="test",
                        wave=in_a_second(engines.speak(engine, voice, f"{word}.", scratch / "engine.wav"), name),
                        speaker=who,
                        language="en",
                        channel=engine,
                        text=word,
                        label=word if word in KEYWORDS else UNKNOWN_LABEL,
                    )
                )
    source = "Debian flite, festival, espeak-ng"
    pack(folder, "engines_ks", clips, source=source, licence=engines.LICENCE, level=LEVEL)


def make_people(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv of `people_ks` into `folder`."""
    prompts, digits = asterisk.keywords(scratch), tuxpaint_words.keywords(scratch)
    rows = pack(folder, "people_ks", map(_in_a_second, [*prompts, *digits]), source="-", licence="-", level=LEVEL)
    origin = {asterisk.SPEAKER: (f"{asterisk.PACKAGES['en']}-wav", asterisk.LICENCE)}
    kept = []
    for row in rows:
        package, licence = origin.get(row.speaker, (tuxpaint.PACKAGE, tuxpaint.LICENCE))
        version, _ = debian.facts(scratch, package)
        kept.append(replace(row, source=f"Debian {package} {version}", licence=licence))
    write_manifest(kept, folder / "manifest.csv")


def _in_a_second(clip: Clip) -> Clip:
    name = f"people_ks-{clip.speaker}-{clip.label}"
    return replace(clip, id=name, split="test", wave=in_a_second(clip.wave, name))
