"""CONTRIBUTING.md, block by block, in a copy of the repository: what it shows is what works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, list[tuple[str, str]]]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0]: BLOCK.findall(part) for part in parts}


def place(block: str, copy: Path) -> None:
    """Write a file block where its first line says; one 'at the end of `ood:`' goes before `heads:`."""
    first, _, body = block.partition("\n")
    path = copy / re.match(r"# ([\w/.]+)", first)[1]
    if "at the end of" in first:
        text = path.read_text()
        assert text.count("\nheads:\n") == 1
        path.write_text(text.replace("\nheads:\n", f"\n{body}\nheads:\n"))
        return
    assert not path.exists(), f"{path} is there already"
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "__init__.py").touch() if path.suffix == ".py" else None
    path.write_text(body)


@pytest.mark.parametrize("title", list(sections()))
def test_what_the_section_shows_runs(title: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for room in ("harness", "upstreams", "downstreams", "tasks", "leaderboard"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        **os.environ,
        "POST_SUPERB_CACHE": str(tmp_path / "cache"),
        "POST_SUPERB_RUNS": str(tmp_path / "runs"),
        "PYTHONPATH": str(copy),
    }
    blocks = sections()[title]
    assert any(language == "sh" for language, _ in blocks)
    for language, block in blocks:
        if language != "sh":
            place(block, copy)
            continue
        for line in block.strip().splitlines():
            assert line.startswith("python ")
            done = subprocess.run(
                [sys.executable, *line.split()[1:]], cwd=copy, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
