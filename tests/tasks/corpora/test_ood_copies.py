"""How people's copies of the corpora out of domain differ: the same rows where that can be, else a line to read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import miniature_ood as made
import pytest
from miniature import text
from test_layouts import got
from test_ood_layouts import counts, of, option

from harness.errors import UserError
from tasks.prepared import Prepared

Facts = list[tuple[str, str, str, str]]


def facts(found: Prepared) -> Facts:
    return [(u.id, u.split, u.label, u.text) for u in found.rows]


MAKERS: dict[str, Callable[[Path], Path]] = {
    "ravdess": made.ravdess, "crema_d": made.crema_d, "emodb": made.emodb, "cn_celeb": made.cn_celeb,
    "vctk": made.vctk, "l2_arctic": made.l2_arctic, "tedlium3": made.tedlium3,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_an_extra_level_and_a_second_copy(name: str, tmp_path: Path) -> None:
    """As unpacked into a folder of the archive's name, and for some corpora twice, as mirrors have them."""
    root = MAKERS[name](tmp_path / "plain")
    plain = got(name, root, tmp_path)
    shutil.copytree(root, tmp_path / "more" / "corpora" / "unpacked")
    assert facts(got(name, tmp_path / "more", tmp_path)) == facts(plain)
    shutil.copytree(root, tmp_path / "more" / "mirror of it" / "unpacked")
    twice = got(name, tmp_path / "more", tmp_path)
    assert facts(twice) == facts(plain)
    if name != "tedlium3":  # its lists are met once, and what they name
        assert any(" there twice, first mirror of it/" in gap for gap in twice.gaps)


@pytest.mark.parametrize("name", ["ravdess", "crema_d", "emodb"])
def test_other_case(name: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "plain")
    was = facts(got(name, root, tmp_path))
    for path in list(root.rglob("*.wav")):
        path.rename(path.with_name(path.stem.lower() + ".WAV"))
    assert facts(got(name, root, tmp_path)) == was


def test_flat_and_flac(tmp_path: Path) -> None:
    root = made.ravdess(tmp_path / "ravdess")
    was = facts(got("ravdess", root, tmp_path))
    for number, path in enumerate(sorted(root.rglob("*.wav"))):
        if number % 2:
            made.said(root / f"{path.stem}.flac", rate=48000)
            path.unlink()
        else:
            path.rename(root / path.name)
    assert facts(got("ravdess", root, tmp_path)) == was


def test_crema_d_cloned_without_its_large_files(tmp_path: Path) -> None:
    root = made.crema_d(tmp_path / "crema")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 72938"
    for path in sorted(root.rglob("*_HAP_*.wav")):
        text(path, pointer)
    assert got("crema_d", root, tmp_path).gaps == [
        "3 Git LFS pointers and no audio; run `git lfs pull` in the clone"
    ]
    for path in root.rglob("*.wav"):
        text(path, pointer)
    with pytest.raises(UserError, match="nothing of it found .* Git LFS pointers"):
        got("crema_d", root, tmp_path)


def test_cn_celeb_as_wav_with_a_list_of_either(tmp_path: Path) -> None:
    flac = option("cn_celeb", made.cn_celeb(tmp_path / "a"), tmp_path)
    wav = option("cn_celeb", made.cn_celeb(tmp_path / "b", ".wav", listed=".flac"), tmp_path)
    assert facts(flac) == facts(wav)
    names = {u.id for u in flac.rows}
    assert flac.trials("cn_celeb_e", names) == wav.trials("cn_celeb_e", names)


def test_cn_celeb_unfinished(tmp_path: Path) -> None:
    root = made.cn_celeb(tmp_path / "cn")
    (root / "eval" / "test" / "id00801-singing-01-002.flac").unlink()
    found = option("cn_celeb", root, tmp_path)
    lost = "1 file of the trial list not there, first test-id00801-singing-01-002: no trials; finish the copy"
    assert lost in found.gaps
    with pytest.raises(UserError, match="no trials 'cn_celeb_e': .*finish the copy"):
        found.trials("cn_celeb_e", [])
    (root / "eval" / "lists" / "trials.lst").unlink()
    assert any(gap.startswith("no trials.lst: ") for gap in option("cn_celeb", root, tmp_path).gaps)
    with pytest.raises(UserError, match="option non_targets: a number or all wanted, found 'few'"):
        option("cn_celeb", made.cn_celeb(tmp_path / "cn2"), tmp_path, non_targets="few")


