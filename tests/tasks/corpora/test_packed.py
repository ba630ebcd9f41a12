"""Archives as downloaded: `validate` names each, and the command that it prints, run as it stands, gives the corpus."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import miniature
import miniature_ood as made
import pytest
from miniature import sound, text

from harness.errors import UserError
from harness.wording import counted
from tasks import packed, whole
from tasks.corpora import registry
from tasks.corpora.contract import Corpus
from tasks.folders import Source
from tasks.prepared import prepare

Packing = tuple[str, str, str]
"""Name of an archive, which files of the miniature are in it (a pattern), and how their paths begin in it: what the
pattern's group `at` is put after."""


def musan(root: Path) -> Path:
    for folder in ("music/fma", "noise/free-sound", "noise/sound-bible", "speech/us-gov"):
        sound(root / folder / f"{folder.replace('/', '-')}-0000.wav")
    return root


def rirs(root: Path) -> Path:
    for name in ("real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far_angla",
                 "real_rirs_isotropic_noises/air_type1_air_binaural_office_0_1",
                 *(f"simulated_rirs/{size}room/Room001/Room001-00001" for size in ("small", "medium", "large"))):
        sound(root / f"{name}.wav")  # fmt: skip
    return root


SC = "speech_commands_{}v0.0{}"
LIBRI = ("train-clean-100", "dev-clean", "test-clean", "test-other")
PACKED: dict[str, tuple[Callable[[Path], Path], Sequence[Packing]]] = {
    "librispeech": (
        miniature.librispeech, [(f"{part}.tar.gz", rf"(?P<at>{part}/.*)", "LibriSpeech/") for part in LIBRI]
    ),
    "voxceleb1": (
        miniature.voxceleb1,
        [("vox1_dev_wav.zip", "dev/(?P<at>wav/.*)", ""), ("vox1_test_wav.zip", "test/(?P<at>wav/.*)", "")],
    ),
    "speech_commands": (
        miniature.speech_commands,
        [(f"{SC.format(part, 1)}.tar.gz", rf"{SC.format(part, 1)}/(?P<at>.*)", "./") for part in ("", "test_set_")],
    ),
    "speech_commands_v2": (
        lambda root: miniature.speech_commands(root, "0.02"),
        [(f"{SC.format(part, 2)}.tar.gz", rf"{SC.format(part, 2)}/(?P<at>.*)", "") for part in ("", "test_set_")],
    ),
    "iemocap": (
        miniature.iemocap, [("IEMOCAP_full_release_withoutVideos.tar.gz", "(?P<at>.*)", "IEMOCAP_full_release/")]
    ),
    "cn_celeb": (made.cn_celeb, [("cn-celeb_v2.tar.gz", "(?P<at>.*)", "CN-Celeb_flac/")]),
    "vctk": (made.vctk, [("VCTK-Corpus-0.92.zip", "(?P<at>.*)", "")]),
    "emodb": (made.emodb, [("download.zip", "(?P<at>.*)", "")]),
    "ravdess": (made.ravdess, [("Audio_Speech_Actors_01-24.zip", "(?P<at>.*)", "")]),
    "tedlium3": (made.tedlium3, [("TEDLIUM_release-3.tgz", "(?P<at>.*)", "TEDLIUM_release-3/")]),
    "mswc": (made.mswc, [("en.tar.gz", "(?P<at>en/clips/.*)", ""), ("en (1).tar.gz", "en/(?P<at>.*csv)", "en/")]),
    "common_voice": (made.common_voice, [("cv-corpus-17.0-2024-03-15-en.tar.gz", "(?P<at>cv.*/en/.*)", "")]),
    "common_voice_bn": (made.common_voice, [("cv-corpus-17.0-2024-03-15-bn.tar.gz", "(?P<at>cv.*/bn/.*)", "")]),
    "mswc_de": (
        lambda root: made.mswc(root, language="de", words=("nein", "vier", "haus", "katze")),
        [("de.tar.gz", "(?P<at>de/clips/.*)", "")],
    ),
    "musan": (musan, [("musan.tar.gz", "(?P<at>.*)", "musan/")]),
    "rirs": (rirs, [("rirs_noises.zip", "(?P<at>.*)", "RIRS_NOISES/")]),
}  # fmt: skip


