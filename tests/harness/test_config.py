"""Names and YAML: strict, safe, and every complaint one line that says what to do."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_suite import TINY

from harness.cli import main
from harness.config import Task, parse, read_yaml
from harness.errors import UserError
from harness.registry import Registry, suggest
from harness.wording import counted, disk
from tasks import catalogue


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"asv\.yaml: unknown key 'fornt_end'; did you mean front_end\?"):
        parse(Task, {**TINY, "fornt_end": []}, "asv.yaml")


@pytest.mark.parametrize(
    ("place", "typo", "near"),
    [
        (("heads", "xvector", "presets", "tiny", "plan"), "stepz", "steps"),
        (("heads", "xvector", "presets", "tiny"), "lr", "lrs"),
        (("heads", "xvector"), "default", "default_for"),
        (("ood", 0), "confounde", "confounded"),
        (("train", "rows", 0), "splt", "split"),
        ((), "suit", "suite"),
    ],
)
def test_a_typo_is_compared_with_the_keys_of_its_own_level(place: tuple, typo: str, near: str) -> None:
    task = copy.deepcopy(TINY)
    level: Any = task
    for part in place:
        level = level[part]
    level[typo] = 1
    path = ".".join(map(str, (*place, typo)))
    with pytest.raises(UserError) as caught:
        parse(Task, task, "asv.yaml")
    assert str(caught.value) == f"asv.yaml: unknown key {path!r}; did you mean {near}?"


def test_a_key_like_none_of_its_level_gets_no_suggestion_from_another() -> None:
    task = copy.deepcopy(TINY)
    task["heads"]["xvector"]["presets"]["tiny"]["plan"]["higher_is_better"] = 1
    with pytest.raises(UserError, match="plan.higher_is_better'$"):
        parse(Task, task, "asv.yaml")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "C", "of": None}, "kind C wants `of`"),
        ({"kind": "Z", "condition": []}, "kind Z wants `rows`"),
        ({"name": "test"}, "must be unique"),
        ({"of": "tset"}, "names no split"),
    ],
)
def test_an_ood_split_must_fit_its_kind(change: dict, complaint: str) -> None:
    task = {**TINY, "ood": [{**TINY["ood"][0], **change}]}
    with pytest.raises(UserError, match=complaint):
        parse(Task, task, "asv.yaml")


def test_an_unknown_metric_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(UserError, match="unknown metric 'err': one of eer"):
        parse(Task, {**TINY, "metric": "err"}, "asv.yaml")


def test_yaml_is_read_safely(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for text, complaint in [
        ("a: !!python/object/apply:os.system ['true']", "not readable YAML"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("- 1", "mapping wanted"),
        ("a: " + "x" * (1 << 20), "1 MiB"),
    ]:
        file.write_text(text)
        with pytest.raises(UserError, match=complaint):
            read_yaml(file)
    with pytest.raises(UserError, match="missing"):
        read_yaml(tmp_path / "none.yaml")


def test_every_committed_task_loads_and_names_itself() -> None:
    for suite in catalogue.suites():
        for name in catalogue.names(suite):
            task, ood = catalogue.load(name, suite)
            assert task.suite == suite and name == task.task + ("_ood" if ood else "")


def test_no_two_tasks_read_alike(tiny: Path) -> None:
    task = yaml.safe_load((tiny / "asv.yaml").read_text())
    (tiny / "asv.yaml").write_text(yaml.safe_dump({**task, "versoin": 2}))
    with pytest.raises(UserError, match="unknown key 'versoin'; did you mean version"):
        catalogue.load("asv", "tiny")


def test_a_registry_refuses_doubles_and_suggests() -> None:
    registry = Registry("head", {"xvector": "downstreams.asv:XVector"})
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("xvector", "a:b")
    with pytest.raises(UserError, match="unknown head 'xvectr'; did you mean xvector"):
        registry.load("xvectr")
    assert registry.load("xvector").name == "xvector"
    assert suggest("zzz", ["abc"]) == ""


def test_a_broken_yaml_is_named_and_the_other_tasks_stay(tiny: Path, capsys) -> None:
    (tiny / "torn.yaml").write_text("task: [torn")
    (tiny / "odd.yaml").write_text(yaml.safe_dump({**yaml.safe_load((tiny / "asv.yaml").read_text()), "versoin": 2}))
    assert catalogue.names("tiny") == ["asv", "asv_ood", "say", "say_ood", "take", "take_ood"]
    first, second = capsys.readouterr().err.strip().splitlines()
    assert "left out: odd.yaml: unknown key 'versoin'" in first and "torn.yaml is not readable YAML" in second
    assert main(["list", "tasks"]) == 2
    shown = capsys.readouterr()
    assert "take_ood" in shown.out and "torn.yaml" in shown.err
    task, _ = catalogue.load("take", "tiny")
    assert task.task == "take" and capsys.readouterr().err == ""
    for name, complaint in (("odd_ood", "versoin"), ("torn", "not readable YAML"), ("tkae", "did you mean take")):
        with pytest.raises(UserError, match=complaint):
            catalogue.load(name, "tiny")
    with pytest.raises(UserError, match="unknown suite '../tiny'"):
        catalogue.load("take", "../tiny")


@pytest.mark.parametrize(
    ("op", "where"), [({"op": "crop", "seconds": 1}, "cut"), ({"op": "trim_silence"}, "front_end")]
)
def test_conditions_that_move_the_phones_are_refused_where_times_are_scored(tiny: Path, op: dict, where: str) -> None:
    task = {**yaml.safe_load((tiny / "take.yaml").read_text()), "task": "when", "kind": "frames"}
    task["metric"] = "frame_accuracy"
    split = {"name": "cut", "kind": "C", "of": "test", "shift": "s", "condition": [{"op": "gain", "db": -3}]}
    (tiny / "when.yaml").write_text(yaml.safe_dump({**task, "ood": [split]}))
    assert catalogue.load("when", "tiny")[0].kind == "frames"
    moved = {"front_end": [op]} if where == "front_end" else {"ood": [{**split, "condition": [op]}]}
    (tiny / "when.yaml").write_text(yaml.safe_dump({**task, **moved}))
    with pytest.raises(UserError, match=f"when.yaml: {where}: ops that keep the length wanted.*found {op['op']}"):
        catalogue.load("when", "tiny")


@pytest.mark.parametrize(
    ("kind", "text", "complaint"),
    [
        ("words", "room 7", "found the digit '7'"),
        ("phones", "train none", "has no phones for 'NONE'"),
        ("words", "", "text wanted, found none"),
        ("classification", "x", "label wanted, found none"),
    ],
)
def test_a_bad_reference_is_named_by_file_and_row(tiny: Path, kind: str, text: str, complaint: str) -> None:
    (tiny / "lexicon.csv").write_text("word,phones\nTRAIN,T R EY N\nONE,W AH N\nTWO,T UW\n")
    data = catalogue.Data(catalogue.load("say", "tiny")[0].model_copy(update={"kind": kind}))
    found = data.corpus("tones")
    at = next(place for place, row in enumerate(found) if row.id == "p01-1")
    found[:] = [replace(row, text="train one") for row in found]
    found[at] = replace(found[at], text=text, label="")
    with pytest.raises(UserError) as caught:
        data.named("train")
    assert str(caught.value).startswith(f"{tiny / 'data' / 'tones' / 'manifest.csv'}, row p01-1: ")
    assert complaint in str(caught.value)


def test_counts_are_grammatical() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 1200)] == ["0 rows", "1 row", "2 rows", "1,200 rows"]
    assert [disk(n) for n in (-1, 2_400_000, 1_250_000_000)] == ["0 MB", "2 MB", "1.2 GB"]
