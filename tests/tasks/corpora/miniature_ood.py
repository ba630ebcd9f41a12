"""Layout-faithful miniatures of the corpora out of domain, with real audio in the published formats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import soundfile
from miniature import sound, text

FORMATS = {".opus": ("OGG", "OPUS"), ".sph": ("NIST", "PCM_16"), ".mp3": ("MP3", "MPEG_LAYER_III")}


def said(path: Path, seconds: float = 0.4, *, rate: int = 16000, seed: int = 0) -> Path:
    """As `sound`, for suffixes that do not say their format to libsndfile too."""
    if path.suffix not in FORMATS:
        return sound(path, seconds, seed=seed, rate=rate)
    wav = sound(path.with_suffix(".tmp.wav"), seconds, seed=seed, rate=rate)
    wave, _ = soundfile.read(wav)
    wav.unlink()
    kind, subtype = FORMATS[path.suffix]
    soundfile.write(path, wave, rate, format=kind, subtype=subtype)
    return path


def ravdess(root: Path) -> Path:
    """Three actors, every emotion once, and a song."""
    for actor in ("01", "02", "24"):
        for emotion in range(1, 9):
            said(root / f"Actor_{actor}" / f"03-01-{emotion:02d}-01-0{1 + emotion % 2}-01-{actor}.wav", rate=48000)
        said(root / f"Actor_{actor}" / f"03-02-03-01-01-01-{actor}.wav", rate=48000)
    return root


def crema_d(root: Path) -> Path:
    for actor in (1001, 1002, 1076):
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
            said(root / "AudioWAV" / f"{actor}_MTI_{emotion}_XX.wav")
        said(root / "AudioWAV" / f"{actor}_IEO_SAD_HI.wav")
    return root


def emodb(root: Path) -> Path:
    for speaker in ("03", "08", "16"):
        for emotion in "WLEAFTN":
            said(root / "wav" / f"{speaker}a01{emotion}a.wav")
        said(root / "wav" / f"{speaker}b10Wc.wav")
    return root


def cn_celeb(root: Path, suffix: str = ".flac", listed: str = ".wav") -> Path:
    """Two enrolled voices, a third who is only in test, and two development speakers, one with one kind of genre."""
    tests = [f"id0080{n}-{genre}-01-{clip:03d}" for n in (0, 1, 2) for genre in ("singing", "live_broadcast")
             for clip in (1, 2)]  # fmt: skip
    for name in tests:
        said(root / "eval" / "test" / f"{name}{suffix}")
    for speaker in ("id00800", "id00801"):
        said(root / "eval" / "enroll" / f"{speaker}-enroll{suffix}", 1.0)
    pairs = [f"{one}-enroll test/{name}{listed} {int(name.startswith(one))}" for one in ("id00800", "id00801")
             for name in tests]  # fmt: skip
    text(root / "eval" / "lists" / "trials.lst", *pairs)
    for genre in ("interview", "speech", "movie"):
        for clip in range(1, 5):
            said(root / "data" / "id00012" / f"{genre}-01-{clip:03d}{suffix}")
    said(root / "data" / "id00013" / f"movie-01-001{suffix}")
    said(root / "data" / "id00800" / f"singing-01-001{suffix}")  # of the test speakers there are clips here too
    return root


SPEAKERS = {"p225": ("F", "English"), "p226": ("M", "English"), "p228": ("F", "Scottish"), "p245": ("M", "Irish")}


def vctk(root: Path, suffix: str = ".flac", old: bool = False) -> Path:
    """Four speakers, two of each gender; sentences 1, 2, 23, 25, 26, the last with digits. p245 lacks microphone 2."""
    folder = root / ("wav48" if old else "wav48_silence_trimmed")
    for speaker in SPEAKERS:
        for number in (1, 2, 23, 25, 26):
            name = f"{speaker}_{number:03d}"
            for mic in ("",) if old else ("_mic1", "_mic2")[: 1 if speaker == "p245" else 2]:
                said(folder / speaker / f"{name}{mic}{suffix}", 3.2 if number < 25 else 0.5, rate=48000)
            sentence = "In 1984 it rained." if number == 26 else f"Please call {'Stella ' * number}"
            text(root / "txt" / speaker / f"{name}.txt", sentence)
    lines = [f"{name[old:]}  23  {gender}    {accent}    Surrey" for name, (gender, accent) in SPEAKERS.items()]
    text(root / "speaker-info.txt", "ID  AGE  GENDER  ACCENTS  REGION", *lines)
    return root


def l2_arctic(root: Path, nested: bool = False) -> Path:
    """Three speakers of two first languages; `nested`: as each speaker's archive unpacks by itself."""
    for speaker in ("ABA", "SKA", "HJK"):
        folder = root / speaker / speaker if nested else root / speaker
        for number, sentence in enumerate(("Author of the danger trail.", "In 1908.", "World one.")):
            said(folder / "wav" / f"arctic_a000{number}.wav", rate=44100)
            text(folder / "transcript" / f"arctic_a000{number}.txt", sentence)
    said(root / "suitcase_corpus" / "wav" / "aba.wav", rate=44100)
    text(root / "suitcase_corpus" / "transcript" / "aba.txt", "So there was a man.")
    text(root / "librispeech-lexicon.txt", "WORLD\tW ER1 L D", "ONE\tW AH1 N", "IN\tIH0 N")
    return root


