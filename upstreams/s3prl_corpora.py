"""What s3prl is given for a SUPERB task: clips of ours in the folder tree of its corpus, and its settings.

Trees are cut to what s3prl reads. Every clip is a training clip: names are chosen so that the split rules of s3prl put
it there. Audio is 16-bit WAV at 16 kHz, also where the corpus itself is FLAC.
"""

from __future__ import annotations

import csv
import hashlib
import json
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.contracts import SAMPLE_RATE
from harness.errors import UserError

CONSONANTS = [*"BDFGKLMNPRSTVWYZ", "CH", "DH", "HH", "JH", "NG", "SH", "TH", "ZH"]
VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
PHONES = ["SIL", "SPN", *CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012")]
"""The 71 symbols of SUPERB's phone task; s3prl adds padding, end and unknown."""
LETTERS = ["|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
"""The 28 letters of SUPERB's ASR; s3prl's dictionary adds four specials."""
SILENCE_SECONDS = 10
MIN_SAMPLES = 32_000
"""s3prl's ASV leaves out what is no longer than this after its silence is cut, 2 s."""


class Clip(NamedTuple):
    """One recording: `wave` 1-D float32 in [-1, 1] at 16 kHz, `phones` words apart by ' | '."""

    wave: np.ndarray
    speaker: str
    label: str
    text: str
    phones: str


def write_wave(path: Path, samples: np.ndarray) -> None:
    """Mono 16-bit PCM at 16 kHz; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scaled = np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(scaled.tobytes())


def speech_commands(clips: Sequence[Clip], root: Path) -> dict[str, Any]:
    """KS: <word>/<speaker>_nohash_<n>.wav and ten seconds of noise for the `_silence_` that is cut from it."""
    train, test = root / "speech_commands_v0.01", root / "speech_commands_test_set_v0.01"
    spoken = [clip for clip in clips if clip.label != "_silence_"]
    for index, clip in enumerate(spoken):
        write_wave(train / clip.label / f"{_kept_for_training(clip.speaker)}_nohash_{index}.wav", clip.wave)
    for label in {clip.label for clip in spoken}:
        (test / label).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.05, SILENCE_SECONDS * SAMPLE_RATE)
    write_wave(train / "_background_noise_" / "noise.wav", noise)
    return {"speech_commands_root": str(train), "speech_commands_test_root": str(test)}


def _kept_for_training(speaker: str) -> str:
    """The speaker's name with a suffix whose SHA-1 falls among the four fifths that Speech Commands trains on."""
    largest = 2**27 - 1
    for salt in count():
        name = f"{speaker}{salt}"
        share = int(hashlib.sha1(name.encode()).hexdigest(), 16) % (largest + 1) * (100 / largest)
        if share >= 20:
            return name
    raise AssertionError("never reached")


def voxceleb_tree(clips: Sequence[Clip], wavs: Path) -> list[str]:
    """<id>/<video>/<n>.wav, ids from id10001 in the order of the speakers' names; the paths below `wavs`."""
    ids = {speaker: f"id{10001 + n}" for n, speaker in enumerate(sorted({clip.speaker for clip in clips}))}
    names = [f"{ids[clip.speaker]}/video/{index:05d}.wav" for index, clip in enumerate(clips)]
    for name, clip in zip(names, clips, strict=True):
        write_wave(wavs / name, clip.wave)
    return names


def voxceleb_sid(clips: Sequence[Clip], root: Path) -> dict[str, Any]:
    """SID: dev/wav/…, and the list that says 1 (train), 2 (dev) or 3 (test) of every path."""
    names = voxceleb_tree(clips, root / "dev" / "wav")
    lines = [f"1 {name}" for name in names] + [f"2 {names[0]}", f"3 {names[0]}"]
    listed = root / "veri_test_class.txt"
    listed.write_text("\n".join(lines) + "\n")
    return {"file_path": str(root), "meta_data": str(listed)}


def voxceleb_asv(clips: Sequence[Clip], root: Path) -> dict[str, Any]:
    """ASV: dev/wav/… for training, one trial for dev and test. Raises UserError where too few clips exceed 2 s."""
    long = [clip for clip in clips if len(clip.wave) > MIN_SAMPLES]
    if len(long) < 10:
        raise UserError(f"s3prl's ASV leaves out clips up to 2 s: 10 longer ones wanted, found {len(long)}")
    names = voxceleb_tree(long, root / "dev" / "wav")
    voxceleb_tree(long[:1], root / "test" / "wav")
    trials = root / "trials.txt"
    trials.write_text(f"1 {names[0]} {names[0]}\n")
    return {
        "file_path": str(root),
        "train_meta_data": str(trials),
        "dev_meta_data": str(trials),
        "test_meta_data": str(trials),
    }


def iemocap(clips: Sequence[Clip], root: Path) -> dict[str, Any]:
    """ER: Session1/sentences/wav/… and the JSON lists of fold 1, whose classes are the clips' labels."""
    labels = {label: n for n, label in enumerate(sorted({clip.label for clip in clips}))}
    rows = []
    for index, clip in enumerate(clips):
        path = f"Session1/sentences/wav/dialogue/{clip.speaker}_{index:05d}.wav"
        write_wave(root / path, clip.wave)
        rows.append({"path": path, "label": clip.label, "speaker": clip.speaker})
    lists = root / "meta_data" / "Session1"
    lists.mkdir(parents=True)
    for name, kept in (("train", rows), ("test", rows[:1])):
        (lists / f"{name}_meta_data.json").write_text(json.dumps({"labels": labels, "meta_data": kept}))
    return {"root": str(root), "meta_data": str(root / "meta_data"), "test_fold": "fold1"}


def _librispeech(clips: Sequence[Clip], root: Path) -> list[tuple[str, Clip]]:
    """train-clean-100/<speaker>/<chapter>/<id>.wav with its .trans.txt; (path below `root`, clip)."""
    numbers = {speaker: 100 + n for n, speaker in enumerate(sorted({clip.speaker for clip in clips}))}
    found, transcripts = [], dict[Path, list[str]]()
    for index, clip in enumerate(clips):
        number = numbers[clip.speaker]
        name = f"{number}-1-{index:05d}"
        folder = f"train-clean-100/{number}/1"
        write_wave(root / folder / f"{name}.wav", clip.wave)
        words = "".join(c for c in clip.text.upper().replace("-", " ") if c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
        transcripts.setdefault(root / folder / f"{number}-1.trans.txt", []).append(f"{name} {words}")
        found.append((f"{folder}/{name}.wav", clip))
    for path, lines in transcripts.items():
        path.write_text("\n".join(lines) + "\n")
    return found


def librispeech_asr(clips: Sequence[Clip], root: Path) -> dict[str, Any]:
    """ASR: the tree, the lengths that buckets are made by (in samples) and the letters."""
    found = _librispeech(clips, root)
    lengths, letters = root / "len_for_bucket", root / "char.dict"
    lengths.mkdir()
    with open(lengths / "train-clean-100.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_path", "length"])
        writer.writerows([path, len(clip.wave)] for path, clip in found)
    letters.write_text("".join(f"{letter} 1\n" for letter in LETTERS))
    return {"libri_root": str(root), "bucket_file": str(lengths), "dict_path": str(letters)}


def librispeech_pr(clips: Sequence[Clip], root: Path) -> dict[str, Any]:
    """PR: the tree, the 71 phones, and a list of path and phones apart by a tab. A vowel without stress gets 1."""
    lines = []
    for path, clip in _librispeech(clips, root):
        phones = [phone if phone in PHONES else phone + "1" for phone in clip.phones.replace("|", " ").split()]
        unknown = sorted(set(phones) - set(PHONES))
        if unknown or not phones:
            raise UserError(f"s3prl's PR wants phones of CMU's dictionary, found {unknown or 'none'} for {clip.text!r}")
        lines.append(f"{root / path}\t{' '.join(phones)}")
    (root / "train.tsv").write_text("\n".join(lines) + "\n")
    (root / "phoneme.txt").write_text("\n".join(PHONES) + "\n")
    return {"list": str(root / "train.tsv"), "vocab_file": str(root / "phoneme.txt")}


LAYOUTS: dict[str, Callable[[Sequence[Clip], Path], dict[str, Any]]] = {
    "ks": speech_commands,
    "sid": voxceleb_sid,
    "asv": voxceleb_asv,
    "er": iemocap,
    "pr": librispeech_pr,
    "asr": librispeech_asr,
}
"""Task -> what writes the clips under a folder and says where its parts are, by the names of s3prl's configuration."""


# -- settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """SUPERB's settings of a task in s3prl. `batch` is what a micro-batch really holds: ASR's expert halves its 32."""

    downstream: str
    batch: int
    accumulate: int
    updates: int
    learning_rate: float
    optimiser: str = "Adam"
    clip: float = 1.0


RECIPES = {
    "ks": Recipe("speech_commands", 32, 1, 200_000, 1e-4),
    "sid": Recipe("voxceleb1", 8, 4, 200_000, 1e-4),
    "asv": Recipe("sv_voxceleb1", 10, 5, 200_000, 1e-4, "AdamW", 1000.0),
    "er": Recipe("emotion", 4, 8, 30_000, 1e-4),
    "pr": Recipe("ctc", 16, 2, 100_000, 1e-2),
    "asr": Recipe("asr", 16, 1, 200_000, 1e-4),
}
SPECAUG = {
    "adaptive": False,
    "time_warp_window": 5,
    "time_mask_width_range": [0, 40],
    "freq_mask_width_range": [0, 50],
    "num_freq_mask": 4,
    "num_time_mask": 2,
}
"""Of ASR."""


def settings(task: str, places: dict[str, Any], workers: int) -> dict[str, Any]:
    """The YAML that s3prl is given for SUPERB, which the pip package does not ship. Nothing is logged or evaluated."""
    recipe, never = RECIPES[task], 10**9
    config: dict[str, Any] = {
        "runner": {
            "total_steps": recipe.updates,
            "gradient_clipping": recipe.clip,
            "gradient_accumulate_steps": recipe.accumulate,
            "log_step": never,
            "eval_step": never,
            "save_step": never,
            "max_keep": 1,
            "eval_dataloaders": ["dev"],
        },
        "optimizer": {"name": "TorchOptim", "torch_optim_name": recipe.optimiser, "lr": recipe.learning_rate},
        "downstream_expert": EXPERTS[task](places, recipe.batch, workers),
    }
    return config | ({"specaug": SPECAUG} if task == "asr" else {})


def _pooled(places: dict[str, Any], **data: Any) -> dict[str, Any]:
    model = {"projector_dim": 256, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}
    return {"datarc": places | data, "modelrc": model}


def _asv(places: dict[str, Any], batch: int, workers: int) -> dict[str, Any]:
    data = {"vad_config": {"min_sec": 32_000}, "max_timestep": 128_000, "num_workers": workers}
    return {
        "datarc": places | data | {"train_batch_size": batch, "eval_batch_size": 1},
        "modelrc": {
            "module": "XVector",
            "input_dim": 512,
            "agg_module": "SP",
            "utter_module": "UtteranceExtractor",
            "module_config": {"XVector": {"agg_dim": 1500, "dropout_p": 0, "batch_norm": False}},
            "ObjectiveLoss": "AMSoftmaxLoss",
            "LossConfig": {"AMSoftmaxLoss": {"s": 30.0, "m": 0.4}},
        },
    }


def _pr(places: dict[str, Any], batch: int, workers: int) -> dict[str, Any]:
    corpus = {"name": "libriphone", "bucketing": True, "batch_size": batch, "num_workers": workers}
    return {
        "corpus": corpus | {"train": places["list"]},
        "text": {"mode": "word", "vocab_file": places["vocab_file"]},
        "model": {"project_dim": 256, "zero_infinity": True, "select": "FrameLevel"},
        "metric": ["per"],
        "metric_higher_better": False,
    }


def asr_expert(places: dict[str, Any], batch: int, workers: int) -> dict[str, Any]:
    # lengths are in samples, so every bucket counts as too long and is halved
    data = {"train": ["train-clean-100"], "batch_size": 2 * batch, "eval_batch_size": 1, "num_workers": workers}
    lstm = {"module": "LSTM", "bidirection": True, "dim": [1024, 1024], "dropout": [0.2, 0.2]}
    plain = {"layer_norm": [False, False], "proj": [False, False], "sample_rate": [1, 1], "sample_style": "concat"}
    return {
        "datarc": places | data | {"zero_infinity": True, "decoder_args": {"decoder_type": "None"}},
        "modelrc": {"project_dim": 1024, "select": "RNNs", "RNNs": {"total_rate": -1} | lstm | plain},
    }


EXPERTS: dict[str, Callable[[dict[str, Any], int, int], dict[str, Any]]] = {
    "ks": lambda places, batch, workers: _pooled(places, batch_size=batch, num_workers=workers),
    "sid": lambda places, batch, workers: _pooled(
        places, train_batch_size=batch, eval_batch_size=1, num_workers=workers, max_timestep=128_000
    ),
    "er": lambda places, batch, workers: _pooled(
        places, train_batch_size=batch, eval_batch_size=batch, num_workers=workers, pre_load=True, valid_ratio=0.2
    ),
    "asv": _asv,
    "pr": _pr,
    "asr": asr_expert,
}
