"""What `run.py` does with its arguments. Heavy modules are imported by the verb that needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from harness.errors import UserError
from harness.paths import cache_dir, runs_dir
from harness.registry import NAME, resolve, suggest
from harness.shell import Parser, device, guarded, seeds

VERBS = ("list", "describe", "check", "score", "status")


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 2 a line to read, 130 interrupted."""
    return guarded(dispatch, argv)


def dispatch(argv: list[str]) -> int:
    first = argv[0] if argv else ""
    if first in VERBS:
        verbs: dict[str, Callable[[list[str]], int]] = {
            "list": _list,
            "describe": _describe,
            "check": _check,
            "score": _score,
            "status": _status,
        }
        return verbs[first](argv[1:])
    if first and not first.startswith("-"):
        raise UserError(
            f"unknown command {first!r}{suggest(first, VERBS)}; without a command, -u UPSTREAM -d TASK runs a cell"
        )
    return _run(argv)


def _parser(verb: str = "", what: str = "") -> Parser:
    return Parser(prog=f"run.py {verb}".strip(), description=what)


def _names(text: str) -> list[str]:
    found = [part for part in text.split(",") if part]
    for name in found:
        if not NAME.match(name):
            raise UserError(f"name {name!r}: letters, digits and _ . + @ - wanted")
    if not found:
        raise UserError("a name wanted, found an empty list")
    return found


def _run(argv: list[str]) -> int:
    import textwrap

    parser = _parser(
        what=textwrap.dedent("""\
        Run cells of the leaderboard: every upstream x task x seed named. A finished cell is read, not run again.

        other commands: list upstreams|tasks, describe NAME, check -u NAME, score RUN, status (each takes --help)""")
    )
    parser.add_argument(
        "-u", "--upstream", required=True, help="name or names with commas: icl_speaker, u@backbone, s3prl:NAME"
    )
    parser.add_argument("-d", "--downstream", required=True, help="task or tasks with commas: asv, asv_ood")
    parser.add_argument("--suite", default="mini", help="mini (embedded, default) or another suite")
    parser.add_argument("--head", help="default: the task's own for the upstream's level")
    parser.add_argument("--preset", help="how the head trains; default: the suite's name")
    parser.add_argument(
        "--seeds", "--seed", type=seeds, default=[0], help="seeds of the head, with commas (default 0)"
    )
    parser.add_argument("--recipe-seeds", "--recipe-seed", type=seeds, default=[0], help="seeds of the post-training")
    parser.add_argument("-k", "--folder", type=Path, help="a local folder with the backbone's weights")
    parser.add_argument(
        "--checkpoint", type=Path, help="a post-training checkpoint in place of the shipped or cached one"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    parser.add_argument(
        "--out", type=Path, default=runs_dir(), help="where results go (default: runs/, or POST_SUPERB_RUNS)"
    )
    args = parser.parse_args(argv)

    from harness.cell import CellName, run_cell
    from harness.config import Runtime

    runtime = Runtime(
        out=args.out, cache=cache_dir(), device=device(args.device), folder=args.folder, checkpoint=args.checkpoint
    )
    cells = [
        CellName(args.suite, task, upstream, args.head, args.preset, seed, recipe_seed)
        for upstream, task, recipe_seed, seed in product(
            _names(args.upstream), _names(args.downstream), args.recipe_seeds, args.seeds
        )
    ]
    failed = 0
    finished = []
    for cell in cells:
        try:
            finished.append(run_cell(cell, runtime))
        except UserError as error:
            if len(cells) == 1:
                raise
            failed += 1
            print(f"error: {cell.upstream} on {cell.task}: {error}", file=sys.stderr)
    if finished:
        _show(
            finished,
            args.out,
            {name.removesuffix("_ood") for name in _names(args.downstream) if not name.endswith("_ood")},
        )
    if failed:
        raise UserError(f"{failed} of {len(cells)} cells failed; the lines above say why")
    return 0


def _show(finished: Sequence[tuple[Path, object]], out: Path, in_domain_only: set[str]) -> None:
    """Print each cell's table and put the user's rows among the published ones."""
    show, publish = resolve("leaderboard.show:cell"), resolve("leaderboard.show:user_tables")
    for folder, result in finished:
        print(show(folder, result, only_id=getattr(result, "task", "") in in_domain_only))
    for path in publish(out):
        print(f"written: {_short(path)}")


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _list(argv: list[str]) -> int:
    parser = _parser("list", "Names of upstreams or tasks.")
    parser.add_argument("what", choices=["upstreams", "tasks"])
    args = parser.parse_args(argv)
    from harness import describe

    print(describe.upstreams() if args.what == "upstreams" else describe.tasks())
    return 0


def _describe(argv: list[str]) -> int:
    parser = _parser("describe", "All that is known of an upstream or a task.")
    parser.add_argument("name")
    parser.add_argument("--suite", default="mini")
    args = parser.parse_args(argv)
    from harness import describe

    print(describe.one(_names(args.name)[0], args.suite))
    return 0


def _check(argv: list[str]) -> int:
    parser = _parser("check", "Prove an upstream in seconds on synthetic audio.")
    parser.add_argument("-u", "--upstream", required=True)
    parser.add_argument("-k", "--folder", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    from harness import describe

    return describe.check(_names(args.upstream), args.folder, args.checkpoint, device(args.device))


def _score(argv: list[str]) -> int:
    parser = _parser("score", "Metrics again from a run's predictions; no model, no audio.")
    parser.add_argument("run", type=Path, help="a result's folder")
    args = parser.parse_args(argv)
    from harness import status

    return status.rescore(args.run)


def _status(argv: list[str]) -> int:
    parser = _parser("status", "What is done, under way, interrupted or failed, and why.")
    parser.add_argument("--out", type=Path, default=runs_dir())
    args = parser.parse_args(argv)
    from harness import status

    print(status.table(args.out))
    return 0
