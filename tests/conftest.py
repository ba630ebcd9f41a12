"""No network in any test, and the suite `tiny` in place of the real ones for those that ask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

# no test may reach a network, whatever the machine allows
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"


class _NoAlias(yaml.SafeDumper):
    """Task files may not use aliases, so shared parts are written out."""

    def ignore_aliases(self, data: object) -> bool:
        return True


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite `tiny` in place of the real ones, cache and runs in the test's own folder. Returns its folder."""
    from tiny_suite import SAY, TAKE, TINY, write_corpus, write_trials

    from tasks import catalogue

    suite = tmp_path / "suites" / "tiny"
    rows = write_corpus(suite / "data" / "tones")
    for split in ("dev", "test"):
        write_trials(suite / "trials" / f"{split}.csv.gz", [r for r in rows if r["split"] == split])
    few = [row["id"] for row in rows if row["split"] == "test" and row["label"] != "take2"]
    (suite / "lists").mkdir()
    (suite / "lists" / "few.csv").write_text("id\n" + "".join(f"{i}\n" for i in few))
    for task in (TINY, TAKE, SAY):
        (suite / f"{task['task']}.yaml").write_text(yaml.dump(task, Dumper=_NoAlias))
    monkeypatch.setattr(catalogue, "HERE", suite.parent)
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POST_SUPERB_RUNS", str(tmp_path / "runs"))
    return suite
