"""Trials that are made of a user's corpora pair two sittings of a speaker, where the corpus tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import miniature_ood as made
import pytest
from miniature import sound

from harness.config import Rows
from harness.contracts import Utterance
from tasks import catalogue
from tasks.corpora import registry


def librispeech(root: Path) -> Path:
    """Two speakers of test-clean, two chapters each and in each two utterances."""
    for speaker in (61, 121):
        for chapter in (70, 71):
            names = [f"{speaker}-{chapter}-{n:04d}" for n in range(2)]
            folder = root / "test-clean" / str(speaker) / str(chapter)
            for name in names:
                sound(folder / f"{name}.flac", 1.1)
            miniature.text(folder / f"{speaker}-{chapter}.trans.txt", *(f"{name} WORDS OF {name}" for name in names))
    return root


def trials(corpus: str, split: str, root: Path, folders: Callable[..., Path]) -> list[tuple[Utterance, Utterance]]:
    """The targets of `trials: balanced`, with what it calls non-targets checked."""
    folders(**{corpus: root})
    task = catalogue.whole("asv", "superb")
    test = task.test.model_copy(update={"rows": [Rows(corpus=corpus, split=split)], "trials": "balanced"})
    found = catalogue.Data(task).split("test", test)
    by_id = {u.id: u for u in found.utterances}
    pairs = [(by_id[t.enrol], by_id[t.test], t.target) for t in found.trials]
    assert all(target == (a.speaker == b.speaker) for a, b, target in pairs)
    return [(a, b) for a, b, target in pairs if target]


def test_librispeech_pairs_two_chapters(tmp_path: Path, folders: Callable[..., Path]) -> None:
    targets = trials("librispeech", "test-clean", librispeech(tmp_path / "ls"), folders)
    assert len(targets) == 2 * 4, "all pairs of two chapters"
    assert all(a.id.split("-")[1] != b.id.split("-")[1] for a, b in targets)


def test_vctk_pairs_two_microphones_by_the_same_rule(
    tmp_path: Path, folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made.vctk(tmp_path / "vctk")
    folders(vctk=root)
    rows = [Rows(corpus="vctk", split=f"mic{n}") for n in (1, 2)]
    task = catalogue.whole("asv", "superb")
    data = catalogue.Data(task)
    found = data.split("test", task.test.model_copy(update={"rows": rows, "trials": "balanced"}))
    by_id = {u.id: u for u in found.utterances}
    pairs = [(by_id[t.enrol], by_id[t.test]) for t in found.trials if t.target]
    of_two = [pair for pair in pairs if pair[0].speaker != "vctk-p245"]
    assert of_two and all(a.channel != b.channel for a, b in of_two)


@pytest.mark.parametrize(
    ("corpus", "one", "same", "other"),
    [
        ("librispeech", "61-70-0001", "61-70-0002", "61-71-0001"),
        ("voxceleb1", "id10001-AbCdEfGhIj0-00001", "id10001-AbCdEfGhIj0-00002", "id10001-BbCdEfGhIj0-00001"),
        ("voxceleb1_eh", "id10001-A-Cd-fGhIj-00001", "id10001-A-Cd-fGhIj-00002", "id10001-BbCdEfGhIj0-00001"),
        ("cn_celeb", "id00012-live_broadcast-01-003", "id00012-live_broadcast-01-004", "id00012-live_broadcast-02-003"),
        ("iemocap", "Ses01F_impro01_F000", "Ses01F_impro01_F001", "Ses01F_script01_1_F000"),
    ],
)
def test_what_is_one_session(corpus: str, one: str, same: str, other: str) -> None:
    import miniature_rows

    session = registry.load(corpus).session
    assert session is not None
    a, b, c = (session(miniature_rows.row(name)) for name in (one, same, other))
    assert a == b != c


def test_of_talks_and_of_lhotse_s_recordings_a_file_is_one() -> None:
    import miniature_rows

    for corpus in ("tedlium3", "lhotse"):
        session = registry.load(corpus).session
        assert session is not None
        a, b = (session(miniature_rows.row(name, sha256=name[:1])) for name in ("a-1", "a-2"))
        assert a == b != session(miniature_rows.row("b-1", sha256="b"))
