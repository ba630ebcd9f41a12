"""Probes: what they learn on made-up features, what they are compared with, test rows that are new and scored once."""

from __future__ import annotations

import csv
import dataclasses
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from analysis_stages import write_probe_data, write_stages
from crossed_tones import Toy

from harness import analyse
from harness.contracts import SplitData, TrialSpec, Utterance
from harness.errors import UserError
from harness.recipe import Job
from harness.results import Interval
from upstreams.vib import probe_data
from upstreams.vib.analysis import stages
from upstreams.vib.probe_data import check_new, labelled
from upstreams.vib.probing import AttentionProbe, Settings, probe, verdict

QUICK = Settings(steps=60, batch=16, lrs=(1e-2,), evaluations=4)


class MadeUp:
    """Frames (T, 2, 4) whose second layer holds the class in one frame of each utterance, large enough to be found."""

    level, num_layers, dim, stride = "frame", 2, 4, 320

    def __init__(self, known: dict[str, str]):
        self.known = known

    def frames(self, name: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(int(name.partition("-")[2]))
        frames = 0.1 * torch.randn(5 + int(name[-1]) % 3, 2, 4, generator=generator)
        frames[2, 1] = torch.tensor([0.0, 4.0, 0.0, 0.0] if self.known[name] == "b" else [4.0, 0.0, 0.0, 0.0])
        return frames


def rows(split: str, count: int) -> SplitData:
    base = Utterance("", "made", split, None, "x", 0, 1, 16000, "", "sure", "", "", "", "", "", "", "", "")
    utterances = [dataclasses.replace(base, id=f"{split}-{i}", speaker=f"s{i % 9}") for i in range(count)]
    return SplitData(split, utterances, references={u.id: "ab"[i % 2] for i, u in enumerate(utterances)})


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, SplitData], MadeUp]:
    splits = {name: rows(name, count) for name, count in (("train", 40), ("dev", 10), ("test", 20))}
    return splits, MadeUp({name: label for split in splits.values() for name, label in split.references.items()})


def test_a_class_in_one_frame_is_found(made: tuple[dict[str, SplitData], MadeUp]) -> None:
    splits, source = made
    found = probe(source, splits, False, None, QUICK, "cpu", "x")  # type: ignore[arg-type]
    assert found.value == 100.0 and found.verdict == "better than chance"
    assert found.chance == found.constant == 50.0 and (found.low, found.high) == (100.0, 100.0)
    assert (found.test, found.speakers, found.metric) == (20, 9, "accuracy")


def test_labels_that_features_do_not_tell_are_at_chance(made: tuple[dict[str, SplitData], MadeUp]) -> None:
    splits, source = made
    blind = MadeUp({**source.known, **dict.fromkeys(splits["test"].references, "a")})
    found = probe(blind, splits, False, None, QUICK, "cpu", "x")  # type: ignore[arg-type]
    assert found.value == 50.0 and found.verdict == "at chance"


def test_every_test_row_is_scored(made: tuple[dict[str, SplitData], MadeUp], monkeypatch: pytest.MonkeyPatch) -> None:
    splits, source = made
    whole = AttentionProbe.predict

    def loses_one(self: AttentionProbe, *args: object) -> Iterator[dict[str, str]]:
        yield from list(whole(self, *args))[1:]  # type: ignore[arg-type]

    monkeypatch.setattr(AttentionProbe, "predict", loses_one)
    with pytest.raises(UserError, match="20 predictions wanted, found 19"):
        probe(source, splits, False, None, QUICK, "cpu", "x")  # type: ignore[arg-type]


def test_the_query_starts_at_ones_and_padding_has_no_weight(made: tuple[dict[str, SplitData], MadeUp]) -> None:
    splits, source = made
    head = AttentionProbe(8)
    learner = head.learner(source, splits["train"], [TrialSpec(1e-3, 0)])  # type: ignore[arg-type]
    net: Any = learner.nets[0]
    assert net.query.tolist() == [1.0] * 4
    torch.nn.init.normal_(net.mix, generator=torch.Generator().manual_seed(0))
    frames = [source.frames(f"train-{i}").transpose(0, 1) for i in range(4)]
    together = net(torch.cat(frames, dim=1), [f.shape[1] for f in frames])
    for found, f in zip(together, frames, strict=True):
        mixed = (net.mix.softmax(dim=0)[:, None, None] * f).sum(dim=0)
        pooled = (mixed @ net.query).softmax(dim=0) @ mixed
        assert torch.allclose(found, net.linear(pooled), atol=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "higher", "wanted"),
    [(30, 40, True, "better than chance"), (20, 30, True, "at chance"), (5, 20, True, "worse than chance"),
     (30, 40, False, "worse than chance"), (5, 20, False, "better than chance")],
)  # fmt: skip
def test_verdict_by_interval(low: float, high: float, higher: bool, wanted: str) -> None:
    assert verdict(Interval(low=low, high=high, draws=10), 25.0, 25.0, higher, None, 100) == wanted


@pytest.mark.parametrize(
    ("low", "high", "wanted"), [(51, 60, "better than chance"), (30, 60, "at chance"), (30, 40, "at chance"),
                                (10, 24, "worse than chance")],
)  # fmt: skip
def test_uneven_classes_raise_the_bar_of_better_alone(low: float, high: float, wanted: str) -> None:
    assert verdict(Interval(low=low, high=high, draws=10), 25.0, 50.0, True, None, 100) == wanted


