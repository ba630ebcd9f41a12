"""The corpora of people and engines for recognition, keywords, speakers and lines of a game: splits, labels, phones."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.contracts import Utterance
from harness.ctc import PHONES_39
from harness.metrics_sequences import BETWEEN_WORDS
from tasks import mini
from tasks.manifest import read_manifest, verify_checksums
from tasks.mini.make import asterisk, engines, festvox_ru, taunts, tuxpaint_words
from tasks.mini.make.cmudict import words
from tasks.mini.make.keywords import KEYWORDS, UNKNOWN, UNKNOWN_LABEL

DATA = Path(next(iter(mini.__path__))) / "data"
SPLITS = {
    "taunts": {"train", "dev", "test", "other_language"},
    "asterisk": {"en", "es", "digits_en"},
    "tuxpaint_words": {"es_train", "es_dev", "es_test", "en", "sid", "sid_symbols", "digits_en"},
    "engines_ks": {"test"},
    "people_ks": {"test"},
    "librivox": {"test"},
    "festvox_ru": {"train", "dev", "test"},
}
LABELS = {"pain", "joy", "anger", "fear", "neutral"}
DIGITS = set(asterisk.DIGITS)
MEGABYTE = 10**6


@cache
def rows(corpus: str) -> list[Utterance]:
    return read_manifest(DATA / corpus)


def split(corpus: str, name: str) -> list[Utterance]:
    return [row for row in rows(corpus) if row.split == name]


@cache
def sound(row: Utterance) -> np.ndarray:
    with zipfile.ZipFile(str(row.archive)) as archive:
        wave, rate = soundfile.read(io.BytesIO(archive.read(row.member)))
    assert rate == row.rate == 16_000
    return np.asarray(wave)


@pytest.mark.parametrize("corpus", SPLITS)
def test_a_corpus_is_whole_and_has_its_splits(corpus: str) -> None:
    assert set(verify_checksums(DATA / corpus)) == {"LICENCE", "SOURCE.md", "audio.zip", "manifest.csv"}
    assert {row.split for row in rows(corpus)} == SPLITS[corpus]


def test_the_corpora_are_small() -> None:
    assert sum(path.stat().st_size for corpus in SPLITS for path in (DATA / corpus).iterdir()) < 9 * MEGABYTE


@pytest.mark.parametrize("corpus", SPLITS)
def test_clips_sound(corpus: str) -> None:
    for row in rows(corpus)[::5]:
        wave = sound(row)
        assert len(wave) / 16_000 == pytest.approx(row.duration, abs=0.025)
        assert 0.3 < np.abs(wave).max() < 1.0, row.id


@pytest.mark.parametrize("corpus", ["asterisk", "tuxpaint_words", "people_ks", "librivox"])
def test_phones_follow_the_words(corpus: str) -> None:
    found = [row for row in rows(corpus) if row.phones]
    assert all(row.language == "en" for row in found)
    for row in found:
        assert set(row.phones.replace(BETWEEN_WORDS, " ").split()) <= set(PHONES_39)
        assert len(row.phones.split(BETWEEN_WORDS)) == len(words(row.text)), row.id


@pytest.mark.parametrize(
    ("corpus", "name"),
    [("asterisk", "en"), ("asterisk", "digits_en"), ("tuxpaint_words", "en"), ("tuxpaint_words", "digits_en")]
    + [("people_ks", "test"), ("librivox", "test")],
)
def test_english_rows_have_phones(corpus: str, name: str) -> None:
    assert all(row.phones and row.text for row in split(corpus, name))


def test_lines_are_labelled_by_the_table() -> None:
    for name in SPLITS["taunts"]:
        part, known = split("taunts", name), taunts.labels(name)
        assert {row.label for row in part} == LABELS
        assert {row.channel for row in part} == set(taunts.PACKS[name])
        lines = {f"taunts-{row.channel.lower()}-{line.lower()}": line for row in part for line in known}
        assert all(row.label == known[lines[row.id]] and row.text == taunts.words(lines[row.id]) for row in part)
    assert not set(taunts.LEFT_OUT.split()) & set(taunts.labels("other_language"))


def test_lines_are_listed_once() -> None:
    parts = [set(taunts.labels(name)) for name in taunts.LINES]
    listed = sum(len(lines.split()) for part in taunts.LINES.values() for lines in part.values())
    assert listed == sum(map(len, parts)) == len(set().union(*parts))
    assert len({taunts.words(line) for part in parts for line in part}) == sum(
        len({taunts.words(line) for line in part}) for part in parts
    )


@pytest.mark.parametrize(("one", "other"), list(combinations(sorted(SPLITS["taunts"]), 2)))
def test_taunts_share_no_pack_and_english_ones_no_line(one: str, other: str) -> None:
    a, b = split("taunts", one), split("taunts", other)
    assert not {row.channel for row in a} & {row.channel for row in b}
    if "other_language" not in (one, other):
        assert not {row.text for row in a} & {row.text for row in b}


def test_no_taunt_is_another_one() -> None:
    clips = [sound(row) for row in rows("taunts")]
    by_length: dict[int, list[np.ndarray]] = {}
    for clip in clips:
        by_length.setdefault(len(clip), []).append(clip / np.linalg.norm(clip))
    assert max(float(a @ b) for same in by_length.values() for a, b in combinations(same, 2)) < taunts.SAME


def test_taunts_are_doubtful_speakers() -> None:
    assert {row.speaker_known for row in rows("taunts")} == {"doubtful"}
    counts = Counter(row.split for row in rows("taunts"))
    assert counts["train"] >= 80 and counts["test"] >= 45 and counts["dev"] >= 12 and counts["other_language"] >= 150


def test_prompts_are_one_woman_in_two_languages() -> None:
    assert {(row.speaker, row.channel) for row in rows("asterisk")} == {(asterisk.SPEAKER, "telephone")}
    for language, count in asterisk.COUNTS.items():
        part = split("asterisk", language)
        assert len(part) == len({row.text.casefold().strip(".") for row in part}) == count
        assert all(row.language == language and 0.95 < row.duration <= 6.05 for row in part)
        assert not any(sign in row.text for row in part for sign in "[]()<>")
    assert {row.label for row in split("asterisk", "digits_en")} == DIGITS | {"no"}


def test_spanish_names_are_in_one_split() -> None:
    parts = [split("tuxpaint_words", name) for name in tuxpaint_words.SPANISH]
    assert [len(part) for part in parts] == list(tuxpaint_words.SPANISH.values())
    texts = [tuxpaint_words.plain(row.text) for part in parts for row in part]
    sid = {tuxpaint_words.plain(row.text) for row in split("tuxpaint_words", "sid") if row.language == "es"}
    assert len(set(texts)) == len(texts) and not sid & set(texts)
    assert {row.speaker for part in parts for row in part} == {"tux_es"}


def test_readers_over_categories() -> None:
    plain, symbols = split("tuxpaint_words", "sid"), split("tuxpaint_words", "sid_symbols")
    each = Counter(row.speaker for row in plain)
    assert set(each) == {f"tux_{language}" for language in tuxpaint_words.READERS}
    assert all(each[f"tux_{language}"] == tuxpaint_words.SID for language in tuxpaint_words.READERS if language != "en")
    assert 24 <= each["tux_en"] <= tuxpaint_words.SID
    assert tuxpaint_words.SYMBOLS not in {row.label for row in plain}
    counts = Counter(row.speaker for row in symbols)
    assert set(counts) == set(each) - {"tux_en"} and set(counts.values()) == {tuxpaint_words.SID_SYMBOLS}


def test_no_name_of_tuxpaint_is_in_tuxpaint_words() -> None:
    known = {(row.language, tuxpaint_words.plain(row.text)) for row in rows("tuxpaint")}
    assert not known & {(row.language, tuxpaint_words.plain(row.text)) for row in rows("tuxpaint_words")}


def test_spoken_digits_have_their_own_readers() -> None:
    part = split("tuxpaint_words", "digits_en")
    assert Counter(row.label for row in part) == dict.fromkeys(DIGITS, 2)
    assert {row.speaker for row in part} == set(tuxpaint_words.DIGITS.values())
    assert all(row.text == row.label and row.speaker_known == "doubtful" for row in part)


@pytest.mark.parametrize("corpus", ["engines_ks", "people_ks"])
def test_keywords_last_one_second(corpus: str) -> None:
    for row in rows(corpus):
        assert len(sound(row)) == 16_000 and row.duration == 1.0, row.id
        assert row.label in (row.text, UNKNOWN_LABEL) and row.label in (*KEYWORDS, UNKNOWN_LABEL)


def test_every_engine_says_every_keyword() -> None:
    counts = Counter((row.speaker, row.label) for row in rows("engines_ks"))
    speakers = {engines.speaker(engine, voice) for engine, voices in engines.VOICES.items() for voice in voices}
    wanted = {(who, word): 1 for who in speakers for word in KEYWORDS} | {(who, UNKNOWN_LABEL): 6 for who in speakers}
    assert counts == wanted
    assert {row.text for row in rows("engines_ks") if row.label == UNKNOWN_LABEL} <= set(UNKNOWN["test"].split())


def test_people_say_digits() -> None:
    counts = Counter(row.label for row in rows("people_ks"))
    assert counts == dict.fromkeys(DIGITS, 3) | {"no": 1}
    origins = {(row.speaker, row.licence) for row in rows("people_ks")}
    assert len(origins) == 3 and (asterisk.SPEAKER, asterisk.LICENCE) in origins


def test_readers_of_librivox() -> None:
    assert Counter(row.speaker for row in rows("librivox")) == {"lv_austen": 5, "lv_cards": 5, "lv_command": 1}
    assert sum(row.duration for row in rows("librivox")) > 30


def test_russian_phones_have_ends_within_the_clip() -> None:
    counts = Counter(row.split for row in rows("festvox_ru"))
    assert counts == festvox_ru.SPLITS
    assert len({row.text for row in rows("festvox_ru")}) == len(rows("festvox_ru"))
    for row in rows("festvox_ru"):
        ends = [float(item.rsplit(":", 1)[1]) for item in row.phones.split()]
        assert ends == sorted(ends) and ends[0] > 0 and ends[-1] <= row.duration + 0.03, row.id
        assert len(ends) > 15 and "+" not in row.text


def test_russian_pauses_are_quieter_than_phones() -> None:
    levels: dict[bool, list[float]] = {True: [], False: []}
    for row in split("festvox_ru", "test"):
        start, wave = 0.0, sound(row)
        for item in row.phones.split():
            phone, end = item.rsplit(":", 1)
            piece = wave[round(16_000 * start) : round(16_000 * float(end))]
            if len(piece):
                levels[phone == "pau"].append(float(np.sqrt(np.mean(piece**2))))
            start = float(end)
    assert np.median(levels[True]) < 0.1 * np.median(levels[False])


def test_label_files_are_read() -> None:
    assert festvox_ru.phone_ends("#\n 0.51200 125 pau\n0.60200 125 e\n") == "pau:0.512 e:0.602"
    with pytest.raises(ValueError, match="rise"):
        festvox_ru.phone_ends("#\n0.6 125 pau\n0.5 125 e\n")
