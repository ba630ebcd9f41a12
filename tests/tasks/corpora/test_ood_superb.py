"""Every split out of domain of every task of the suite `superb`, on miniatures of its corpora."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import miniature_ood as made
import pytest
from miniature import sound

from harness.cell import CellName, run_cell
from harness.config import Runtime
from tasks import catalogue

TASKS = ["asr", "asv", "er_fold2", "ks", "pr", "sid"]


def more_of_vctk(root: Path) -> Path:
    """Enough newspaper sentences that the hash sends some to dev."""
    for speaker in ("p225", "p226"):
        for number in range(27, 60):
            sound(root / "wav48_silence_trimmed" / speaker / f"{speaker}_{number:03d}_mic1.wav", 0.3)
    return made.vctk(root, ".wav")


def more_of_cn_celeb(root: Path) -> Path:
    for number in range(5, 40):
        sound(root / "data" / "id00012" / f"vlog-01-{number:03d}.wav", 0.3)
    return made.cn_celeb(root, ".wav")


@pytest.fixture(scope="module")
def ood_trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("ood")
    makers: dict[str, Callable[[Path], Path]] = {
        "ravdess": made.ravdess, "crema_d": made.crema_d, "emodb": made.emodb, "cn_celeb": more_of_cn_celeb,
        "vctk": more_of_vctk, "l2_arctic": full_l2_arctic, "tedlium3": made.tedlium3, "mswc": made.mswc,
        "common_voice": made.common_voice, "speech_commands_v2": lambda root: miniature.speech_commands(root, "0.02"),
    }  # fmt: skip
    trees = {name: make(top / name) for name, make in makers.items()}
    trees["common_voice_bn"] = trees["common_voice"]
    trees["mswc_de"] = made.mswc(top / "mswc_de", language="de", words=("nein", "vier", "haus", "katze"))
    return trees


def full_l2_arctic(root: Path) -> Path:
    """A speaker of each first language."""
    from tasks.corpora.l2_arctic import FIRST

    for speakers in FIRST.values():
        sound(root / speakers[0] / "wav" / "arctic_b0001.wav", 0.4)
        miniature.text(root / speakers[0] / "transcript" / "arctic_b0001.txt", "One world.")
    return made.l2_arctic(root)


@pytest.fixture
def corpora(trees: Path, ood_trees: dict[str, Path], folders: Callable[..., Path]) -> None:
    folders(**{path.name: path for path in trees.iterdir()}, **ood_trees)


def test_every_split_that_a_yaml_names_has_rows(corpora: None) -> None:
    kinds = set()
    for name in TASKS:
        task, _ = catalogue.load(f"{name}_ood", "superb")
        mine = {split.name: split for split in task.ood if not split.rows or split.rows[0].corpus != "voxceleb1_eh"}
        data = catalogue.Data(task)
        for split in mine.values():
            kinds.add(split.kind)
            found = data.named(split.name)
            assert found.utterances, f"{name}: {split.name}"
            if task.kind == "verification":
                assert {trial.target for trial in found.trials} == {True, False}
            else:
                assert set(found.references) == {u.id for u in found.utterances} and all(found.references.values())
            for part in (split.train, split.dev):
                assert part is None or data.split("", part).references
            if split.train is not None and task.kind == "classification":
                known = set(data.split("", split.train).references.values())
                assert known >= set(found.references.values()), "a class of the test that training has not met"
    assert kinds == {"Z", "R", "C"}


def test_all_splits_but_those_of_voxceleb_were_seen(corpora: None) -> None:
    gone = {split for name in TASKS for split in catalogue.absent(catalogue.whole(f"{name}_ood", "superb"))}
    assert not {name for name in gone if "vox" not in name}


@pytest.mark.parametrize(("name", "split"), [("ks", "german")])
def test_a_cell_with_its_other_corpora(name: str, split: str, corpora: None, tmp_path: Path) -> None:
    runtime = Runtime(out=tmp_path / "runs", cache=tmp_path / "cache")
    _, result = run_cell(CellName("superb", f"{name}_ood", "fbank", preset="trial"), runtime)
    assert result.splits[split].scored == result.splits[split].expected > 0