@pytest.mark.parametrize(
    ("right", "wanted"), [(25, "at chance"), (34, "better than chance"), (32, "at chance"), (15, "worse than chance")]
)
def test_verdict_without_interval_is_a_binomial_test(right: int, wanted: str) -> None:
    assert verdict(None, 25.0, 25.0, True, right, 100) == wanted


def test_no_interval_and_no_count_is_no_verdict() -> None:
    assert verdict(None, 100.0, 100.0, False, None, 100) == "n/a"


# -- on stages and a suite of tones ---------------------------------------------------------------------------------


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("upstreams.catalogue.build", lambda name, **more: Toy(name))
    return write_probe_data(tmp_path / "suite")


def job(data: Path) -> Job:
    return Job("vib", "toy", data, [0])


def chosen(*files: Path) -> Namespace:
    return Namespace(checkpoint=list(files), preset="mini")


def test_quartiles_come_from_train_alone(suite: Path) -> None:
    made = job(suite)
    everyone = [u.id for split in made.splits.values() for u in split.utterances]
    values = {name: {"pitch_mean": float(at)} for at, name in enumerate(everyone)}
    before = labelled("pitch_mean", made, values)
    moved = {name: value if "s05" not in name else {"pitch_mean": 1e9} for name, value in values.items()}
    after = labelled("pitch_mean", made, moved)
    assert before.edges == after.edges and len(before.edges) == 3
    assert set(after.splits["test"].references.values()) >= {"q4"}
    train = list(before.splits["train"].references.values())
    assert [train.count(f"q{n}") for n in (1, 2, 3, 4)] == [2, 2, 2, 3]
    assert before.undefined == {"train": 0, "dev": 0, "test": 0}


def test_undefined_measures_are_counted(suite: Path) -> None:
    made = job(suite)
    rows = [u for split in made.splits.values() for u in split.utterances]
    values = {u.id: {"pitch_mean": float("nan") if "s00" in u.id or "s05" in u.id else float(at)}
              for at, u in enumerate(rows)}  # fmt: skip
    assert labelled("pitch_mean", made, values).undefined == {"train": 3, "dev": 0, "test": 3}


def test_genders_are_those_of_the_list_and_blends_are_left_out(suite: Path) -> None:
    found = labelled("gender", job(suite), {})
    train = found.splits["train"]
    assert {u.speaker for u in train.utterances} == {"p00", "p01", "p03", "p04"}
    assert {train.references[u.id] for u in train.utterances if u.speaker == "p01"} == {"male"}


def test_a_test_row_that_a_stage_was_trained_on_is_refused(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = suite.parents[1]
    monkeypatch.setattr(probe_data, "ROOT", root)
    (root / "tasks").symlink_to(root)  # the recipe's YAML is tasks/suite/crossed.yaml
    recipe = suite.parent / "crossed.yaml"  # trains on speakers 0 to 4, all sentences
    files = write_stages(root, data="suite/crossed version 1", data_hash=Job("vib", "toy", recipe, [0]).data_hash)
    made = job(suite)
    known = stages(made, chosen(files[0]), made.backbone)
    assert check_new(made, [made.splits["read_test"]], known.values()) == {"text": "yes"}
    with pytest.raises(UserError, match="text was trained on 6 of them, first p00-s04"):
        check_new(made, [made.splits["voices_test"]], known.values())


def test_a_stage_whose_data_has_changed_is_refused(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = suite.parents[1]
    monkeypatch.setattr(probe_data, "ROOT", root)
    (root / "tasks").symlink_to(root)
    files = write_stages(root, data="suite/crossed version 1", data_hash="0" * 64)
    made = job(suite)
    with pytest.raises(UserError, match="not that of crossed.yaml now"):
        check_new(made, [made.splits["read_test"]], stages(made, chosen(files[0]), made.backbone).values())


def test_the_command_writes_the_same_table_twice(suite: Path, tmp_path: Path) -> None:
    for module in ("matplotlib", "parselmouth"):
        pytest.importorskip(module)
    files = write_stages(tmp_path / "stages")
    argv = ["vib", "probe", "--backbone", "toy", "--data", suite,
            "--targets", "speaker,gender,pitch_mean", "--steps", "3",
            "--device", "cpu", "--checkpoint", files[0], "--checkpoint", files[1]]  # fmt: skip
    assert analyse.main([str(part) for part in [*argv, "--out", tmp_path / "a"]]) == 0
    assert analyse.main([str(part) for part in [*argv, "--out", tmp_path / "b", "--again"]]) == 0
    first, second = (tmp_path / folder / "toy" / "probe.csv" for folder in "ab")
    assert first.read_bytes() == second.read_bytes()
    table = list(csv.DictReader(first.open()))
    assert [(row["target"], row["representation"]) for row in table] == [
        (target, name)
        for target in ("speaker", "gender", "pitch_mean")
        for name in ("original", "text", "acoustic_speaker")
    ]
    assert {row["test"] for row in table if row["target"] == "speaker"} == {"6"}
    assert {row["undefined_train"] for row in table if row["target"] == "pitch_mean"} == {"0"}
    assert all(row["low"] == "n/a" and row["test_new"] in ("yes", "unknown") for row in table)
    said = json.loads(first.with_suffix(".json").read_text())
    assert said["inputs"]["text"]["file"] == "text.safetensors" and set(said["files"]) == {"probe.csv", "probe.png"}
    assert said["provenance"]["command"].startswith("python harness/analyse.py vib probe")
