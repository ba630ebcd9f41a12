"""What makes a cell another cell: the published ones keep their names, and a corpus that comes later changes none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tiny_suite import write_corpus

from harness import cell as cell_module
from harness import cell_training
from harness.cell import Cell, CellName, run_cell
from harness.cell_head import build_head
from harness.config import Runtime
from harness.paths import ROOT
from harness.results import RunResult, identity_hash
from tasks import catalogue, prepared

TASKS = sorted(path.name for path in (ROOT / "leaderboard" / "results" / "mini").iterdir())


@pytest.mark.parametrize("name", TASKS)
def test_published_cells_keep_their_identity(name: str) -> None:
    """Recomputed from the tasks as they are now, all but the weights, whose fingerprint is the published one."""
    task, _ = catalogue.load(name, "mini")
    data = catalogue.Data(task)
    seen = set()
    for path in sorted((ROOT / "leaderboard" / "results" / "mini" / name).rglob("result.json")):
        result = RunResult.model_validate_json(path.read_bytes())
        if (result.head, result.preset, result.upstream.base) in seen:
            continue
        seen.add((result.head, result.preset, result.upstream.base))
        cell = Cell.__new__(Cell)
        cell.name = CellName("mini", name, result.upstream.name, result.head, None, result.seed, result.recipe_seed)
        cell.task, cell.data = task, data
        cell.upstream = SimpleNamespace(fingerprint=result.upstream.fingerprint, base=result.upstream.base,
                                        derived_from=None)  # fmt: skip
        cell.head_name, cell.preset_name = result.head, result.preset
        cell.preset = cell._preset()
        cell.head = build_head(result.head, cell.preset.options, "cpu")
        assert identity_hash(cell._identity()) == result.identity_hash, path
    assert seen


@pytest.fixture
def later(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A tiny task with a kind-R split on a corpus that the user has not, until this is called."""
    mine = {part: {"rows": [{"corpus": "mine", "split": part}]} for part in ("train", "dev", "test")}
    split = {"kind": "R", "shift": "mine", "train": mine["train"], "dev": mine["dev"]}
    take = yaml.safe_load((tiny / "take.yaml").read_text())
    take["ood"] = [{"name": "later", **split, "rows": mine["test"]["rows"]}]
    (tiny / "take.yaml").write_text(yaml.safe_dump(take, sort_keys=False))
    monkeypatch.setenv("POST_SUPERB_CORPORA", str(tmp_path / "corpora.yaml"))
    (tmp_path / "corpora.yaml").write_text("corpora:\n")
    # to the catalogue a corpus of a name that only a user's file may know is absent until it is there
    monkeypatch.setattr(catalogue, "_embedded", lambda corpus, suite: corpus == "tones")

    def arrive(takes: int = 3) -> None:
        prepared._ready.clear()  # another process, so to speak
        write_corpus(tmp_path / "mine", takes=takes)
        (tmp_path / "corpora.yaml").write_text("corpora:\n  mine: {manifest: mine/manifest.csv}\n")

    return arrive


def run(tmp_path: Path) -> tuple[Path, RunResult]:
    return run_cell(CellName("tiny", "take_ood", "fbank"), Runtime(out=tmp_path / "runs", cache=tmp_path / "cache"))


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is trained and scored from here on."""
    seen: list[str] = []
    fit, evaluate = cell_training.fit, cell_module.evaluate
    monkeypatch.setattr(cell_training, "fit", lambda *a, **k: (seen.append("fit " + k["what"]), fit(*a, **k))[1])
    monkeypatch.setattr(cell_module, "evaluate", lambda *a, **k: (seen.append(a[3].name), evaluate(*a, **k))[1])
    return seen


def test_a_corpus_that_comes_later_is_added_to_the_finished_cell(
    later: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = run(tmp_path)
    assert list(before.splits) == ["test"]
    later()
    seen = watch(monkeypatch)
    again, after = run(tmp_path)
    assert again == folder and after.identity == before.identity
    assert after.splits["test"] == before.splits["test"] and after.selection == before.selection
    assert after.splits["later"].kind == "R" and len(after.splits["later"].head_data_sha256) == 64
    assert [line.partition(",")[0] for line in seen] == [f"fit take-later-{after.splits['later'].head_data_sha256[:8]}",
                                                        "later"]  # fmt: skip
    seen.clear()
    assert run(tmp_path) == (folder, after) and seen == []


def test_it_is_the_same_whether_it_comes_first_or_later(later: Callable[..., None], tmp_path: Path) -> None:
    run(tmp_path)
    later()
    _, added = run(tmp_path)
    _, whole = run_cell(
        CellName("tiny", "take_ood", "fbank"), Runtime(out=tmp_path / "other", cache=tmp_path / "cache")
    )
    assert whole.splits == added.splits and whole.identity_hash == added.identity_hash


def test_other_rows_of_it_train_its_own_head_again_and_no_other(
    later: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later()
    folder, before = run(tmp_path)
    later(takes=2)
    seen = watch(monkeypatch)
    again, after = run(tmp_path)
    assert again == folder and after.splits["test"] == before.splits["test"]
    assert [line.startswith("fit take-later-") for line in seen] == [True, False] and seen[1] == "later"
    assert after.splits["later"].head_data_sha256 != before.splits["later"].head_data_sha256


def test_killed_after_its_head_was_trained_again_the_old_figure_does_not_stay(
    later: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later()
    _, before = run(tmp_path)
    later(takes=2)
    with monkeypatch.context() as patch:
        patch.setattr(cell_module, "evaluate", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    _, after = run(tmp_path)
    assert after.splits["later"].head_data_sha256 != before.splits["later"].head_data_sha256


def test_an_embedded_kind_r_split_is_in_the_identity(tiny: Path, tmp_path: Path) -> None:
    runtime = Runtime(out=tmp_path / "runs", cache=tmp_path / "cache")
    cell = Cell(CellName("tiny", "asv", "fbank"), runtime)
    assert "head of others" in cell.identity and cell_training.own_data(cell, cell.task.ood[1]) == ""
