"""Manifests of a user's folders: made once, the same bytes again, and made anew, by name, when a file changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import miniature
import pytest

from harness import audio, headers
from harness.errors import UserError
from harness.features import Features
from tasks.corpora import registry
from tasks.corpora.tree import scan
from tasks.folders import Source
from tasks.prepared import Prepared, prepare


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return miniature.iemocap(tmp_path / "iemocap")


def made(root: Path, tmp_path: Path, **more: tuple[str, ...]) -> Prepared:
    return prepare(Source("iemocap", root, registry.load("iemocap"), {}, **more), tmp_path / "manifests")


def test_an_unchanged_folder_is_not_read_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(root, tmp_path).rows
    monkeypatch.setattr(headers, "length", lambda path: pytest.fail(f"{path} was read"))
    again = made(root, tmp_path)
    assert again.rows == first and again.changes == []


def test_the_same_folder_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    one, two = (prepare(Source("iemocap", root, registry.load("iemocap")), tmp_path / name) for name in "ab")
    for name in ("manifest.csv", "files.tsv", "summary.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name


def test_what_changed_is_named(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = made(root, tmp_path).rows
    changed, gone = sorted(root.rglob("*.wav"))[:2]
    miniature.sound(changed, 0.9)
    gone.unlink()
    miniature.sound(changed.with_name("Ses01F_impro01_F099.wav"))
    found = made(root, tmp_path)
    files = (gone, changed.with_name("Ses01F_impro01_F099.wav"), changed)
    names = [path.relative_to(root).as_posix() for path in files]
    assert found.changes == [f"{names[0]} vanished", f"{names[1]} is new", f"{names[2]} changed"]
    assert f"iemocap: {names[2]} changed; its manifest is made again" in capsys.readouterr().err
    assert len(found.rows) == len(before) - 1
    assert next(u.duration for u in found.rows if u.member == str(changed)) == 0.9


def test_many_changes_are_counted(root: Path, tmp_path: Path) -> None:
    made(root, tmp_path)
    for path in sorted(root.rglob("*.wav"))[:9]:
        os.utime(path, (1, 1))
    assert made(root, tmp_path).changes[-1] == "4 more files changed, came or went"


def test_rows_to_leave_out(root: Path, tmp_path: Path) -> None:
    gone = "Ses01F_impro01_F000"
    assert gone not in {u.id for u in made(root, tmp_path, leave_out=(gone,)).rows}
    with pytest.raises(UserError, match="leave_out names Ses9, which is no row of it"):
        _ = made(root, tmp_path, leave_out=("Ses9",)).rows


def test_a_row_is_known_by_its_header_until_it_is_hashed(root: Path, tmp_path: Path) -> None:
    rows = made(root, tmp_path).rows
    assert all(u.sha256.startswith(audio.STAMP) for u in rows) and len({u.sha256 for u in rows}) == len(rows)
    assert audio.read(rows[0]).shape == (6400,)


def test_a_replaced_file_has_other_features(root: Path, tmp_path: Path) -> None:
    """Of the same length, so that the manifest says nothing: size and time of change do."""
    u = made(root, tmp_path).rows[0]
    stored, content = audio.stored_key(u), audio.content_key(u)
    assert audio.stored_key(u) == stored != content
    os.utime(u.member, ns=(1, 1))
    assert audio.stored_key(u) != stored and audio.content_key(u) == content
    Path(u.member).unlink()
    with pytest.raises(UserError, match="Ses01F_impro01_F000.*cannot be opened"):
        audio.stored_key(u)
    assert "stored_key" in Features._key.__code__.co_names


def test_a_copy_elsewhere_is_the_same_data(root: Path, tmp_path: Path) -> None:
    other = miniature.iemocap(tmp_path / "copy" / "deeper")
    here, there = made(root, tmp_path).rows, made(other, tmp_path).rows
    assert [(u.id, u.sha256) for u in here] == [(u.id, u.sha256) for u in there]
    assert here[0].member != there[0].member


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: a folder wanted, found nothing; correct the path"):
        made(tmp_path / "nowhere", tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="a folder wanted, found a file"):
        made(tmp_path / "file", tmp_path)


def test_hidden_files_are_no_part_of_a_corpus(tmp_path: Path) -> None:
    for name in ("a.wav", "._a.wav", "__MACOSX/a.wav", ".git/x", "b/c.wav"):
        miniature.text(tmp_path / name, "x")
    assert [file.path for file in scan(tmp_path).files] == ["a.wav", "b/c.wav"]


def test_a_damaged_cache_is_made_again(root: Path, tmp_path: Path) -> None:
    first = made(root, tmp_path)
    rows = first.rows
    (first.folder / "summary.json").write_text("{")
    assert made(root, tmp_path).rows == rows


@pytest.mark.parametrize("name", ["a b", "x/y", ""])
def test_a_module_with_a_bad_id_is_a_bug(
    name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: Callable[..., Path]
) -> None:
    from dataclasses import replace

    from tasks.corpora.contract import Row

    corpus = registry.load("iemocap")
    bad = replace(corpus, rows=lambda tree: [Row(tree.files[0], name, "all", "x")], version=99)
    bad.rows.__module__ = corpus.rows.__module__
    with pytest.raises(ValueError, match="id "):
        prepare(Source("iemocap", root, bad), tmp_path / "m")
