"""Every corpus in every way in which people's copies differ: the same rows as from the published layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import miniature
import miniature_ood as made
import pytest
import soundfile
from miniature import sound
from test_packed import musan, rirs

from harness.errors import UserError
from tasks import whole
from tasks.corpora import registry
from tasks.corpora.tree import AUDIO
from tasks.folders import Source
from tasks.prepared import Prepared, prepare

MAKERS: dict[str, Callable[[Path], Path]] = {
    "librispeech": miniature.librispeech, "voxceleb1": miniature.voxceleb1, "voxceleb1_eh": miniature.voxceleb1,
    "speech_commands": miniature.speech_commands, "iemocap": miniature.iemocap, "cn_celeb": made.cn_celeb,
    "speech_commands_v2": lambda root: miniature.speech_commands(root, "0.02"), "vctk": made.vctk,
    "crema_d": made.crema_d, "ravdess": made.ravdess, "emodb": made.emodb, "mswc": made.mswc,
    "mswc_de": lambda root: made.mswc(root, language="de", words=("nein", "vier", "haus", "katze")),
    "common_voice": made.common_voice, "common_voice_bn": made.common_voice, "l2_arctic": made.l2_arctic,
    "tedlium3": made.tedlium3, "musan": musan, "rirs": rirs,
}  # fmt: skip
LOSSY = (".opus", ".mp3", ".ogg")
Facts = list[tuple[str, ...]]


def got(name: str, root: Path, cache: Path) -> Prepared:
    corpus = registry.load(name)
    return prepare(Source(name, root, corpus, dict(corpus.options)), cache)


def facts(found: Prepared, content: bool = True) -> Facts:
    """`content`: with the stamp of length and rate, which a lossy format may not keep."""
    return [(u.id, u.split, u.speaker, u.label, u.text, u.sha256 if content else "") for u in found.rows]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Prepared]]:
    top = tmp_path_factory.mktemp("plain")
    known: dict[str, tuple[Path, Prepared]] = {}

    def make(name: str) -> tuple[Path, Prepared]:
        if name not in known:
            root = MAKERS[name](top / name)
            known[name] = root, got(name, root, top / "manifests")
        return known[name]

    return make


def test_every_corpus_is_here() -> None:
    assert set(MAKERS) == set(registry.names()) - {"lhotse"}, "whose layout is that of its manifests"


def an_extra_level(root: Path, to: Path) -> None:
    shutil.copytree(root, to / "Downloads" / "unpacked")


def a_second_copy(root: Path, to: Path) -> None:
    shutil.copytree(root, to / "one")
    shutil.copytree(root, to / "two" / "deeper")


def links(root: Path, to: Path) -> None:
    """Every second folder and list is a link, and one leads in a circle."""
    to.mkdir()
    (to / "again").symlink_to(to)
    for number, path in enumerate(sorted(root.iterdir())):
        inner = to / path.name
        if path.is_dir() and number % 2:
            inner.mkdir()
            for one in path.iterdir():
                (inner / one.name).symlink_to(one)
        else:
            inner.symlink_to(path)


def other_case(root: Path, to: Path) -> None:
    """Of suffixes and of the two upper levels of folders: further down VoxCeleb's names are told apart by case."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            *folders, name = path.relative_to(root).parts
            folders = [one.upper() for one in folders[:2]] + folders[2:]
            new = to.joinpath(*folders, name[: -len(path.suffix)] + path.suffix.upper())
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, new)


def another_format(root: Path, to: Path) -> None:
    """flac for wav, wav for everything else."""
    shutil.copytree(root, to)
    for path in [path for path in to.rglob("*") if path.suffix in AUDIO]:
        wave, rate = soundfile.read(path)
        path.unlink()
        soundfile.write(path.with_suffix(".flac" if path.suffix == ".wav" else ".wav"), wave, rate, subtype="PCM_16")


