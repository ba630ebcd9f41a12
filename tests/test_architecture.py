"""The rooms: who may import whom, what needs torch, and that no file grows past a sitting."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("harness", "upstreams", "downstreams", "tasks", "leaderboard")
MAY = {
    "harness": {"harness"},
    "upstreams": {"upstreams", "harness"},
    "downstreams": {"downstreams", "harness"},
    "tasks": {"tasks", "harness"},
    "leaderboard": {"leaderboard", "harness"},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    foreign = {name for name in imports(path) if name.split(".")[0] in ROOMS and name.split(".")[0] not in MAY[room]}
    assert not foreign


def test_only_the_bridge_imports_s3prl() -> None:
    guilty = {str(p.relative_to(ROOT)) for p in FILES if any(n.split(".")[0] == "s3prl" for n in imports(p))}
    assert guilty and guilty <= {"upstreams/s3prl_bridge.py", "upstreams/s3prl_bench.py", "upstreams/s3prl_shims.py"}


def test_only_audio_reads_sound() -> None:
    """The maker of the embedded data and the in-memory codecs write sound; nothing else opens a file of it."""
    guilty = {str(p.relative_to(ROOT)) for p in FILES if "soundfile" in imports(p)}
    allowed = {"harness/audio.py", "tasks/condition_ops.py", "upstreams/s3prl_shims.py"}
    assert {g for g in guilty if not g.startswith("tasks/mini/make/")} <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 330


def test_packages_are_empty() -> None:
    assert [str(p) for p in FILES if p.name == "__init__.py" and p.read_text().strip()] == []


def test_the_leaderboard_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'torchaudio', 'transformers', 's3prl'): sys.modules[name] = None\n"
        "import leaderboard.build\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_unsafe_is_called() -> None:
    """No eval or exec, YAML read safely only, pickles with weights only, no shell."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert name not in ("eval", "exec", "yaml.load", "pickle.load", "pickle.loads", "os.system"), (
                f"{path}: {name}"
            )
            assert name != "torch.load" or given.get("weights_only") == "True", (
                f"{path}: torch.load without weights_only"
            )
            assert given.get("shell", "False") == "False", f"{path}: shell"
            assert given.get("trust_remote_code", "False") == "False", f"{path}: trust_remote_code"
