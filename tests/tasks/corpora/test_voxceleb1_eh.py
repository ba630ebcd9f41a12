"""VoxCeleb1-E and -H: read from their lists, and refused under a head trained on VoxCeleb1 dev."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import pytest
from test_layouts import got

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


def test_a_head_trained_on_its_speakers_is_refused(
    root: Path, folders: Callable[..., Path], tmp_path: Path
) -> None:
    folders(voxceleb1=root, voxceleb1_eh=root)
    task = catalogue.whole("asv", "superb")
    split = task.ood[0].model_copy(update={
        "name": "voxceleb1_e", "kind": "Z", "of": None, "condition": [], "trials": "voxceleb1_e",
        "rows": [catalogue.Rows(corpus="voxceleb1_eh", split="all")]})  # fmt: skip
    with_it = task.model_copy(update={"ood": [split]})
    with pytest.raises(UserError, match="split voxceleb1_e: 2 speakers of its trials in train, first id10001"):
        catalogue.Data(with_it).check_disjoint()
    catalogue.Data(task.model_copy(update={"ood": []})).check_disjoint()


def test_dev_trials_are_of_one_gender_and_of_two_videos(root: Path, tmp_path: Path) -> None:
    found = got("voxceleb1", root, tmp_path)
    trials = found.trials("voxceleb1_dev", {u.id for u in found.rows})
    assert trials and all(t.same["gender"] for t in trials)
    assert all(t.enrol[:7] in DEV_SPEAKERS and t.test[:7] in DEV_SPEAKERS for t in trials)
    assert all(t.enrol[:-6] != t.test[:-6] for t in trials if t.target)
