"""Planted leaks of each kind are found, and what a task is defined by is none."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from harness.cli import main
from tasks import catalogue, fingerprint
from tasks.leaks import Leaks, Shared, leaks


def sentence(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Bursts of gliding harmonics at random times and pitches, in a little noise: as busy as speech."""
    rng = np.random.default_rng([1000, 7, seed])
    t = np.arange(round(16000 * seconds)) / 16000
    wave = 0.002 * rng.normal(size=t.size)
    for _ in range(40):
        at, long = rng.uniform(0, seconds - 0.3), rng.uniform(0.08, 0.3)
        inside = (t >= at) & (t < at + long)
        own = t[inside] - at
        pitch, glide = rng.uniform(100, 900), rng.uniform(-800, 800)
        for k in range(1, 5):
            phase = 2 * np.pi * k * (pitch * own + glide * own**2 / 2)
            wave[inside] += 0.1 / k * np.hanning(own.size) * np.sin(phase)
    return wave / np.abs(wave).max() / 2


def plant(folder: Path, old: str, new: str, wave: np.ndarray | None = None, format: str = "WAV", **fields: str) -> None:
    """A row `new` made of `old`, with these fields, and its own sound where one is given."""
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    row = {**next(row for row in rows if row["id"] == old), "id": new, **fields}
    if wave is not None:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.round(32767 * wave).astype(np.int16), 16000, format=format, subtype="PCM_16")
        name = f"{new}.{format.lower()}"
        with zipfile.ZipFile(folder / "audio.zip", "a") as archive:
            archive.writestr(name, buffer.getvalue())
        row |= {"member": name, "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
                "duration": f"{len(wave) / 16000:.6f}"}  # fmt: skip
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])


def found(name: str = "take", **how: Any) -> Leaks:
    task, _ = catalogue.load(name, "tiny")
    return leaks(task, catalogue.Data(task), **how)


def only(result: Leaks) -> Shared:
    (one,) = [one for one in result.shared if one.reading == "leak"]
    return one


@pytest.fixture
def tones(tiny: Path) -> Path:
    return tiny / "data" / "tones"


def test_clean_splits_share_nothing_but_what_two_tests_do(tones: Path) -> None:
    result = found()
    assert not result.found and result.notes == []
    assert {(one.a, one.b, one.reading) for one in result.shared} == {("test", "few", "two tests")}


def test_a_shared_speaker(tones: Path) -> None:
    plant(tones, "p06-0", "p06-9", sentence(1), speaker="p00", text="its own words")
    one = only(found())
    assert (one.kind, one.a, one.b, one.count, one.of) == ("speaker", "train", "test", 1, 10)
    assert one.example == "p00 (p00-0, p06-9)"


def test_a_shared_transcript_whatever_its_case(tones: Path) -> None:
    plant(tones, "p03-0", "p03-9", sentence(1), text="Train, NONE!")
    one = only(found())
    assert (one.kind, one.a, one.b, one.count) == ("text", "train", "dev", 1)


def test_a_recording_in_two_splits(tones: Path) -> None:
    plant(tones, "p00-0", "p06-9", split="test", speaker="p06", text="other words")
    assert {(one.kind, one.a, one.b) for one in found().shared if one.reading == "leak"} == {
        ("recording", "train", "test"), ("sound", "train", "test")}  # fmt: skip


def test_the_same_samples_in_another_format(tones: Path) -> None:
    plant(tones, "p00-0", "p00-8", sentence(1))
    plant(tones, "p06-0", "p06-9", sentence(1), "FLAC")
    one = only(found())
    assert (one.kind, one.a, one.b, one.count, one.example) == ("sound", "train", "test", 1, "p00-8, p06-9")


@pytest.mark.parametrize("change", ["level", "cut", "noise"])
def test_nearly_the_same_sound(change: str, tones: Path) -> None:
    wave = sentence(1)
    power = float(np.sqrt(np.mean(wave**2)))
    near = {"level": 0.3 * wave, "cut": wave[4321:-3210],
            "noise": wave + 0.03 * power * np.random.default_rng(0).normal(size=wave.size)}  # fmt: skip
    plant(tones, "p00-0", "p00-8", wave)
    plant(tones, "p06-0", "p06-9", near[change])
    plant(tones, "p06-0", "p06-8", sentence(2))
    one = only(found())
    assert (one.kind, one.a, one.b, one.count) == ("similar", "train", "test", 1)
    assert one.example.startswith("p00-8, p06-9 (")


def test_unrelated_sounds_have_next_to_nothing_in_common() -> None:
    marks = [fingerprint.landmarks(sentence(seed)) for seed in range(12)]
    assert min(map(len, marks)) > 100 and fingerprint.similar(marks, range(12)) == []


def test_what_the_upstream_was_trained_on(tones: Path) -> None:
    rows = catalogue.Data(catalogue.load("take", "tiny")[0]).corpus("tones")
    seen = [u for u in rows if u.speaker in ("p00", "p06")]
    result = found(upstream="up", learnt=seen)
    readings = {(one.kind, one.b): one.reading for one in result.shared if one.a == "upstream up"}
    assert readings[("speaker", "test")] == readings[("recording", "test")] == "leak"
    assert readings[("speaker", "train")] == "training alone"


def test_a_closed_set_and_words_that_are_labels_are_no_leaks(tiny: Path) -> None:
    task = yaml.safe_load((tiny / "take.yaml").read_text()) | {"label": "speaker", "ood": []}
    (tiny / "take.yaml").write_text(yaml.safe_dump(task))
    plant(tiny / "data" / "tones", "p06-0", "p06-9", sentence(1), speaker="p00", text="its own words")
    assert [(one.kind, one.reading) for one in found().shared] == [("speaker", "a closed set")]
    (tiny / "take.yaml").write_text(yaml.safe_dump(task | {"label": "label"}))
    for split in ("p00", "p06"):
        plant(tiny / "data" / "tones", f"{split}-1", f"{split}-7", sentence(int(split[1:])), text="Take1")
    assert {one.reading for one in found().shared if one.kind == "text"} == {"the label"}


def test_the_data_of_a_new_head_is_compared_with_its_own_test_alone(tiny: Path) -> None:
    result = found("say")
    pairs = {(one.a, one.b): one.reading for one in result.shared}
    assert set(pairs) == {("test", "own"), ("train", "own train"), ("dev", "own dev")} - {
        ("train", "own train"), ("dev", "own dev")}  # fmt: skip


def test_files_of_a_user_are_decoded_on_demand(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import audio

    task, _ = catalogue.load("take", "tiny")
    data = catalogue.Data(task)
    rows = data.corpus("tones")
    data._corpora["tones"] = [replace(u, sha256=audio.stamp("tones", u.id, 1, 1)) for u in rows]
    result = leaks(task, data)
    assert result.notes == ["the sound of 45 clips was not compared, which takes reading them: --full"]
    assert leaks(task, data, decode=True).notes == []


def test_the_command_line(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaks", "-d", "take", "--suite", "tiny"]) == 0
    plant(tones, "p06-0", "p06-9", sentence(1), speaker="p00", text="its own words")
    capsys.readouterr()
    assert main(["leaks", "-d", "take", "--suite", "tiny", "-u", "fbank"]) == 1
    printed = capsys.readouterr().out
    assert "take (tiny), fbank" in printed and "speakers" in printed and "p00 (p00-0, p06-9)" in printed
