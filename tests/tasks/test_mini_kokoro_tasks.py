"""kokoro_read and kokoro_ks: counts, pools, words and phones, exact seconds; and the lexicon and the makers' parts."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.contracts import SAMPLE_RATE, Utterance
from harness.ctc import PHONES_39
from harness.metrics_sequences import BETWEEN_WORDS
from harness.text import normalise
from tasks.lexicon import read_lexicon
from tasks.manifest import read_manifest
from tasks.mini.make import cmudict, deal, engines, kokoro, kokoro_tasks, pack, read_sentences, wordlist
from tasks.mini.make.keywords import KEYWORDS, SILENCE_LABEL, UNKNOWN, UNKNOWN_LABEL

MINI = Path(pack.__file__).resolve().parents[1]
SPLITS = ("train", "dev", "test")
SHARED = {name: set(words.split()) for name, words in UNKNOWN.items()}


@cache
def rows(corpus: str) -> tuple[Utterance, ...]:
    return tuple(read_manifest(MINI / "data" / corpus))


def split(corpus: str, name: str) -> list[Utterance]:
    return [row for row in rows(corpus) if row.split == name]


def spoken(name: str) -> list[Utterance]:
    return [row for row in split("kokoro_ks", name) if row.label != SILENCE_LABEL]


@cache
def decoded(row: Utterance) -> NDArray[np.float64]:
    import soundfile

    with zipfile.ZipFile(MINI / "data" / row.corpus / "audio.zip") as archive:
        wave, _ = soundfile.read(io.BytesIO(archive.read(Path(row.member).name)))
    return np.asarray(wave, dtype=np.float64)


def test_both_corpora_fit_their_budgets() -> None:
    assert (MINI / "data" / "kokoro_read" / "audio.zip").stat().st_size <= 4_500_000
    assert (MINI / "data" / "kokoro_ks" / "audio.zip").stat().st_size <= 2_200_000


@pytest.mark.parametrize("name", SPLITS)
def test_every_voice_of_the_pool_reads_as_much(name: str) -> None:
    found = Counter(row.speaker for row in split("kokoro_read", name))
    assert found == {voice.voice: kokoro_tasks.READ_EACH[name] for voice in deal.pool(f"asv_{name}")}


def test_the_read_manifest_is_the_plan() -> None:
    found = {row.id: (row.split, row.speaker, row.text) for row in rows("kokoro_read")}
    assert found == {job.id: (job.split, job.voice.voice, job.text) for job in kokoro_tasks.read_plan()}


def test_no_sentence_is_read_twice_or_in_another_corpus() -> None:
    texts = [row.text for row in rows("kokoro_read")]
    assert len(set(texts)) == len(texts)
    others = {text for listed in kokoro.texts().values() for text in listed} | set(engines.sentences(110))
    assert not others & set(texts)


def test_read_sentences_are_words_and_a_full_stop() -> None:
    for row in rows("kokoro_read"):
        assert row.text[0].isupper() and row.text.endswith(".")
        assert row.text[:-1].replace(" ", "").replace("'", "").isalpha()
        assert read_sentences.WORDS[0] <= len(row.text.split()) <= read_sentences.WORDS[1]
        assert 1.0 < row.duration < 8.0


def test_the_vocabulary_is_large_and_its_words_are_open() -> None:
    read = {word for row in rows("kokoro_read") for word in normalise(row.text).split()}
    assert len(read) >= 1200
    assert {word.lower() for word in read} <= set(read_sentences.vocabulary())
    heard = Counter(word for row in rows("kokoro_read") for word in set(normalise(row.text).split()))
    assert max(heard[word.upper()] for kind in wordlist.words().values() for word in kind) <= 12


@pytest.mark.parametrize("corpus", ["kokoro_read", "kokoro_ks"])
def test_phones_are_the_lexicon_s(corpus: str) -> None:
    lexicon = read_lexicon(MINI / "lexicon.csv")
    for row in rows(corpus):
        assert row.phones == (lexicon.phones(normalise(row.text)) if row.text else "")
        assert set(row.phones.replace(BETWEEN_WORDS, " ").split()) <= set(PHONES_39)
        assert len(row.phones.split(BETWEEN_WORDS)) == max(len(row.text.split()), 1)


def test_the_lexicon_is_sorted_and_of_39_phones() -> None:
    words = read_lexicon(MINI / "lexicon.csv").words
    assert list(words) == sorted(words) and len(words) > 1500
    assert {phone for phones in words.values() for phone in phones.split()} == set(PHONES_39)
    assert words["COLOURFUL"] == "K AH L ER F AH L"
    assert "Carnegie Mellon" in (MINI / "lexicon.LICENCE").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "voices", "unknown", "silent"), [("train", 20, 6, 30), ("dev", 6, 6, 10)])
def test_a_voice_says_every_keyword_once(name: str, voices: int, unknown: int, silent: int) -> None:
    labels = Counter(row.label for row in split("kokoro_ks", name))
    assert labels == {**dict.fromkeys(KEYWORDS, voices), UNKNOWN_LABEL: voices * unknown, SILENCE_LABEL: silent}
    assert set(Counter((row.speaker, row.text) for row in spoken(name)).values()) == {1}


def test_a_test_voice_says_every_keyword_twice_at_two_speeds() -> None:
    labels = Counter(row.label for row in split("kokoro_ks", "test"))
    assert labels == {**dict.fromkeys(KEYWORDS, 20), UNKNOWN_LABEL: 80, SILENCE_LABEL: 20}
    speeds: dict[tuple[str, str], list[float]] = {}
    for job in kokoro_tasks.ks_plan():
        if job.split == "test" and job.label in KEYWORDS:
            speeds.setdefault((job.voice.voice, job.label), []).append(job.speed)
    assert all(0.9 <= slow < 1.025 < fast <= 1.15 for slow, fast in speeds.values())


def test_the_keyword_manifest_is_the_plan() -> None:
    found = {r.id: (r.split, r.speaker, r.text, r.label) for r in rows("kokoro_ks") if r.label != SILENCE_LABEL}
    planned = kokoro_tasks.ks_plan()
    assert found == {j.id: (j.split, j.voice.voice, kokoro_tasks.spoken(j), j.label) for j in planned}


@pytest.mark.parametrize("name", SPLITS)
def test_keyword_voices_are_of_the_pool(name: str) -> None:
    found = {row.speaker for row in spoken(name)}
    pool = deal.pool(f"asv_{name}")
    assert found <= {voice.voice for voice in pool}
    assert {voice.voice for voice in pool if len(voice.parents) == 1} <= found
    assert name == "train" or len(found) == len(pool)


def test_unknown_words_are_others_in_every_split() -> None:
    assert all(len(words) >= 20 and not words & set(KEYWORDS) for words in SHARED.values())
    assert sum(map(len, SHARED.values())) == len(set().union(*SHARED.values()))
    for name in SPLITS:
        assert {row.text for row in spoken(name) if row.label == UNKNOWN_LABEL} <= SHARED[name]


def test_keyword_clips_are_a_second_exactly() -> None:
    import soundfile

    with zipfile.ZipFile(MINI / "data" / "kokoro_ks" / "audio.zip") as archive:
        for row in rows("kokoro_ks"):
            assert row.duration == 1.0 and row.rate == SAMPLE_RATE
            with soundfile.SoundFile(io.BytesIO(archive.read(Path(row.member).name))) as file:
                assert (file.frames, file.samplerate) == (SAMPLE_RATE, SAMPLE_RATE)


def test_silence_is_quiet_and_names_its_source() -> None:
    silent = [row for row in rows("kokoro_ks") if row.label == SILENCE_LABEL]
    for row in silent:
        assert (row.speaker, row.language, row.channel, row.text) == ("-", "-", "noise", "")
        assert row.source == kokoro_tasks.SILENCE_SOURCE
    for row in silent[::7]:
        level = 10 * np.log10(np.mean(decoded(row) ** 2))
        assert -62.0 < level < -34.0, row.id
    assert len({row.sha256 for row in silent}) == len(silent) == 60


def test_a_word_stands_in_a_second_of_a_low_floor() -> None:
    speech = np.sin(np.arange(4000) * 0.3)
    one, other = kokoro_tasks.in_a_second(speech, "a"), kokoro_tasks.in_a_second(speech, "b")
    assert one.shape == other.shape == (SAMPLE_RATE,) and not np.array_equal(one, other)
    assert np.array_equal(one, kokoro_tasks.in_a_second(speech, "a"))
    loud = np.flatnonzero(np.abs(one) > 0.1)
    assert 3980 < loud[-1] - loud[0] < 4000
    floor = np.delete(one, np.arange(loud[0] - 20, loud[-1] + 20))
    assert 10 * np.log10(np.mean(floor**2)) == pytest.approx(kokoro_tasks.FLOOR_DB, abs=0.3)
    assert kokoro_tasks.in_a_second(np.ones(20_000), "c").shape == (SAMPLE_RATE,)


def test_padding_goes_and_the_sound_stays() -> None:
    import soundfile

    wave = 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    padded, slim = pack.encode(wave, "x", 0.95), pack.encode(wave, "x", 0.95, slim=True)
    assert len(slim) < len(padded) - 400
    assert np.array_equal(soundfile.read(io.BytesIO(padded))[0], soundfile.read(io.BytesIO(slim))[0])
    with pytest.raises(ValueError, match="no OpusTags page"):
        pack.without_padding(slim[:47] + slim[47:].replace(b"OpusTags", b"OpusTaga"))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A wheel with a small dictionary."""
    text = "a AH\na(2) EY\nhello HH AH0 L OW1\nit's IH T S\ncolorful K AH L\norganize AO R\n"
    with zipfile.ZipFile(tmp_path / "pocketsphinx-0.0.0-py3.whl", "w") as archive:
        archive.writestr(cmudict.MEMBER, text)
    return tmp_path


def test_phones_take_the_first_entry_without_stress(scratch: Path) -> None:
    assert cmudict.phones("Hello, it\N{RIGHT SINGLE QUOTATION MARK}s a colourful hello.", scratch) == (
        "HH AH L OW | IH T S | AH | K AH L | HH AH L OW"
    )
    assert cmudict.single(scratch) == {"hello", "it's", "colorful", "organize"}


@pytest.mark.parametrize(("text", "says"), [("hello bluph", "bluph"), ("hello 5", "digit"), ("...", "no word")])
def test_phones_say_what_is_missing(scratch: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cmudict.phones(text, scratch)


def test_no_wheel_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pip download"):
        cmudict.phones("hello", tmp_path)


@pytest.mark.parametrize(
    ("verb", "form"),
    [("paint", "painted"), ("love", "loved"), ("carry", "carried"), ("stop", "stopped"), ("play", "played")],
)
def test_past_tense(verb: str, form: str) -> None:
    assert wordlist.past(verb) == form


def test_plurals() -> None:
    assert [wordlist.plural(noun) for noun in ("box", "lady", "toy", "witch", "cat")] == [
        "boxes",
        "ladies",
        "toys",
        "witches",
        "cats",
    ]
