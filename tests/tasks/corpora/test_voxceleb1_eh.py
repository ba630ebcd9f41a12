"""VoxCeleb1-E and -H: read from their lists, and refused under a head trained on VoxCeleb1 dev."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import pytest
from test_layouts import got

from harness.cell import CellName, run_cell
from harness.config import Rows, Runtime, Task
from harness.errors import UserError
from tasks import catalogue
from tasks.corpora.voxceleb1 import DEV_SPEAKERS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = miniature.voxceleb1(tmp_path / "vox")
    clips = sorted(path.relative_to(path.parents[2]) for path in root.rglob("id1000*/*/00001.wav"))
    one, two, *others = [clip.as_posix() for clip in clips]
    for name in ("list_test_all2.txt", "list_test_hard2.txt"):
        miniature.text(root / name, f"1 {one} {two}", f"0 {one} {others[0]}")
    return root


def test_the_lists_are_read(root: Path, tmp_path: Path) -> None:
    found = got("voxceleb1_eh", root, tmp_path)
    speaker = {u.id: u.speaker for u in found.rows}
    for name in ("voxceleb1_e", "voxceleb1_h"):
        trials = found.trials(name, speaker)
        assert [t.target for t in trials] == [True, False]
        assert all(t.target == (speaker[t.enrol] == speaker[t.test]) for t in trials)
    assert found.counts["all"]["speakers"] == 7
    assert any("the trial list has 2 pairs, 579,818 wanted" in gap for gap in found.gaps)


@pytest.fixture
def with_it(root: Path, folders: Callable[..., Path]) -> Task:
    """`asv` with VoxCeleb1-E as its one OOD split."""
    folders(voxceleb1=root, voxceleb1_eh=root)
    task = catalogue.whole("asv", "superb")
    split = task.ood[0].model_copy(update={
        "name": "voxceleb1_e", "kind": "Z", "of": None, "condition": [], "trials": "voxceleb1_e",
        "rows": [Rows(corpus="voxceleb1_eh", split="all")]})  # fmt: skip
    return task.model_copy(update={"ood": [split]})


def test_a_head_trained_on_its_speakers_is_refused(with_it: Task) -> None:
    refusal = "split voxceleb1_e: 2 speakers of its trials in train, first id10001; a head is not tested on whom"
    with pytest.raises(UserError, match=refusal):
        catalogue.Data(with_it).check_disjoint()
    catalogue.Data(with_it).check_disjoint(trained=False)
    catalogue.Data(with_it.model_copy(update={"ood": []})).check_disjoint()


def test_a_run_refuses_the_x_vector_and_takes_the_cosine(
    with_it: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "load", lambda name, suite: (with_it, True))
    runtime = Runtime(out=tmp_path / "runs", cache=tmp_path / "cache")
    with pytest.raises(UserError, match="split voxceleb1_e: 2 speakers of its trials in train"):
        run_cell(CellName("superb", "asv_ood", "fbank", preset="trial", head="xvector"), runtime)
    _, result = run_cell(CellName("superb", "asv_ood", "fbank", preset="trial", head="cosine"), runtime)
    assert result.splits["voxceleb1_e"].scored == 2


def test_an_upstream_that_has_heard_them_is_marked(
    with_it: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.leaks import _declared
    from upstreams import catalogue as upstreams

    card = {"trained_on": [{"corpus": "VoxCeleb1", "labels": "speaker"}]}
    monkeypatch.setattr(upstreams, "describe", lambda name: card)
    found = _declared("heard", catalogue.Data(with_it), with_it)
    assert [(row[2], row[-1]) for row in found] == [
        (split, "its card names VoxCeleb1, not which part") for split in ("test", "voxceleb1_e")
    ]


def test_dev_trials_are_of_one_gender_and_of_two_videos(root: Path, tmp_path: Path) -> None:
    found = got("voxceleb1", root, tmp_path)
    trials = found.trials("voxceleb1_dev", {u.id for u in found.rows})
    assert trials and all(t.same["gender"] for t in trials)
    assert all(t.enrol[:7] in DEV_SPEAKERS and t.test[:7] in DEV_SPEAKERS for t in trials)
    assert all(t.enrol[:-6] != t.test[:-6] for t in trials if t.target)
