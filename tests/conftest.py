"""No network in any test, and the suite `tiny` in place of the real ones for those that ask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

# no test may reach a network, whatever the machine allows
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite `tiny` in place of the real ones, cache and runs in the test's own folder. Returns its folder."""
    from tiny_suite import TINY, write_corpus, write_trials

    from tasks import catalogue

    suite = tmp_path / "suites" / "tiny"
    rows = write_corpus(suite / "data" / "tones")
    for split in ("dev", "test"):
        write_trials(suite / "trials" / f"{split}.csv.gz", [r for r in rows if r["split"] == split])
    (suite / "asv.yaml").write_text(yaml.safe_dump(TINY))
    monkeypatch.setattr(catalogue, "HERE", suite.parent)
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POST_SUPERB_RUNS", str(tmp_path / "runs"))
    return suite
