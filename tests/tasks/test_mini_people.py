"""The embedded rooms, real people and other engines: labels, sound, speakers and trial lists."""

from __future__ import annotations

import io
import zipfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.contracts import Utterance
from tasks import mini
from tasks.manifest import read_manifest, read_trials, trial_table, verify_checksums
from tasks.rooms import convolve, responses

MINI = Path(next(iter(mini.__path__)))
DATA, TRIALS = MINI / "data", MINI / "trials"
PEOPLE = ("engines_asv", "kajongg", "klettres", "tuxpaint")
SAME_PEOPLE = [{"engines_asv", "engines_ks"}, {"tuxpaint", "tuxpaint_words"}]
"""Corpora that share speakers, and say so: the ones on the left are for verification."""
LISTS = {
    "engine": "engines_asv",
    "kajongg": "kajongg",
    "kajongg_cross": "kajongg",
    "klettres": "klettres",
    "tuxpaint": "tuxpaint",
}


def _sound(row: Utterance) -> tuple[np.ndarray, int]:
    with zipfile.ZipFile(str(row.archive)) as archive:
        return soundfile.read(io.BytesIO(archive.read(row.member)))


@pytest.mark.parametrize("corpus", [*PEOPLE, "rooms"])
def test_folder_is_whole(corpus: str) -> None:
    listed = set(verify_checksums(DATA / corpus))
    assert listed == {"LICENCE", "SOURCE.md", "audio.zip", "manifest.csv"}


@pytest.mark.parametrize("corpus", PEOPLE)
def test_clips_sound(corpus: str) -> None:
    rows = read_manifest(DATA / corpus)
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    for row in rows:
        wave, rate = _sound(row)
        assert rate == row.rate == 16_000
        assert len(wave) / rate == pytest.approx(row.duration, abs=0.025)
        assert 0.3 < np.abs(wave).max() < 1.0, row.id


def test_rooms_are_labelled_with_their_t60() -> None:
    rows = read_manifest(DATA / "rooms")
    times = sorted(float(row.label) for row in rows)
    assert len(rows) == 16 and times[0] < 0.25 and times[-1] > 0.75
    assert max(np.diff(times)) < 0.08
    for row in rows:
        wave, rate = _sound(row)
        assert len(wave) <= rate
        assert np.argmax(np.abs(wave)) == 40
        assert np.abs(wave).max() == pytest.approx(0.9, abs=1e-4)
        decay = 10 * np.log10(np.cumsum(wave[::-1] ** 2)[::-1] / np.sum(wave**2) + 1e-20)
        after = [np.flatnonzero(decay <= level)[0] / rate for level in (-5, -25)]
        assert 3 * (after[1] - after[0]) == pytest.approx(float(row.label), rel=0.1), row.id


def test_conditions_read_the_rooms() -> None:
    chosen = responses(DATA, "rooms", "rooms", 0.3, 0.8)
    assert len(chosen) >= 12
    impulse = np.zeros(16_000)
    impulse[100] = 1.0
    wet = convolve(impulse, _sound(chosen[0])[0])
    assert np.argmax(np.abs(wet)) == 100


@pytest.mark.parametrize("name", LISTS)
def test_trials_are_right(name: str) -> None:
    rows = {row.id: row for row in read_manifest(DATA / LISTS[name])}
    trials = read_trials(TRIALS / f"{name}.csv.gz", set(rows))
    assert sum(trial.target for trial in trials) >= 400
    assert sum(not trial.target for trial in trials) >= 1200
    for trial in trials:
        a, b = rows[trial.enrol], rows[trial.test]
        assert trial.target == (a.speaker == b.speaker)
        assert (a.label or a.text) != (b.label or b.text)


@pytest.mark.parametrize("name", LISTS)
def test_flags_follow_the_manifest(name: str) -> None:
    rows = {row.id: row for row in read_manifest(DATA / LISTS[name])}
    table = trial_table(TRIALS / f"{name}.csv.gz")
    for enrol, test, tongue, channel in zip(
        table["enrol"], table["test"], table["same_language"], table["same_channel"], strict=True
    ):
        assert tongue == (rows[enrol].language == rows[test].language)
        assert channel == (rows[enrol].channel == rows[test].channel)


@pytest.mark.parametrize("name", LISTS)
def test_targets_are_even_over_speakers(name: str) -> None:
    rows = {row.id: row for row in read_manifest(DATA / LISTS[name])}
    trials = read_trials(TRIALS / f"{name}.csv.gz", set(rows))
    groups = [(rows[t.enrol].speaker, rows[t.enrol].channel) for t in trials if t.target]
    counts = [groups.count(group) for group in set(groups)]
    assert max(counts) - min(counts) <= 1


def test_kajongg_pairs_keep_to_a_set_or_cross_them() -> None:
    rows = {row.id: row for row in read_manifest(DATA / "kajongg")}
    for trial in read_trials(TRIALS / "kajongg.csv.gz", set(rows)):
        assert rows[trial.enrol].channel == rows[trial.test].channel
    for trial in read_trials(TRIALS / "kajongg_cross.csv.gz", set(rows)):
        sides = rows[trial.enrol], rows[trial.test]
        assert [side.channel for side in sides] == ["default", "german"]
        assert [side.speaker_known for side in sides] == ["sure", "sure"]


def test_no_speaker_or_id_is_in_two_corpora() -> None:
    corpora = [read_manifest(path.parent) for path in sorted(DATA.glob("*/manifest.csv"))]
    assert len(corpora) >= 5
    people = [rows for rows in corpora if rows[0].corpus in PEOPLE]
    assert len(people) == len(PEOPLE)
    for mine in people:
        for other in corpora:
            if mine is not other and {mine[0].corpus, other[0].corpus} not in SAME_PEOPLE:
                assert not {row.speaker for row in mine} & {row.speaker for row in other}
    for a, b in combinations(corpora, 2):
        assert not {row.id for row in a} & {row.id for row in b}


def test_engine_sentences_are_read_once() -> None:
    texts = [row.text for row in read_manifest(DATA / "engines_asv")]
    assert len(set(texts)) == len(texts)
    assert all(8 <= len(text.split()) <= 12 for text in texts)
