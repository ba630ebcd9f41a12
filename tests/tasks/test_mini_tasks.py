"""The tasks of the embedded suite as they stand: every split is there, apart from the others, of the size it says."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.ctc import PHONES_39
from harness.text import normalise
from tasks import catalogue

TASKS = ("asv", "ks", "sid", "er", "pr", "asr", "pr_frames")
SYNTHETIC = {"kokoro_asv", "kokoro_read", "kokoro_ks", "kokoro_crossed", "engines_asv", "engines_ks"}
COUNTS = {
    "ks": {"train": (430, 21), "dev": (130, 7), "test": (380, 11), "engine": (220, 11), "people": (31, 3)},
    "sid": {"train": (359, 34), "dev": (79, 34), "test": (185, 34), "category": (190, 30), "language": (98, 14)},
    "er": {"train": (89, 1), "dev": (15, 1), "test": (51, 1), "other_language": (157, 4)},
    "pr": {"train": (850, 34), "dev": (48, 6), "test": (100, 10), "prompts": (150, 1), "librivox": (11, 3)},
    "asr": {"train": (850, 34), "dev": (48, 6), "test": (100, 10), "engine": (110, 11), "spanish": (110, 1)},
}
"""Clips and speakers."""


@pytest.fixture(scope="module", params=TASKS)
def data(request) -> catalogue.Data:
    return read(request.param)


def read(name: str) -> catalogue.Data:
    return catalogue.Data(catalogue.load(f"{name}_ood", "mini")[0])


def splits(data: catalogue.Data) -> list[str]:
    return ["train", "dev", "test", *(split.name for split in data.task.ood)]


def test_the_suite_has_these_tasks() -> None:
    assert set(catalogue.names("mini")) == {name + end for name in TASKS for end in ("", "_ood")}


def test_what_must_not_be_shared_is_not(data: catalogue.Data) -> None:
    groups = {name for kind in data.task.disjoint.values() for group in kind for name in group}
    assert {"train", "dev", "test"} <= groups
    data.check_disjoint()


def test_sizes_are_as_counted(data: catalogue.Data) -> None:
    for name, wanted in COUNTS.get(data.task.task, {}).items():
        rows = data.named(name).utterances
        assert (len(rows), len({row.speaker for row in rows})) == wanted, name


def test_every_clip_is_there_once(data: catalogue.Data) -> None:
    for name in splits(data):
        ids = [row.id for row in data.named(name).utterances]
        assert ids and len(ids) == len(set(ids)), name


def test_people_and_corruptions_are_among_the_splits(data: catalogue.Data) -> None:
    assert any(split.kind == "C" for split in data.task.ood)
    if data.task.task != "pr_frames":  # a person throughout
        people = [s.name for s in data.task.ood if s.kind != "C" and {r.corpus for r in s.rows} - SYNTHETIC]
        assert people


@pytest.mark.parametrize("name", ["ks", "sid", "er"])
def test_classes_are_closed(name: str) -> None:
    data = read(name)
    known = set(data.named("train").references.values())
    for name in splits(data):
        assert set(data.named(name).references.values()) <= known, name
    assert set(data.named("test").references.values()) == known == set(data.named("dev").references.values())


def test_phones_are_the_dictionarys() -> None:
    data = read("pr")
    for name in splits(data):
        part = data.named(name)
        for row in part.utterances:
            words = part.references[row.id].split(" | ")
            assert {phone for word in words for phone in word.split()} <= set(PHONES_39), row.id
            assert row.phones or " | ".join(words) == data.lexicon.phones(normalise(row.text))


def test_words_are_words() -> None:
    data = read("asr")
    for name in splits(data):
        if name != "spanish":
            letters = Counter("".join(data.named(name).references.values()))
            assert set(letters) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' "), name


def test_a_closed_set_has_every_speaker_on_every_side() -> None:
    sid = read("sid")
    known = {row.speaker for row in sid.named("train").utterances}
    assert known == {row.speaker for row in sid.named("dev").utterances}
    assert known == {row.speaker for row in sid.named("test").utterances}
    assert not any(speaker.startswith(("af_", "am_", "blend_")) for speaker in known)  # ICL was trained on these
