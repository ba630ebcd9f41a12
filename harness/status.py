"""What became of the cells under a runs folder, and metrics again from a run's own predictions. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout
from tabulate import tabulate

from harness import store
from harness.errors import UserError
from harness.evaluate import score
from harness.metrics import METRICS
from harness.paths import cache_dir
from harness.results import RESULT, load_result
from harness.wording import counted


def table(out: Path) -> str:
    """One line a cell: done, under way, interrupted or failed, and why."""
    rows = []
    for lock in sorted(out.glob("*/*/*/*/lock")):
        folder = lock.parent
        rows.append([*folder.relative_to(out).parts, *_state(folder)])
    if not rows:
        return f"no cell was ever started under {out}"
    return tabulate(rows, headers=["suite", "task", "upstream", "cell", "state", "detail"], tablefmt="simple")


def _state(folder: Path) -> tuple[str, str]:
    try:
        with FileLock(folder / "lock", timeout=0):
            pass
    except Timeout:
        return "under way", _progress(folder)
    if (folder / "failed.txt").exists():
        return "failed", (folder / "failed.txt").read_text().strip()
    if not (folder / RESULT).exists():
        return "interrupted", _progress(folder)
    try:
        return "done", counted(len(load_result(folder).splits), "split")
    except UserError as error:
        return "failed", str(error)


def _progress(folder: Path) -> str:
    scored = len(list((folder / "predictions").glob("*.jsonl.gz")))
    if (folder / "selection.json").exists():
        return f"head chosen, {counted(scored, 'split')} predicted"
    return "training" if any(folder.glob("training*.pt")) else "features or first steps of training"


def cache(what: str, upstream: str | None) -> str:
    """`ls`: a line for each upstream with stored features. `clear`: remove them, and say how much came free."""
    root = cache_dir() / "features"
    if what == "clear":
        freed = sum(sum(held.bytes.values()) for held in store.clear(root, upstream))
        return f"{freed / store.GB:.2f} GB freed under {root}"
    rows = []
    for held in store.holdings(root):
        clips = max(held.arrays.values(), default=0)
        megabytes = {form: f"{size / 2**20:.1f}" for form, size in held.bytes.items()}
        sizes = [megabytes.get(form, "") for form in ("frames", "means", "blocks")]
        rows.append([held.upstream, held.fingerprint[:12], clips, *sizes])
    if not rows:
        return f"no features are stored under {root}"
    headers = ["upstream", "fingerprint", "clips", "frames MB", "means MB", "blocks MB"]
    return f"{root}\n{tabulate(rows, headers=headers, tablefmt='simple')}"


def rescore(folder: Path) -> int:
    """Print every metric anew from the predictions; 2 where one differs from what the result says."""
    result = load_result(folder)
    kind = METRICS[result.metric].kind
    rows, differing = [], []
    for name, split in result.splits.items():
        figures = score(folder, name, kind, result.metric)
        for metric, value in figures["metrics"].items():
            stored = split.metrics.get(metric)
            if stored != value:
                differing.append(f"{name} {metric}")
            rows.append([name, metric, f"{value:.4f}", "same" if stored == value else f"result says {stored}"])
    print(tabulate(rows, headers=["split", "metric", "from predictions", "stored"], disable_numparse=True))
    if differing:
        raise UserError(f"{folder}: predictions and result disagree on {', '.join(differing)}; run the cell again")
    return 0
