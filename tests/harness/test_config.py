"""Names and YAML: strict, safe, and every complaint one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_suite import TINY

from harness.config import Task, parse, read_yaml
from harness.errors import UserError
from harness.registry import Registry, suggest
from tasks import catalogue


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"asv\.yaml: unknown key 'fornt_end'; did you mean front_end\?"):
        parse(Task, {**TINY, "fornt_end": []}, "asv.yaml")


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
