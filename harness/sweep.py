"""The command line of a sweep over alpha: how in-domain and out-of-domain scores go with how far a model is merged.

    python harness/sweep.py -u speech_ft_asr -d all_ood
    python harness/sweep.py -u speech_ft_asr -d asr_ood,pr_ood --alphas 0,0.1,0.25,1 --seeds 0,1,2
    python harness/sweep.py -u speech_ft_asr -d all_ood --from-results      # draw what there is, run nothing

One fine-tuned checkpoint serves all alphas. The cells are those of `run.py`, in the same folder (runs/, or
POST_SUPERB_RUNS): a finished one is read, and so is a published one whose data and settings are those of now. A table,
a figure with a panel a task, and a JSON that says where they came from go to runs/sweeps (--out).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

# `python harness/sweep.py` puts harness/ itself on the path, where config.py or results.py would shadow others
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from collections.abc import Iterable, Sequence  # noqa: E402
from contextlib import suppress  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from statistics import mean  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

import pandas as pd  # noqa: E402

from harness.cli import listed, positive, task_names  # noqa: E402
from harness.errors import NotApplicable, UserError  # noqa: E402
from harness.figures import Outputs, library  # noqa: E402
from harness.paths import ROOT, cache_dir, runs_dir  # noqa: E402
from harness.progress import note  # noqa: E402
from harness.registry import resolve  # noqa: E402
from harness.results import RESULT, RunResult, identity_hash, load_result  # noqa: E402
from harness.shell import Parser, device, guarded, seeds, without_out  # noqa: E402
from harness.sweep_figure import drawn, summary  # noqa: E402

if TYPE_CHECKING:
    from harness.cell import CellName
    from harness.config import Runtime

PUBLISHED = "leaderboard.build:RESULTS"


@dataclass(frozen=True)
class Source:
    """A finished cell, and whether it is `published` or `yours`."""

    result: RunResult
    whose: str


Found = dict[tuple[str, float], list[Source]]
"""By task, as it was asked for, and alpha: a cell a seed."""


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 2 a line to read, 130 interrupted."""
    return guarded(_main, argv)


def _main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    library("matplotlib")  # said before hours of cells, not after
    (upstream, *more) = listed(args.upstream)
    if more:
        raise UserError(f"one upstream a sweep wanted, found {args.upstream}; call it once for each")
    names = names_over(upstream, args.alphas)
    tasks = task_names(args.downstream, args.suite)
    for task in tasks:
        resolve("tasks.catalogue:load")(task, args.suite)  # an unknown one is said once
    place = device(args.device)
    found: Found = {}
    failed: list[str] = []
    every = not {"all", "all_ood"}.isdisjoint(listed(args.downstream))
    for task in tasks:
        for alpha, name in names.items():
            try:
                cells = _cells(args, task, name)
                found[task, alpha] = kept(cells, name) if args.from_results else finished(cells, _runtime(args, place))
            except UserError as error:
                if every and isinstance(error, NotApplicable):
                    note(f"left out: {error} ({name})")
                    continue
                failed.append(f"{name} on {task}")
                print(f"{'missing' if args.from_results else 'error'}: {name} on {task}: {error}", file=sys.stderr)
    table = pd.DataFrame(row for key, cells in found.items() for row in _rows(key, names[key[1]], cells))
    if table.empty:
        raise UserError(f"no cell of {upstream} on {args.downstream} is finished; the lines above say why")
    command = shlex.join(["python", "harness/sweep.py", *without_out(argv)])
    stem = "-".join(["sweep", upstream.replace(":", "_"), *([args.head] if args.head else [])])
    outputs = Outputs(args.out or runs_dir() / "sweeps", stem, command, place)
    outputs.table(table)
    outputs.figure(drawn(table, upstream))
    settings = {
        "upstream": upstream, "alphas": list(names), "names": {f"{a:g}": n for a, n in names.items()}, "tasks": tasks,
        "suite": args.suite, "head": args.head, "preset": args.preset or args.suite, "seeds": args.seeds,
        "recipe_seed": args.recipe_seed, "missing": failed,
    }  # fmt: skip
    paths = outputs.close(settings, _inputs(found, names))
    print(summary(table))
    for path in paths:
        print(f"written: {path}")
    if failed and not args.from_results:
        raise UserError(f"{len(failed)} of {len(names) * len(tasks)} cells failed; the lines above say why")
    return 0


