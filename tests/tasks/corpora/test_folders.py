"""The user's one file with folders: what is wrong in it is said in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import pytest

from harness.errors import UserError
from tasks.folders import sources, wanted
from tasks.prepared import prepared


def test_no_file_is_no_corpora(folders: Callable[..., Path]) -> None:
    assert sources() == {}


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
    ],
)
def test_what_is_wrong_is_said(entry: dict[str, str], said: str, folders: Callable[..., Path]) -> None:
    file = folders(**entry)
    with pytest.raises(UserError, match=said) as caught:
        sources()
    assert str(file) in str(caught.value)


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
