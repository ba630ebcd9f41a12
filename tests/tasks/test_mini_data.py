"""The embedded data: whole, small, dealt as voices.csv says, and its trial lists true to the manifests.

Generic over the folders of tasks/mini/data and the lists of tasks/mini/trials: a new corpus is checked by being there.
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from harness.contracts import Utterance
from tasks.manifest import read_manifest, trial_table, verify_checksums
from tasks.mini.make import deal, sentences

MINI = Path(sentences.__file__).resolve().parents[1]
FOLDERS = sorted(path.name for path in (MINI / "data").iterdir() if path.is_dir())
LISTS = sorted(path.name.removesuffix(".csv.gz") for path in (MINI / "trials").glob("*.csv.gz"))
KOKORO_LISTS = {"asv_dev", "asv_test", "language", "cross_language"}
MEGABYTE = 10**6


@cache
def rows(corpus: str) -> list[Utterance]:
    return read_manifest(MINI / "data" / corpus)


@cache
def everything() -> dict[str, Utterance]:
    return {row.id: row for corpus in FOLDERS for row in rows(corpus)}


def split(corpus: str, name: str) -> list[Utterance]:
    return [row for row in rows(corpus) if row.split == name]


def dealt() -> list[dict[str, str]]:
    with (MINI / "voices.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_kokoro_corpora_and_lists_are_there() -> None:
    assert {"kokoro_crossed", "kokoro_asv"} <= set(FOLDERS)
    assert set(LISTS) >= KOKORO_LISTS


@pytest.mark.parametrize("corpus", FOLDERS)
def test_a_folder_is_whole(corpus: str) -> None:
    names = {path.name for path in (MINI / "data" / corpus).iterdir()}
    assert {"audio.zip", "manifest.csv", "LICENCE", "SOURCE.md", "SHA256SUMS"} <= names
    assert set(verify_checksums(MINI / "data" / corpus)) == names - {"SHA256SUMS"}


def test_the_trial_lists_are_whole() -> None:
    names = {path.name for path in (MINI / "trials").iterdir()} - {"SHA256SUMS"}
    assert set(verify_checksums(MINI / "trials")) == names


@pytest.mark.parametrize("corpus", FOLDERS)
def test_the_archive_holds_the_manifest_and_nothing_else(corpus: str) -> None:
    with zipfile.ZipFile(MINI / "data" / corpus / "audio.zip") as archive:
        found = {info.filename: hashlib.sha256(archive.read(info)).hexdigest() for info in archive.infolist()}
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert found == {row.member: row.sha256 for row in rows(corpus)}
    assert [row.id for row in rows(corpus)] == sorted(row.id for row in rows(corpus))


def test_ids_are_unique_across_corpora() -> None:
    assert len(everything()) == sum(len(rows(corpus)) for corpus in FOLDERS)


def test_the_suite_is_small() -> None:
    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert size(MINI) < 36 * MEGABYTE
    assert size(MINI / "data" / "kokoro_crossed") <= 10 * MEGABYTE
    assert size(MINI / "data" / "kokoro_asv") <= 7.5 * MEGABYTE


def test_no_voice_is_in_two_pools() -> None:
    voices = dealt()
    assert len({(row["engine"], row["voice"]) for row in voices}) == len(voices)
    pools: dict[tuple[str, str], set[str]] = {}
    for row in voices:
        parents = deal.Voice(**row).parents if row["engine"].startswith("kokoro") else (row["voice"],)
        for parent in parents:
            pools.setdefault((row["engine"].removesuffix("-blend"), parent), set()).add(row["pool"])
    assert {who for who, where in pools.items() if len(where) != 1} == set()


def test_voices_csv_is_the_deal() -> None:
    found = [deal.Voice(**row) for row in dealt() if row["engine"].startswith("kokoro")]
    assert found == deal.voices()
    assert Counter(voice.pool for voice in found) == Counter(
        icl_train=20, icl_val=6, asv_train=34, asv_dev=6, asv_test=10, left_out=3
    )


@pytest.mark.parametrize(
    ("corpus", "name", "pool"),
    [
        ("kokoro_crossed", "train", "icl_train"),
        ("kokoro_crossed", "val", "icl_val"),
        ("kokoro_asv", "train", "asv_train"),
        ("kokoro_asv", "dev", "asv_dev"),
        ("kokoro_asv", "test", "asv_test"),
        ("kokoro_asv", "test_lang", "asv_test"),
    ],
)
def test_a_split_has_the_voices_of_its_pool(corpus: str, name: str, pool: str) -> None:
    assert {row.speaker for row in split(corpus, name)} == {voice.voice for voice in deal.pool(pool)}


@pytest.mark.parametrize(("name", "cells"), [("train", (20, 48)), ("val", (6, 24))])
def test_the_crossed_data_are_crossed(name: str, cells: tuple[int, int]) -> None:
    part = split("kokoro_crossed", name)
    assert (len({row.speaker for row in part}), len({row.label for row in part})) == cells
    assert set(Counter((row.speaker, row.label) for row in part).values()) == {1}
    assert len(part) == cells[0] * cells[1]
    assert len({(row.label, row.text) for row in part}) == len({row.text for row in part}) == cells[1]


def test_english_splits_share_no_sentence() -> None:
    parts = [split("kokoro_crossed", name) for name in ("train", "val")]
    parts += [split("kokoro_asv", name) for name in ("train", "dev", "test")]
    texts = [{row.text for row in part} for part in parts]
    assert sum(map(len, texts)) == len(set().union(*texts))
    for part in parts[2:]:
        assert len({row.text for row in part}) == len(part)


def test_own_language_utterances_are_in_it() -> None:
    native = {voice.voice: voice.native_language for voice in deal.pool("asv_test")}
    part = split("kokoro_asv", "test_lang")
    assert all(row.language == native[row.speaker] for row in part)
    assert len({(row.speaker, row.text) for row in part}) == len(part) == 100


@pytest.mark.parametrize("name", LISTS)
def test_trials_resolve_and_targets_are_one_speaker(name: str) -> None:
    table = trial_table(MINI / "trials" / f"{name}.csv.gz")
    known = everything()
    assert set(table["enrol"]) | set(table["test"]) <= set(known)
    for enrol, test, target in zip(table["enrol"], table["test"], table["target"], strict=True):
        a, b = known[enrol], known[test]
        assert target == ((a.corpus, a.speaker) == (b.corpus, b.speaker)), (enrol, test)


@pytest.mark.parametrize("name", sorted(KOKORO_LISTS))
def test_kokoro_trials_are_balanced_and_never_one_sentence(name: str) -> None:
    table = trial_table(MINI / "trials" / f"{name}.csv.gz")
    known = everything()
    assert all(known[a].text != known[b].text for a, b in zip(table["enrol"], table["test"], strict=True))
    targets = Counter(known[row].speaker for row in table.loc[table["target"], "enrol"])
    assert len(set(targets.values())) == 1 and 390 <= sum(targets.values()) <= 900
    others = table.loc[~table["target"]]
    pairs = Counter(
        tuple(sorted((known[a].speaker, known[b].speaker)))
        for a, b in zip(others["enrol"], others["test"], strict=True)
    )
    speakers = len(targets)
    assert len(pairs) == speakers * (speakers - 1) // 2
    assert max(pairs.values()) <= 5 * min(pairs.values())
    assert 0.39 < others["same_gender"].mean() < 0.8
