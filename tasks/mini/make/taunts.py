"""Short acted lines of a game's voice packs: is it pain, joy, anger, fear, or none of these?

    python -m tasks.mini.make taunts --scratch DIR

Needs `pip install soundfile soxr`. The label follows from the name of the line (`LINES`), not from listening. In the
English splits neither a pack nor a line is in two of them; numbered lines count as one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.mini.make import debian
from tasks.mini.make.pack import Clip, Wave, pack

PACKAGE = "hedgewars-data"
VOICES = "usr/share/games/hedgewars/Data/Sounds/voices"
PACKS = {
    "train": ("Default", "Classic", "Surfer", "Singer", "HillBilly"),
    "dev": ("Robot", "Russian"),
    "test": ("British", "Mobster", "Pirate"),
    "other_language": ("Default_es", "Default_pl", "Russian_pl", "Default_ru", "Default_uk"),
}
LINES = {
    "train": {
        "pain": "Ow1 Ow2 Ow3 Ow4",
        "joy": "Brilliant Enemydown Flawless Laugh",
        "anger": "Bugger Coward Gonnagetyou Illgetyou Nutter",
        "fear": "Leavemealone Nooo Runaway",
        "neutral": "Byebye Hmm Hurry Watchthis Yessir",
    },
    "dev": {
        "pain": "Ouch",
        "joy": "Amazing",
        "anger": "Cutitout Justyouwait Revenge",
        "fear": "Ohdear",
        "neutral": "Grenade Thisoneismine",
    },
    "test": {
        "pain": "Ooff1 Ooff2 Ooff3",
        "joy": "Excellent Firstblood Victory",
        "anger": "Drat Stupid Traitor Youllregretthat",
        "fear": "Incoming Takecover Uh-oh",
        "neutral": "Fire Hello Reinforcements Solong",
    },
}
"""Split -> label -> names of lines. The split `other_language` has the lines of all three."""
LEFT_OUT = (
    "Boring Comeonthen Firepunch1 Firepunch2 Firepunch3 Firepunch4 Firepunch5 Firepunch6 Flyaway Jump1 Jump2 Jump3 "
    "Kamikaze Melon Missed Oops PoisonCough PoisonMoan Sameteam Watchit Whatthe"
)
"""Lines whose name fits none of the labels, or more than one."""
WORDS = {
    "Byebye": "Bye bye",
    "Cutitout": "Cut it out",
    "Enemydown": "Enemy down",
    "Firstblood": "First blood",
    "Gonnagetyou": "Gonna get you",
    "Illgetyou": "I'll get you",
    "Justyouwait": "Just you wait",
    "Leavemealone": "Leave me alone",
    "Ohdear": "Oh dear",
    "Runaway": "Run away",
    "Solong": "So long",
    "Takecover": "Take cover",
    "Thisoneismine": "This one is mine",
    "Uh-oh": "Uh oh",
    "Watchthis": "Watch this",
    "Yessir": "Yes sir",
    "Youllregretthat": "You'll regret that",
}
"""Lines of several words; the others are one, less its number."""
ACTORS = {"Default_pl": "actor_2", "Russian_pl": "actor_2", "Default_es": "actor_3", "Default_ru": "actor_4"}
ACTORS |= {"Default_uk": "actor_5"}
"""Pack -> speaker; every other pack is actor_1."""
LICENCE = "GFDL-1.3"
LEVEL = 0.93
"""About 32 kbit/s on such short clips, two fifths of it headers."""
SAME = 0.98
"""Two clips of one length are one recording above this correlation."""


def make(folder: Path, scratch: Path) -> None:
    """Write audio.zip and manifest.csv into `folder`."""
    root = debian.unpack(PACKAGE, scratch) / VOICES
    version, _ = debian.facts(scratch, PACKAGE)
    clips = [clip for split in PACKS for name in PACKS[split] for clip in _pack(root / name, name, split)]
    pack(folder, "taunts", _different(clips), source=f"Debian {PACKAGE} {version}", licence=LICENCE, level=LEVEL)


def labels(split: str) -> dict[str, str]:
    """Line -> label for the lines of a split; the English split's own, or all for `other_language`."""
    parts = [LINES[split]] if split in LINES else list(LINES.values())
    return {line: label for part in parts for label, lines in part.items() for line in lines.split()}


def words(line: str) -> str:
    """The line's name as words: "Gonna get you", "Ow"."""
    return WORDS.get(line, line.rstrip("0123456789"))


def _pack(folder: Path, name: str, split: str) -> list[Clip]:
    known = labels(split)
    return [
        Clip(
            id=f"taunts-{name.lower()}-{path.stem.lower()}",
            split=split,
            wave=debian.read(path),
            speaker=ACTORS.get(name, "actor_1"),
            speaker_known="doubtful",
            language=name.partition("_")[2] or "en",
            channel=name,
            text=words(path.stem),
            label=known[path.stem],
        )
        for path in sorted(folder.glob("*.ogg"))
        if path.stem in known
    ]


def _different(clips: list[Clip]) -> list[Clip]:
    """The clips without later copies of an earlier one, be they coded anew."""
    kept: list[Clip] = []
    for clip in clips:
        if not any(_alike(clip.wave, other.wave) for other in kept):
            kept.append(clip)
    return kept


def _alike(a: Wave, b: Wave) -> bool:
    return len(a) == len(b) and float(np.dot(a, b)) > SAME * float(np.linalg.norm(a) * np.linalg.norm(b))
