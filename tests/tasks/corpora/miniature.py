"""Layout-faithful miniatures of the corpora, with real audio: tones in noise, a few tenths of a second each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

IDEN = {"id10001": "AbCdEfGhIj0", "id10002": "BbCdEfGhIj1", "id10270": "CbCdEfGhIj2", "id10271": "DbCdEfGhIj3"}


def sound(path: Path, seconds: float = 0.5, *, seed: int = 0, rate: int = 16000) -> Path:
    """A tone in noise; the format follows the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, sum(map(ord, path.stem))])
    t = np.arange(round(seconds * rate)) / rate
    wave = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 400) * t) + 0.02 * rng.normal(size=t.size)
    soundfile.write(path, wave, rate)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def librispeech(root: Path, suffix: str = ".flac", lexicon: bool = True) -> Path:
    """Two speakers a split, two utterances each."""
    speakers = iter(range(19, 100))
    for split in ("train-clean-100", "dev-clean", "test-clean", "test-other"):
        for _ in range(2):
            speaker = next(speakers)
            folder = root / split / str(speaker) / "198"
            names = [f"{speaker}-198-{n:04d}" for n in range(2)]
            for number, name in enumerate(names):
                sound(folder / f"{name}{suffix}", 1.0 + 0.1 * number, seed=speaker)
            text(folder / f"{speaker}-198.trans.txt", *(f"{name} HELLO WORLD ONE" for name in names))
    if lexicon:
        hello = ("HELLO\tHH AH0 L OW1", "HELLO  HH EH0 L OW1")
        text(root / "librispeech-lexicon.txt", *hello, "WORLD W ER1 L D", "ONE W AH1 N")
    return root


def voxceleb1(root: Path, suffix: str = ".wav", lists: bool = True, speakers: tuple[str, ...] = ()) -> Path:
    """The speakers of IDEN, three of those set apart for dev, and those given; two videos, three clips each."""
    from tasks.corpora.voxceleb1 import DEV_SPEAKERS

    everyone = [*IDEN, *sorted(DEV_SPEAKERS)[:3], *speakers]
    lines: list[str] = []
    by_speaker: dict[str, list[str]] = {}
    for place, speaker in enumerate(everyone):
        part = "test" if "id10270" <= speaker < "id10310" else "dev"
        for video in (IDEN.get(speaker, f"video{place:06d}"), f"other{place:06d}"):
            for clip in (1, 2, 3):
                sound(root / part / "wav" / speaker / video / f"{clip:05d}{suffix}", 1.0, seed=place)
                path = f"{speaker}/{video}/{clip:05d}.wav"
                lines.append(f"{clip} {path}")
                by_speaker.setdefault(speaker, []).append(path)
    if lists:
        text(root / "iden_split.txt", *lines)
        a, b = by_speaker["id10270"], by_speaker["id10271"]
        text(root / "veri_test.txt", f"1 {a[0]} {a[3]}", f"0 {a[0]} {b[0]}", f"1 {b[0]} {b[3]}", f"0 {a[1]} {b[1]}")
        text(root / "vox1_meta.csv", "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet",
             *(f"{speaker}\tA_B\t{'mf'[place % 2]}\tUK\tdev" for place, speaker in enumerate(everyone)))  # fmt: skip
    return root


def codes(part: str, count: int) -> list[str]:
    """Speaker codes that SUPERB's rule puts into this part ('' for the one it discards)."""
    from tasks.corpora.speech_commands import part as of

    return [code for n in range(2000) if of(code := f"{n:08x}") == part][:count]


def speech_commands(root: Path, version: str = "0.01") -> Path:
    words = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "bed", "cat")
    top, test = root / f"speech_commands_v{version}", root / f"speech_commands_test_set_v{version}"
    for word in words:
        for code in (*codes("train", 2), *codes("dev", 1), *codes("", 1)):
            sound(top / word / f"{code}_nohash_0.wav", 0.4, seed=words.index(word))
    for noise in ("running_tap", "pink_noise"):
        sound(top / "_background_noise_" / f"{noise}.wav", 3.3)
    text(top / "_background_noise_" / "README.md", "noise")
    for word in (*words[:10], "_unknown_", "_silence_"):
        for number, code in enumerate(codes("", 2)):
            name = f"silence_{number}" if word == "_silence_" else f"{code}_nohash_0"
            sound(test / word / f"{name}.wav", 0.4, seed=number)
    return root


def iemocap(root: Path) -> Path:
    for session in range(1, 6):
        for actor in "FM":
            dialogue = f"Ses0{session}F_impro0{1 + (actor == 'M')}"
            labels, texts = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], []
            for number, label in enumerate(("neu", "hap", "exc", "ang", "sad", "fru", "xxx")):
                turn = f"{dialogue}_{actor}{number:03d}"
                sound(root / f"Session{session}/sentences/wav/{dialogue}/{turn}.wav", 0.4, seed=session)
                labels += [f"[6.2901 - 8.2357]\t{turn}\t{label}\t[2.5000, 2.5000, 2.5000]", "C-E1:\tNeutral;\t()"]
                texts.append(f"{turn} [006.2901-008.2357]: Excuse me.")
            dialog = root / f"Session{session}" / "dialog"
            text(dialog / "EmoEvaluation" / f"{dialogue}.txt", *labels)
            text(dialog / "EmoEvaluation" / "Categorical" / f"{dialogue}_e2_cat.txt", f"{dialogue} :Neutral;")
            text(dialog / "transcriptions" / f"{dialogue}.txt", *texts)
    return root