def pack(root: Path, packings: Sequence[Packing], keep: str = "") -> None:
    """Files go into archives that lie where they were; those whose path ends in `keep` stay too."""
    for name, pattern, top in packings:
        met = [(path, found["at"]) for path in sorted(root.rglob("*")) if path.is_file()
               and (found := re.fullmatch(pattern, path.relative_to(root).as_posix()))]  # fmt: skip
        assert met, name
        if name.endswith(".zip"):
            with zipfile.ZipFile(root / name, "w") as out:
                for path, at in met:
                    out.write(path, top + at)
        else:
            with tarfile.open(root / name, "w:gz") as out:
                for path, at in met:
                    out.add(path, top + at)
        for path, _ in met:
            if not (keep and path.as_posix().endswith(keep)):
                path.unlink()
    for folder in sorted(root.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def source(name: str, root: Path, *, counted: bool = False) -> Source:
    """`counted`: as if the miniature were all of the corpus's archives hold."""
    corpus = registry.load(name)
    if counted:
        corpus = of_size(corpus, root)
    return Source(name, root, corpus, dict(corpus.options))


def of_size(corpus: Corpus, root: Path) -> Corpus:
    rows = prepare(Source(corpus.name, root, corpus, dict(corpus.options)), root.parent / "sizes").counts
    archives = [replace(one, files=sum(int(rows.get(split, {}).get("rows", 0)) for split in one.splits))
                if one.splits else one for one in corpus.archives]  # fmt: skip
    return replace(corpus, archives=archives, expected=())


def facts(of: Source, cache: Path) -> list[tuple[str, str, str]]:
    return [(u.id, u.split, u.sha256) for u in prepare(of, cache).rows]


def commands(lines: Sequence[str]) -> list[str]:
    return [command for line in lines for command in re.findall(r"`([^`]*)`", line)]


def run(lines: Sequence[str]) -> None:
    for command in commands(lines):
        subprocess.run(["bash", "-c", command], check=True)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "manifests"


def test_every_corpus_but_lhotse_s_names_its_archives() -> None:
    without = {name for name in registry.names() if not registry.load(name).archives}
    assert without == {"lhotse"}
    assert set(registry.names()) == {*PACKED, "lhotse", "crema_d", "l2_arctic", "voxceleb1_eh"}, "the others: below"


@pytest.mark.parametrize("name", sorted(PACKED))
def test_what_is_printed_unpacks_a_corpus_where_it_belongs(name: str, tmp_path: Path, cache: Path) -> None:
    make, packings = PACKED[name]
    root = make(tmp_path / "my data" / "corpus")
    own = source(name, root, counted=True)
    was, files = facts(own, cache), {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    pack(root, packings)
    state = whole.state(name, [], own, full=False)
    assert state.verdict == "missing"
    for archive, *_ in packings:
        assert any(line.startswith(f"{archive} (") and "is not unpacked: `" in line for line in state.lines), archive
    assert len(commands(state.lines)) == len(packings)
    run(state.lines)
    assert facts(own, cache) == was
    after = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    assert after >= files or name in ("common_voice", "common_voice_bn", "mswc", "rirs"), "in their old places"
    found = prepare(own, cache)
    assert found.packed == []
    assert sum("is unpacked: it is not needed any more" in gap for gap in found.gaps) == len(packings)


def test_a_large_tar_of_which_nobody_says_how_much_it_holds(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "LOOK", 2000)
    root = made.common_voice(tmp_path / "cv")
    own = source("common_voice", root)
    assert whole.state("common_voice", [], own, full=False).verdict == "complete"
    pack(root, PACKED["common_voice"][1], keep="_200.mp3")
    for there in (1, 9):
        state = whole.state("common_voice", [], own, full=False)
        wanted = f" (clips and lists): {counted(there, 'file')} of it are there, whether all is not known; `"
        assert any(wanted in line and line.endswith("or move it away if all of it is unpacked") for line in state.lines)
        assert state.verdict != "complete"
        run([line for line in state.lines if wanted in line])


def test_archives_are_never_complete_while_something_is_packed(trees: Path, tmp_path: Path, cache: Path) -> None:
    shutil.copytree(trees / "librispeech", tmp_path / "ls")
    own = source("librispeech", tmp_path / "ls", counted=True)
    assert own.corpus is not None
    own = replace(own, corpus=replace(own.corpus, splits=dict.fromkeys(LIBRI, "")))  # the miniature's
    assert whole.state("librispeech", [], own, full=False).verdict == "complete"
    _, packings = PACKED["librispeech"]
    pack(tmp_path / "ls", packings[:1], keep="19-198-0000.flac")
    state = whole.state("librispeech", [], own, full=False)
    assert state.verdict == "usable, with gaps"
    line = state.lines[0]
    assert line.startswith("train-clean-100.tar.gz (train-clean-100) is unpacked in part, 1 of 4 files: `tar -xf ")
    run(state.lines[:1])
    state = whole.state("librispeech", [], own, full=False)
    assert state.verdict == "complete" and state.rows == 16
    assert state.lines == ["train-clean-100.tar.gz is unpacked: it is not needed any more"]


def test_of_a_renamed_folder_and_an_archive_beside_it(trees: Path, tmp_path: Path, cache: Path) -> None:
    """Into the folder that is there, whatever it is called; the user's own folder need not be there at all."""
    root = tmp_path / "data" / "my libri"
    shutil.copytree(trees / "librispeech", root)
    _, packings = PACKED["librispeech"]
    pack(root, packings[1:2])
    (root / "dev-clean.tar.gz").rename(root.parent / "dev-clean.tar.gz")
    own = source("librispeech", root)
    (command,) = commands(prepare(own, cache).packed)
    assert f"-C '{root}' --strip-components=1" in command
    run([f"`{command}`"])
    assert prepare(own, cache).counts["dev-clean"]["rows"] == 4 and not (root / "LibriSpeech").exists()
    gone = source("librispeech", root.parent / "not yet")
    state = whole.state("librispeech", [], gone, full=False)
    assert state.verdict == "missing" and "a folder wanted, found nothing" in state.lines[0]
    assert state.lines[1].startswith("dev-clean.tar.gz (dev-clean, 2,703 rows) is not unpacked: `mkdir -p ")
    run(state.lines)
    assert set(prepare(gone, cache).counts) == {"dev-clean"}
    with pytest.raises(UserError, match=r"a folder wanted, found nothing.* \(dev-clean.tar.gz .* is not unpacked"):
        prepare(source("librispeech", root.parent / "neither"), cache)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """VoxCeleb1 with dev in its four parts."""
    root = miniature.voxceleb1(tmp_path / "vox")
    pack(root, PACKED["voxceleb1"][1][:1])
    zipped = (root / "vox1_dev_wav.zip").read_bytes()
    quarter = len(zipped) // 4
    for number, letter in enumerate("abcd"):
        end = None if letter == "d" else (number + 1) * quarter
        (root / f"vox1_dev_wav_parta{letter}").write_bytes(zipped[number * quarter : end])
    (root / "vox1_dev_wav.zip").unlink()
    return root


def test_parts_of_a_zip(parts: Path, trees: Path, cache: Path) -> None:
    own = source("voxceleb1", parts)
    state = whole.state("voxceleb1", [], own, full=False)
    line = state.lines[0]
    assert state.verdict == "usable, with gaps" and line.startswith("vox1_dev_wav.zip (1,211 speakers, 148,642 rows)")
    pieces = " ".join(f"{parts}/vox1_dev_wav_parta{letter}" for letter in "abcd")
    assert f"`cat {pieces} > {parts}/vox1_dev_wav.zip && mkdir -p {parts}/dev && " in line
    run([line])
    assert facts(own, cache) == facts(source("voxceleb1", trees / "voxceleb1"), cache)
    assert (parts / "dev" / "wav").is_dir()


def test_parts_that_are_not_all_there(parts: Path, cache: Path) -> None:
    (parts / "vox1_dev_wav_partac").unlink()
    (line,) = prepare(source("voxceleb1", parts), cache).packed
    assert line == "vox1_dev_wav.zip (1,211 speakers) is not whole, 3 parts of 4: download vox1_dev_wav_partac"


def test_half_of_a_zip(parts: Path, cache: Path) -> None:
    (parts / "vox1_dev_wav_partad").write_bytes(b"")
    (line,) = prepare(source("voxceleb1", parts), cache).packed
    assert line.startswith("vox1_dev_wav.zip (1,211 speakers) cannot be opened (File is not a zip file): download")


def test_a_zip_unpacked_in_part_is_unpacked_over_what_is_there(tmp_path: Path, cache: Path) -> None:
    root = miniature.voxceleb1(tmp_path / "vox")
    own = source("voxceleb1_eh", root)
    was = facts(own, cache)
    pack(root, [("vox1_dev_wav.zip", "dev/(?P<at>wav/.*)", "")], keep="AbCdEfGhIj0/00001.wav")
    (line,) = prepare(own, cache).packed
    assert "is unpacked in part, 1 of 30 files: `" in line and f"-d {root}/dev`" in line
    run([line])
    assert facts(own, cache) == was and prepare(own, cache).packed == []


def test_an_archive_of_archives(tmp_path: Path, cache: Path) -> None:
    """L2-ARCTIC holds a zip a speaker."""
    root = made.l2_arctic(tmp_path / "l2")
    own = source("l2_arctic", root)
    was = facts(own, cache)
    speakers = ("ABA", "HJK", "SKA")
    pack(root, [(f"{name}.zip", rf"(?P<at>{name}/.*)", "") for name in speakers])
    pack(root, [("l2arctic_release_v5.0.zip", r"(?P<at>\w+\.zip)", "")])
    for wanted in ("l2arctic_release_v5.0.zip (", "3 archives (a speaker each), first ABA.zip, are not unpacked"):
        lines = whole.state("l2_arctic", [], own, full=False).lines
        assert any(line.startswith(wanted) for line in lines)
        run(lines)
    assert facts(own, cache) == was
    found = prepare(own, cache)
    assert found.packed == [] and sum("is not needed any more" in gap for gap in found.gaps) == 4
    shutil.rmtree(root / "HJK")
    (line,) = prepare(own, cache).packed
    assert line.startswith("HJK.zip (a speaker each) is not unpacked: `unzip")


def test_an_archive_of_another_name_is_known_by_what_is_in_it(tmp_path: Path, cache: Path) -> None:
    root = made.ravdess(tmp_path / "ravdess")
    pack(root, [("from_a_friend.zip", "(?P<at>.*)", "some/where/")])
    (root / "holidays.zip").write_bytes((root / "from_a_friend.zip").read_bytes()[:100])
    state = whole.state("ravdess", [], source("ravdess", root), full=False)
    wanted = "from_a_friend.zip (files of the corpus) is not unpacked: `"
    assert any(line.startswith(wanted) for line in state.lines)
    assert any(line.startswith("1 archive, first holidays.zip; unpack it if") for line in state.lines)
    run(state.lines)
    assert len(prepare(source("ravdess", root), cache).rows) == 24


def test_a_clone_by_zip_holds_no_audio(tmp_path: Path, cache: Path) -> None:
    root = made.crema_d(tmp_path / "crema")
    pack(root, [("CREMA-D-master.zip", "(?P<at>.*)", "CREMA-D-master/")])
    state = whole.state("crema_d", [], source("crema_d", root), full=False)
    wanted = "CREMA-D-master.zip (pointers of Git LFS): no audio is in it; clone the repository with Git LFS installed"
    assert state.verdict == "missing" and state.lines[1] == wanted


def test_another_file_of_the_same_name(tmp_path: Path, cache: Path) -> None:
    root = made.emodb(tmp_path / "emodb")
    with zipfile.ZipFile(root / "download.zip", "w") as out:
        out.writestr("holidays/beach.jpg", b"")
    found = prepare(source("emodb", root), cache)
    assert found.packed == [] and found.gaps == []


def test_a_tar_is_read_at_its_beginning_alone(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made.tedlium3(tmp_path / "ted")
    was = facts(source("tedlium3", root), cache)
    text(root / "LM" / "model.txt", "first in the archive")
    pack(root, PACKED["tedlium3"][1])
    monkeypatch.setattr(packed, "LOOK", 100)
    state = whole.state("tedlium3", [], source("tedlium3", root), full=False)
    assert "--strip" not in state.lines[1], "how deep it packs was not seen"
    run(state.lines)
    assert facts(source("tedlium3", root), cache) == was and (root / "TEDLIUM_release-3").is_dir()