def litter(root: Path, to: Path) -> None:
    """What a Mac and a NAS leave behind."""
    shutil.copytree(root, to)
    for path in [path for path in to.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0")
        (path.parent / "@eaDir").mkdir(exist_ok=True)
        shutil.copy(path, path.parent / "@eaDir" / path.name)
    (to / ".DS_Store").write_bytes(b"\0")
    shutil.copytree(root, to / "__MACOSX")


@pytest.mark.parametrize("name", sorted(MAKERS))
@pytest.mark.parametrize("way", [an_extra_level, a_second_copy, links, other_case, another_format, litter])
def test_the_same_rows(
    way: Callable[[Path, Path], None], name: str, plain: Callable[[str], tuple[Path, Prepared]], tmp_path: Path
) -> None:
    root, was = plain(name)
    way(root, tmp_path / "copy")
    found = got(name, tmp_path / "copy", tmp_path / "manifests")
    lossless = way is not another_format or not any(u.member.endswith(LOSSY) for u in was.rows)
    assert facts(found, lossless) == facts(was, lossless)
    for trials in registry.load(name).trials:
        known = {u.id for u in was.rows}
        if (was.folder / f"trials-{trials}.csv.gz").is_file():
            assert found.trials(trials, known) == was.trials(trials, known)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_half_finished_download(
    name: str, plain: Callable[[str], tuple[Path, Prepared]], tmp_path: Path
) -> None:
    root, was = plain(name)
    shutil.copytree(root, tmp_path / "copy")
    used = sorted({u.member for u in was.rows})
    here = [tmp_path / "copy" / Path(member).relative_to(root) for member in used]
    for path in here[1::3]:
        path.unlink()
    here[0].write_bytes(here[0].read_bytes()[:20])
    here[-1].with_name(f"{here[-1].name}.part").write_bytes(b"x")
    corpus = registry.load(name)
    state = whole.state(name, [], Source(name, tmp_path / "copy", corpus, dict(corpus.options)), full=False)
    said = "\n".join(state.lines)
    assert state.verdict != "complete"
    assert "1 unfinished download, first " in said and "cannot be read" in said, said
    if state.verdict == "usable, with gaps":
        # what is chosen by hash out of all that is there may be another clip
        assert set(facts(got(name, tmp_path / "copy", tmp_path / "m"))) <= set(facts(was)) or name.startswith("mswc")


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_audio_that_is_not_read_is_named(name: str, tmp_path: Path) -> None:
    """m4a, as some have VoxCeleb."""
    root = MAKERS[name](tmp_path / "all")
    for path in [path for path in root.rglob("*") if path.suffix in AUDIO]:
        path.rename(path.with_suffix(".m4a"))
    with pytest.raises(UserError, match=r"nothing of it found .* in a format that is not read here|unpack"):
        got(name, root, tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "lists", "said"),
    [
        ("voxceleb1_eh", (), "no list_test_all2.txt: trials voxceleb1_e cannot be made; put it into the folder, from"),
        ("librispeech", ("librispeech-lexicon.txt",), "phone recognition (task pr) cannot run; get it from openslr"),
        ("librispeech", ("19-198.trans.txt",), "2 files without a line in a .trans.txt, first train-clean-100/19/198/"),
        ("iemocap", ("Ses01F_impro01.txt",), ""),
    ],
)
def test_a_missing_list_is_named(name: str, lists: tuple[str, ...], said: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "all")
    for path in [path for path in root.rglob("*") if path.name in lists]:
        path.unlink()
    found = got(name, root, tmp_path / "m")
    assert any(said in gap for gap in found.gaps) if said else "fold1_test" in found.counts
    assert found.rows


def test_a_recording_alone_is_no_talk(tmp_path: Path) -> None:
    root = made.tedlium3(tmp_path / "ted")
    shutil.rmtree(root / "legacy" / "test" / "stm")
    found = got("tedlium3", root, tmp_path / "m")
    assert set(found.counts) == {"dev", "dev_digits"}
    sound(root / "legacy" / "test" / "sph" / "x.wav")
    assert set(got("tedlium3", root, tmp_path / "m").counts) == {"dev", "dev_digits"}
