"""The user's one file with folders: what is wrong in it is said in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import pytest

from harness.errors import UserError
from tasks.folders import sources, wanted
from tasks.prepared import prepared


def test_no_file_is_no_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POST_SUPERB_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert sources() == {}


def test_a_file_that_is_named_must_be_there(folders: Callable[..., Path]) -> None:
    file = folders()
    assert sources() == {}
    file.unlink()
    with pytest.raises(UserError, match=f"POST_SUPERB_CORPORA names {file}: a file wanted, found nothing; correct it"):
        sources()
    file.mkdir()
    with pytest.raises(UserError, match="found a folder"):
        sources()


def test_short_and_long_form(tmp_path: Path, folders: Callable[..., Path]) -> None:
    folders(iemocap="data/iemocap", mine="{corpus: librispeech, root: /data/ls, leave_out: [a-1]}")
    found = sources()
    assert found["iemocap"].root == tmp_path / "data" / "iemocap", "relative to the file"
    mine = found["mine"]
    assert mine.corpus is not None and mine.corpus.name == "librispeech"
    assert (mine.root, mine.leave_out) == (Path("/data/ls"), ("a-1",))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"libri_speech": "/x"}, "unknown corpus 'libri_speech'; did you mean librispeech"),
        ({"mine": "{corpus: iemocapp, root: /x}"}, "unknown corpus 'iemocapp'; did you mean iemocap"),
        ({"iemocap": "{rot: /x}"}, "unknown key 'corpora.iemocap.rot'; did you mean root"),
        ({"iemocap": "{corpus: iemocap}"}, "either a folder \\(root\\) or a manifest wanted"),
        ({"iemocap": "{root: /x, options: {language: de}}"}, "iemocap: unknown option 'language'; it has none"),
        ({"mine": "{manifest: a.csv, corpus: iemocap}"}, "a manifest has no `corpus`"),
        ({"voxceleb1": ""}, "corpora.voxceleb1: a folder wanted, found nothing; write `voxceleb1: FOLDER`"),
        ({"voxceleb1": "[/a, /b]"}, "corpora.voxceleb1: a folder wanted, found \\['/a', '/b'\\]; write"),
        ({"common_voice": "{root: /x, langage: de}"}, "'langage'; an option is written `options: {language: VALUE}`"),
        ({"common_voice": "{root: /x, options: {langage: de}}"}, "unknown option 'langage'; did you mean language"),
        ({"iemocap": "$H5_NOWHERE/x"}, "variable \\$H5_NOWHERE in '\\$H5_NOWHERE/x' is not set; set it"),
    ],
)
def test_what_is_wrong_is_said(entry: dict[str, str], said: str, folders: Callable[..., Path]) -> None:
    file = folders(**entry)
    with pytest.raises(UserError, match=said) as caught:
        sources()
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found an empty file; write `corpora:` and below it, indented, a line `name: FOLDER`"),
        ("- a\n", "a mapping wanted, found list; write `corpora:`"),
        ("corpora:\n  voxceleb1:/path\n", "found 'voxceleb1:/path'; a blank is wanted after the colon; write"),
        ("corpora:\n  - /path\n", "corpora: lines `name: FOLDER` wanted, found .*; write `corpora:`"),
        ("corpora:\niemocap: /x\n", "unknown key 'iemocap'; names of corpora stand indented below `corpora:`"),
        ("corpra:\n  iemocap: /x\n", "unknown key 'corpra'; did you mean corpora"),
        ("corpora:\n  iemocap: /x\n  iemocap: /y\n", "line 3: key 'iemocap' is there twice; keep one$"),
        ("corpora:\n  iemocap: /x\n  voxceleb1:/y\n", "line 4: .*; write `corpora:` and below it"),
    ],
)
def test_a_file_of_another_shape_says_what_to_write(text: str, said: str, folders: Callable[..., Path]) -> None:
    file = folders()
    file.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        sources()
    assert str(caught.value).startswith(str(file)) and "pydantic" not in str(caught.value)


def test_home_and_variables_are_expanded(
    tmp_path: Path, folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("H5_DISK", str(tmp_path / "disk"))
    (tmp_path / "$odd").mkdir()
    folders(iemocap="$H5_DISK/iemocap", rirs="~/rirs", mine="{manifest: '${H5_DISK}/a.csv'}", musan=tmp_path / "$odd")
    found = {name: source.root for name, source in sources().items()}
    assert found.pop("rirs") == tmp_path / "home" / "rirs" and found.pop("musan") == tmp_path / "$odd"
    assert found == {"iemocap": tmp_path / "disk" / "iemocap", "mine": tmp_path / "disk" / "a.csv"}


def test_a_corpus_without_a_folder_says_what_to_write(folders: Callable[..., Path]) -> None:
    file = folders(iemocap="/x")
    with pytest.raises(UserError, match="add `librispeech: FOLDER` under `corpora:` in .*openslr.org/12") as caught:
        wanted("librispeech", sources())
    assert str(file) in str(caught.value)
    with pytest.raises(UserError, match="corpus librispech: no folder given; did you mean librispeech"):
        wanted("librispech", sources())


def test_a_manifest_of_ones_own(tmp_path: Path, folders: Callable[..., Path]) -> None:
    from tiny_suite import write_corpus

    rows = write_corpus(tmp_path / "calls")
    folders(my_calls="{manifest: calls/manifest.csv, leave_out: [p00-0]}")
    assert [u.id for u in prepared("my_calls").rows] == [row["id"] for row in rows if row["id"] != "p00-0"]


def test_gaps_are_said_once(
    tmp_path: Path, folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folders(voxceleb1=miniature.voxceleb1(tmp_path / "vox", lists=False))
    prepared("voxceleb1")
    prepared("voxceleb1")
    assert capsys.readouterr().err.count("voxceleb1: no iden_split.txt") == 1