def test_vctk_of_the_first_release(tmp_path: Path) -> None:
    found = got("vctk", made.vctk(tmp_path / "vctk", ".wav", old=True), tmp_path)
    assert counts(found)["mic1"] == 20 and "mic2" not in found.counts
    assert any(gap.startswith("version 0.80, with one microphone") for gap in found.gaps)
    with pytest.raises(UserError, match="has no trials 'vctk_mics': .*get 0.92"):
        found.trials("vctk_mics", [])


def test_vctk_without_its_texts_or_genders(tmp_path: Path) -> None:
    root = made.vctk(tmp_path / "vctk")
    shutil.rmtree(root / "txt")
    (root / "speaker-info.txt").unlink()
    found = got("vctk", root, tmp_path)
    assert counts(found)["mic1"] == 20 and "words" not in found.counts
    assert any(gap.startswith("no speaker-info.txt: trials are not kept to one gender") for gap in found.gaps)


def test_l2_arctic_unpacked_speaker_by_speaker_without_a_lexicon(tmp_path: Path) -> None:
    root = made.l2_arctic(tmp_path / "one")
    was = facts(got("l2_arctic", root, tmp_path))
    assert facts(got("l2_arctic", made.l2_arctic(tmp_path / "two", nested=True), tmp_path)) == was
    (root / "librispeech-lexicon.txt").unlink()
    shutil.rmtree(root / "SKA" / "transcript")
    found = got("l2_arctic", root, tmp_path)
    assert counts(found) == {"read": 4, "read_digits": 2, "arabic": 2, "korean": 2}
    assert "3 files without a text in transcript/: left out; unpack the archive again" in found.gaps
    assert any("phone recognition (task pr) cannot run" in gap for gap in found.gaps)


def test_tedlium3_as_wav_and_without_a_recording(tmp_path: Path) -> None:
    sph = facts(got("tedlium3", made.tedlium3(tmp_path / "sph"), tmp_path))
    root = made.tedlium3(tmp_path / "wav", ".wav")
    assert facts(got("tedlium3", root, tmp_path)) == sph
    next(root.rglob("Barry*.wav")).unlink()
    found = got("tedlium3", root, tmp_path)
    assert "dev" not in found.counts and counts(found)["test"] == 2
    assert found.gaps == ["1 talk without a recording, first BarrySchwartz_2005G; unpack the archive again"]


def test_mswc_by_other_lists_as_wav_and_without_lists(tmp_path: Path) -> None:
    was = facts(option("mswc", made.mswc(tmp_path / "a"), tmp_path))
    assert facts(option("mswc", made.mswc(tmp_path / "b", ".wav", "en_{}.csv"), tmp_path)) == was
    root = made.mswc(tmp_path / "c", ".wav", "{}.csv")
    for path in list(root.rglob("common_voice_*.wav")):  # one flat folder, as a mirror has it
        path.rename(root / f"{path.parent.name}_{path.name}")
    assert facts(option("mswc", root, tmp_path)) == was
    for path in root.rglob("*.csv"):
        path.unlink()
    with pytest.raises(UserError, match="no en_splits.csv: who is in test is not known"):
        option("mswc", root, tmp_path)


def test_mswc_twice(tmp_path: Path) -> None:
    root = made.mswc(tmp_path / "here" / "mswc")
    was = facts(option("mswc", root, tmp_path))
    shutil.copytree(root, tmp_path / "here" / "old" / "mswc")
    found = option("mswc", tmp_path / "here", tmp_path)
    assert facts(found) == was and any("16 files there twice, first old/mswc/" in gap for gap in found.gaps)


def test_common_voice_of_one_language_old_and_converted(tmp_path: Path) -> None:
    root = made.common_voice(tmp_path / "cv")
    was = facts(option("common_voice", root, tmp_path))
    own = next(root.rglob("en"))
    assert facts(option("common_voice", own, tmp_path)) == was, "the language's own folder"
    older = made.common_voice(tmp_path / "older", ".wav", accents="accent")
    assert facts(option("common_voice", older, tmp_path)) == was
    assert len(of(option("common_voice", older, tmp_path, accent="india"), "test")) == 1


def test_common_voice_unfinished(tmp_path: Path) -> None:
    root = made.common_voice(tmp_path / "cv")
    next(root.rglob("common_voice_en_200.mp3")).unlink()
    next(root.rglob("en/dev.tsv")).unlink()
    found = option("common_voice", root, tmp_path, splits="dev test")
    assert counts(found) == {"test": 1, "test_digits": 1}
    assert found.gaps == [
        "no en/dev.tsv: no dev; unpack the archive of en again",
        "1 clip not there, first common_voice_en_200; finish the copy",
    ]