def names_over(upstream: str, alphas: Iterable[float]) -> dict[float, str]:
    """By alpha, the upstream's name, as its family has it; 0 is always there, to compare with. Raises UserError for an
    upstream whose family has no alpha."""
    family = resolve("upstreams.catalogue:describe")(upstream)["family"]
    if not (ROOT / "upstreams" / str(family) / "sweep.py").is_file():
        raise UserError(f"{upstream}: an upstream that is merged at an alpha wanted, such as speech_ft_asr")
    name_at = resolve(f"upstreams.{family}.sweep:name_at")
    return {alpha: name_at(upstream, alpha) for alpha in sorted({0.0, *alphas})}


# -- cells ------------------------------------------------------------------------------------------------------------


def _cells(args: argparse.Namespace, task: str, name: str) -> list[CellName]:
    from harness.cell import CellName

    return [
        CellName(args.suite, task, name, args.head, args.preset, seed, args.recipe_seed) for seed in args.seeds
    ]


def finished(names: Sequence[CellName], runtime: Runtime) -> list[Source]:
    """The cells, those read that are published, the others run or read. Raises UserError as `run_group`."""
    from harness.cell import Cell, run_group

    published: dict[int, RunResult] = {}
    if any(_folders(resolve(PUBLISHED), names[0])):
        first = Cell(names[0], runtime)
        for name in names:
            cell = first.with_seed(name.seed)
            for result in _read(resolve(PUBLISHED), name):
                same = result.identity_hash == identity_hash(cell.identity)
                # the identity does not cover the test sets
                if same and not cell.stale(result.splits):
                    published[name.seed] = result
    rest = [name for name in names if name.seed not in published]
    ran = run_group(rest, runtime) if rest else []
    return _by_seed([*(Source(one, "published") for one in published.values()),
                     *(Source(one, "yours") for _, one in ran)])  # fmt: skip


def kept(names: Sequence[CellName], shown: str) -> list[Source]:
    """The cells as far as there are results, of your own runs the latest, else the published one; what they were
    computed from is not looked at. Raises UserError, with the command that makes them, where none is there."""
    first = names[0]
    task, _ = resolve("tasks.catalogue:load")(first.task, first.suite)
    head = first.head or task.default_head("frame")
    found = {}
    for name in names:
        for root, whose in ((runs_dir(), "yours"), (resolve(PUBLISHED), "published")):
            fits = [one for one in _read(root, name) if _is(one, name, head)]
            if fits and name.seed not in found:
                found[name.seed] = Source(max(fits, key=lambda one: one.provenance.started), whose)
    if not found:
        missing = ",".join(str(name.seed) for name in names)
        head_given = f" --head {first.head}" if first.head else ""
        raise UserError(
            f"no result; make it with python harness/run.py -u {shown} -d {first.task}{head_given} --seeds {missing}"
        )
    return _by_seed(found.values())


def _by_seed(sources: Iterable[Source]) -> list[Source]:
    """One a seed: a head without training has one for all."""
    return list({one.result.seed: one for one in sorted(sources, key=lambda one: one.result.seed)}.values())


def _is(result: RunResult, name: CellName, head: str) -> bool:
    """A backbone was not post-trained, so its recipe seed is 0; a head without training has the seed 0."""
    recipe_seed = 0 if result.upstream.family == "backbones" else name.recipe_seed
    seed = name.seed if result.selection.lr is not None else 0
    return (result.head, result.preset, result.seed, result.recipe_seed) == (
        head, name.preset or name.suite, seed, recipe_seed,
    )  # fmt: skip


