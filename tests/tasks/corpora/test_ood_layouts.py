"""The corpora out of domain, each on a miniature of its layout: right rows, labels, speakers, texts and trials."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import miniature_ood as made
import pytest
from test_layouts import got

from harness.contracts import Utterance
from harness.metrics_sequences import errors
from harness.text import normalise
from tasks.corpora import registry
from tasks.corpora.cn_celeb import _draw
from tasks.corpora.tedlium3 import clean
from tasks.folders import Source
from tasks.prepared import Prepared, prepare


def option(name: str, root: Path, tmp_path: Path, **options: str) -> Prepared:
    corpus = registry.load(name)
    return prepare(Source(name, root, corpus, {**corpus.options, **options}), tmp_path / "manifests")


def of(found: Prepared, split: str) -> list[Utterance]:
    return [u for u in found.rows if split in u.split.split()]


def counts(found: Prepared) -> dict[str, float]:
    return {split: one["rows"] for split, one in found.counts.items()}


@pytest.mark.parametrize(
    ("name", "every", "labelled", "speaker"),
    [("ravdess", 24, 12, "ravdess-01"), ("crema_d", 20, 14, "crema-d-1001"), ("emodb", 24, 15, "emodb-03")],
)
def test_emotions(name: str, every: int, labelled: int, speaker: str, tmp_path: Path) -> None:
    found = got(name, getattr(made, name)(tmp_path / name), tmp_path)
    assert (len(found.rows), len(of(found, "labelled")), found.gaps) == (every, labelled, [])
    assert {u.label for u in of(found, "labelled")} == {"neu", "hap", "ang", "sad"}
    assert {u.label for u in found.rows if "labelled" not in u.split} == {""}
    assert found.rows[0].speaker == speaker and len({u.speaker for u in found.rows}) == 3
    assert all(normalise(u.text) for u in found.rows)
    assert set(registry.load(name).labels.values()) == {"neu", "hap", "ang", "sad"}


def test_what_each_emotion_becomes(tmp_path: Path) -> None:
    ravdess = {u.id: u.label for u in got("ravdess", made.ravdess(tmp_path / "r"), tmp_path).rows}
    assert [ravdess[f"03-01-0{n}-01-0{1 + n % 2}-01-01"] for n in (1, 2, 3, 4, 5)] == ["neu", "", "hap", "sad", "ang"]
    crema = {u.id: u.label for u in got("crema_d", made.crema_d(tmp_path / "c"), tmp_path).rows}
    assert crema["1001_MTI_HAP_XX"] == "hap" and crema["1001_MTI_FEA_XX"] == ""
    assert "1076_MTI_SAD_XX" not in crema, "the silent clip would stop a run"
    emodb = {u.id: u.label for u in got("emodb", made.emodb(tmp_path / "e"), tmp_path).rows}
    assert [emodb[f"03a01{c}a"] for c in "WLEAFTN"] == ["ang", "", "", "", "hap", "sad", "neu"]


def test_cn_celeb(tmp_path: Path) -> None:
    found = option("cn_celeb", made.cn_celeb(tmp_path / "cn"), tmp_path, non_targets="all")
    assert counts(found) == {"enroll": 2, "test": 12, "dev": 13, "sid_train": counts(found)["sid_train"],
                             "sid_dev": 8 - counts(found)["sid_train"], "sid_test": 4}  # fmt: skip
    assert {u.channel for u in of(found, "sid_test")} == {"movie"}
    assert {u.channel for u in of(found, "sid_train")} <= {"interview", "speech"}
    assert {u.speaker for u in of(found, "sid_test")} == {"cnceleb-id00012"}, "who has one kind of genre is left out"
    assert found.gaps == ["the trial list has 24 pairs, 3,484,292 wanted"]
    speaker = {u.id: u.speaker for u in found.rows}
    trials = found.trials("cn_celeb_e", speaker)
    assert len(trials) == 24 and all(t.target == (speaker[t.enrol] == speaker[t.test]) for t in trials)
    assert trials[0].enrol == "enroll-id00800" and trials[0].test == "test-id00800-singing-01-001"


def test_cn_celeb_keeps_targets_and_draws_the_others(tmp_path: Path) -> None:
    root = made.cn_celeb(tmp_path / "cn")
    some = option("cn_celeb", root, tmp_path, non_targets="98")
    trials = some.trials("cn_celeb_e", {u.id for u in some.rows})
    assert sum(t.target for t in trials) == 8
    assert 0 < sum(not t.target for t in trials) < 16
    assert all(t.target or _draw(f"{t.enrol}|{t.test}", 196) < 98 for t in trials)
    again = option("cn_celeb", root, tmp_path / "again", non_targets="98")
    assert again.trials("cn_celeb_e", {u.id for u in some.rows}) == trials
    drawn = sum(_draw(f"enroll-{n}|test", 196) < 10 for n in range(20000))
    assert 0.045 < drawn / 20000 < 0.057  # ten of 196 are 5.1 %


def test_vctk(tmp_path: Path) -> None:
    found = got("vctk", made.vctk(tmp_path / "vctk"), tmp_path)
    assert counts(found)["mic1"] == 20 and counts(found)["mic2"] == 15
    assert (counts(found)["words"], counts(found)["words_digits"]) == (16, 4)
    assert counts(found)["sid_test"] == 9 and counts(found)["sid_train"] + counts(found).get("sid_dev", 0) == 8
    assert {u.channel for u in of(found, "sid_test")} == {"vctk-mic2"}
    assert {u.id.split("_")[1] for u in of(found, "sid_test")} == {"001", "002", "023"}
    assert found.rows[0].id == "p225_001_mic1" and found.rows[0].rate == 48000 and found.gaps == []


def test_vctk_trials(tmp_path: Path) -> None:
    found = got("vctk", made.vctk(tmp_path / "vctk"), tmp_path)
    by_id = {u.id: u for u in found.rows}
    trials = found.trials("vctk_mics", by_id)
    for t in trials:
        a, b = by_id[t.enrol], by_id[t.test]
        assert t.target == (a.speaker == b.speaker) and {a.channel, b.channel} == {"vctk-mic1", "vctk-mic2"}
        assert made.SPEAKERS[a.speaker[5:]][0] == made.SPEAKERS[b.speaker[5:]][0] and a.text != b.text
        assert min(a.duration, b.duration) >= 3.0
    targets = [t for t in trials if t.target]
    # of three sentences, ordered pairs of two, for each of three speakers; p245 has one microphone
    assert len(targets) == 3 * 6 and "vctk-p245" not in {by_id[t.enrol].speaker for t in targets}
    count = Counter((by_id[t.enrol].speaker, t.target) for t in trials)
    assert all(count[speaker, False] == count[speaker, True] for speaker, _ in count), "as many non-targets of each"


def test_l2_arctic(tmp_path: Path) -> None:
    found = got("l2_arctic", made.l2_arctic(tmp_path / "l2"), tmp_path)
    assert found.gaps == []
    assert counts(found) == {"read": 6, "read_digits": 3, "arabic": 4, "korean": 2, "read-phones": 3,
                             "arabic-phones": 2, "korean-phones": 1}  # fmt: skip
    by_id = {u.id: u for u in found.rows}
    assert by_id["ABA-arctic_a0002"].phones == "W ER1 L D | W AH1 N" and by_id["HJK-arctic_a0000"].phones == ""
    spoken = by_id["ABA-arctic_a0002"].phones
    assert errors([spoken], [spoken], "phone")[0].sum() == 0
    assert by_id["SKA-arctic_a0000"].speaker == "l2arctic-SKA"


def test_tedlium3(tmp_path: Path) -> None:
    found = got("tedlium3", made.tedlium3(tmp_path / "ted"), tmp_path)
    assert found.gaps == [] and counts(found) == {"dev": 2, "dev_digits": 1, "test": 2, "test_digits": 1}
    first, last = of(found, "test")
    assert (first.text, last.text) == ("they're here and i'm glad", "'cause it works")
    assert (first.start, first.duration, first.speaker) == (1.0, 1.5, "ted-aimeemullins")
    assert (last.start, last.duration) == (4.0, 1.75) and first.sha256 == last.sha256, "one recording"
    assert clean("it 's [APPLAUSE] rock 'n roll <sil>") == "it's rock'n roll"


def test_mswc(tmp_path: Path) -> None:
    found = got_mswc(made.mswc(tmp_path / "mswc"), tmp_path)
    assert counts(found) == {"train": 4, "dev": 4, "test": 8}
    assert sorted(u.label for u in of(found, "test")) == ["_unknown_"] * 4 + ["stop"] * 2 + ["yes"] * 2
    assert not any("_999" in u.member for u in found.rows), "clips not valid are left out"
    assert found.rows[0].speaker.startswith("cv-") and found.rows[0].language == "en"
    assert found.gaps == [
        "no test clips of down, go, left, no, off, on, right, up: those classes are not tested; unpack these folders "
        "if they are there"
    ]


def got_mswc(root: Path, tmp_path: Path, **options: str) -> Prepared:
    return option("mswc", root, tmp_path, **options)


def test_mswc_draws_the_same_clips_of_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.corpora import mswc

    monkeypatch.setitem(mswc.CLIPS, "test", 1)
    root = made.mswc(tmp_path / "mswc")
    one = {u.label: u.member for u in of(got_mswc(root, tmp_path), "test")}
    assert set(one) == {"yes", "stop", "_unknown_"}
    gone = next(path for path in root.rglob("*.opus") if "/stop/" in str(path) and str(path) != one["stop"])
    gone.unlink()
    assert {u.label: u.member for u in of(got_mswc(root, tmp_path), "test")} == one


def test_mswc_of_another_language_has_words_of_its_own(tmp_path: Path) -> None:
    root = made.mswc(tmp_path / "mswc")
    found = got_mswc(root, tmp_path, words="hello,aachen")
    assert {u.label for u in of(found, "train")} == {"hello", "aachen", "_unknown_"} and found.gaps == []


def test_common_voice(tmp_path: Path) -> None:
    root = made.common_voice(tmp_path / "cv")
    found = option("common_voice", root, tmp_path)
    assert counts(found) == {"test": 2, "test_digits": 1} and found.gaps == []
    assert [u.text for u in of(found, "test")] == ['He said "no.', "A third one."]
    assert (found.rows[0].id, found.rows[0].language, len(found.rows[0].speaker)) == ("common_voice_en_200", "en", 35)


def test_common_voice_by_accent(tmp_path: Path) -> None:
    found = option("common_voice", made.common_voice(tmp_path / "cv"), tmp_path, accent="South Asia", splits="dev test")
    assert counts(found) == {"dev": 1, "test": 1}
    assert found.gaps == ["4 clips without the accent asked for: left out"]


def test_common_voice_bengali(tmp_path: Path) -> None:
    root = made.common_voice(tmp_path / "cv")
    corpus = registry.load("common_voice_bn")
    found = prepare(Source("common_voice_bn", root, corpus, dict(corpus.options)), tmp_path / "manifests")
    wanted = {part: {part: 2, f"{part}_digits": 1} for part in ("train", "dev", "test")}
    assert counts(found) == {split: n for part in wanted.values() for split, n in part.items()}
    song, came = of(found, "test")
    assert normalise(song.text).split()[0] == "আমি" and len(normalise(song.text).split()) == 4
    assert song.language == "bn" and came.text == "সে এসেছিল।"