def tedlium3(root: Path, suffix: str = ".sph") -> Path:
    for split, talk in (("dev", "BarrySchwartz_2005G"), ("test", "AimeeMullins_2009P")):
        folder = root / "legacy" / split
        said(folder / "sph" / f"{talk}{suffix}", 6.0)
        start = f"{talk} 1 {talk}"
        text(
            folder / "stm" / f"{talk}.stm",
            f"{start} 0.00 1.00 <o,,unknown> ignore_time_segment_in_scoring",
            f"{start} 1.00 2.50 <o,f0,female> they 're here <unk> and {{NOISE}} i 'm glad",
            f"{start} 2.50 4.00 <o,f0,female> in 1984 (2)",
            f"{start} 4.00 5.75 <o,f0,female> ' cause it works",
        )
    return root


def mswc(
    root: Path, suffix: str = ".opus", listing: str = "splits", language: str = "en",
    words: tuple[str, ...] = ("yes", "stop", "aachen", "hello"),
) -> Path:  # fmt: skip
    """Four words, two of which are keywords, a clip of each in train and dev and two in test, and an invalid one."""
    top, first = root / language, words[0]
    lines: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    number = 100
    for word in words:
        for part in ("train", "dev", "test", "test"):
            number += 1
            clip = f"{word}/common_voice_{language}_{number}{'__2' if word == words[-1] else ''}.opus"
            said((top / "clips" / clip).with_suffix(suffix))
            lines[part].append(f"{clip},{word},True,{number % 5}abc{'0' * 120},NAN")
    said((top / "clips" / first / f"common_voice_{language}_999.opus").with_suffix(suffix))
    lines["test"].append(f"{first}/common_voice_{language}_999.opus,{first},False,9{'0' * 120},MALE")
    head = "LINK,WORD,VALID,SPEAKER,GENDER"
    if listing == "splits":
        whole = [f"{part.upper()},{line}" for part, found in lines.items() for line in found]
        text(top / f"{language}_splits.csv", f"SET,{head}", *whole)
    else:
        for part, found in lines.items():
            text(top / listing.format(part), head, *found)
    return root


SENTENCES = {
    "en": ['He said "no.', "It is 5 o'clock.", "A third one."],
    "bn": ["আমি বাংলায় গান গাই।", "তখন ১৯৭১ সাল।", "সে এসেছিল।"],
}


def common_voice(root: Path, suffix: str = ".mp3", accents: str = "accents") -> Path:
    for language in SENTENCES:
        folder = root / "cv-corpus-17.0-2024-03-15" / language
        for number, part in enumerate(("train", "dev", "test")):
            lines = [f"client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\t{accents}\tlocale\tsegment"]
            for place, sentence in enumerate(SENTENCES[language]):
                name = f"common_voice_{language}_{100 * number + place}"
                said(folder / "clips" / f"{name}{suffix}", 0.6)
                accent = "India and South Asia (India, Pakistan, Sri Lanka)" if place == 2 else ""
                lines.append(f"{number}{place}{'f' * 126}\t{name}.mp3\t{sentence}\t2\t0\t\t\t{accent}\t{language}\t")
            text(folder / f"{part}.tsv", *lines)
    return root


def lhotse(root: Path, audio: Path, *, absolute: bool = True, prefix: str = "tiny", **change: Any) -> Path:
    """Two recordings, three supervisions of one split, by hand: a manifest is lines of JSON."""
    recordings, supervisions = [], []
    for name in ("a b", "c"):
        path = said(audio / f"{name.replace(' ', '_')}.wav", 2.0)
        source = {"type": "file", "channels": [0], "source": str(path) if absolute else path.name}
        recordings.append({"id": name, "sources": [source], "sampling_rate": 16000, "num_samples": 32000,
                           "duration": 2.0, "channel_ids": [0], **change})  # fmt: skip
        supervisions.append({"id": f"{name}-1", "recording_id": name, "start": 0.0, "duration": 2.0, "channel": 0,
                             "text": "Hello there.", "language": "English", "speaker": "S1",
                             "custom": {"emotion": "angry"}})  # fmt: skip
    supervisions.append({**supervisions[-1], "id": "c-2", "start": 0.5, "duration": 1.0, "text": "In 1984.",
                         "custom": {"emotion": "bored"}})  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    for kind, lines in (("recordings", recordings), ("supervisions", supervisions)):
        with gzip.open(root / f"{prefix}_{kind}_TEST.jsonl.gz", "wt") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)
    return root