def _folders(root: Path, name: CellName) -> list[Path]:
    place = root / name.suite / name.task.removesuffix("_ood") / name.upstream.replace(":", "_")
    return sorted(path.parent for path in place.glob(f"*/{RESULT}"))


def _read(root: Path, name: CellName) -> list[RunResult]:
    found = []
    for folder in _folders(root, name):
        with suppress(UserError):  # a damaged neighbour is no matter of this sweep
            found.append(load_result(folder))
    return found


# -- what is written --------------------------------------------------------------------------------------------------


def _rows(key: tuple[str, float], name: str, cells: Sequence[Source]) -> list[dict[str, Any]]:
    """A row a split: the mean score of the seeds, and the interval of the first, as on the leaderboard."""
    asked, alpha = key
    first = cells[0].result
    rows = []
    for split, one in sorted(first.splits.items(), key=lambda item: item[1].kind != "ID"):
        if one.kind != "ID" and not asked.endswith("_ood"):
            continue
        scores = [c.result.splits[split].metrics[first.metric] for c in cells if split in c.result.splits]
        span = one.intervals.get(first.metric)
        rows.append({
            "task": first.task, "split": split, "kind": one.kind, "head": first.head, "metric": first.metric,
            "alpha": alpha, "upstream": name, "score": mean(scores), "low": span.low if span else None,
            "high": span.high if span else None, "seeds": len(scores),
        })  # fmt: skip
    return rows


def _inputs(found: Found, names: dict[float, str]) -> dict[str, Any]:
    """By task, upstream and seed, the cell."""
    return {
        f"{one.result.task} {names[alpha]} s{one.result.seed}": {
            "identity_hash": one.result.identity_hash, "commit": one.result.provenance.commit, "from": one.whose,
        }
        for (_, alpha), cells in found.items()
        for one in cells
    }  # fmt: skip


def _runtime(args: argparse.Namespace, place: str) -> Runtime:
    from harness.config import Runtime

    return Runtime(
        out=runs_dir(),
        cache=cache_dir(),
        device=place,
        folder=args.folder,
        cache_gb=args.cache_gb,
        encode_batch=16 if place.startswith("cuda") else 1,
    )


def _alphas(text: str) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = [-1.0]
    if not 0 <= found[0] <= found[-1] <= 1:
        raise UserError(f"--alphas: numbers from 0 to 1 with commas wanted, found {text!r}")
    return found


def _parser() -> Parser:
    parser = Parser(prog="sweep.py", description=__doc__)
    add = parser.add_argument
    add("-u", "--upstream", required=True, help="a card that is merged at an alpha: speech_ft_asr, u@backbone")
    add("-d", "--downstream", required=True, help="tasks with commas: asr_ood, ks_ood; all, all_ood")
    add("--alphas", type=_alphas, default=[0.0, 0.25, 0.5, 0.75, 1.0], help="with commas (default 0,0.25,0.5,0.75,1)")
    add("--from-results", action="store_true", help="draw the cells that are finished or published; run none")
    add("--suite", default="mini", help="mini (embedded, default) or another suite")
    add("--head", help="default: the task's own")
    add("--preset", help="how the head trains; default: the suite's name")
    add("--seeds", "--seed", type=seeds, default=[0], help="seeds of the head, with commas (default 0)")
    add("--recipe-seed", type=int, default=0, help="which of the recipe's checkpoints (default 0)")
    add("-k", "--folder", type=Path, help="a local folder with the backbone's weights")
    add("--device", default="auto", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    add("--cache-gb", type=positive, default=20.0, help="disk for stored frames, in GB (default 20)")
    add("--out", type=Path, metavar="FOLDER", help="where the three files go (default runs/sweeps)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
