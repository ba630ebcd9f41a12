"""What `run.py` does with its arguments. Heavy modules are imported by the verb that needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from harness.errors import NotApplicable, UserError
from harness.paths import cache_dir, runs_dir
from harness.registry import NAME, resolve, suggest
from harness.shell import Parser, device, guarded, seeds
from harness.wording import TRIAL, counted

VERBS = ("list", "describe", "check", "score", "status", "cache", "validate", "leaks")


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
            "cache": _cache,
            "validate": _validate,
            "leaks": _leaks,
        }
        return verbs[first](argv[1:])
    if first and not first.startswith("-"):
        raise UserError(
            f"unknown command {first!r}{suggest(first, VERBS)}; without a command, -u UPSTREAM -d TASK runs a cell"
        )
    return _run(argv)


def _parser(verb: str = "", what: str = "") -> Parser:
    return Parser(prog=f"run.py {verb}".strip(), description=what)


def listed(text: str) -> list[str]:
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
        All learning rates x all seeds of a cell train together, and every clip is encoded once for all tasks.

        other commands: list upstreams|tasks|corpora, describe NAME, check -u NAME, score RUN, status, cache ls|clear,
        validate --suite superb, leaks -d TASK
        (each takes --help)""")
    )
    parser.add_argument(
        "-u", "--upstream", required=True, help="name or names with commas: icl_speaker, u@backbone, s3prl:NAME"
    )
    parser.add_argument("-d", "--downstream", required=True, help="tasks with commas: asv, ks_ood; all, all_ood")
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
        "--s3prl-practice",
        action="store_true",
        help="asv: add the EER of the checkpoint that is best on test, as s3prl reports it; never ranked",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be encoded, kept and trained, and about how long"
    )
    parser.add_argument("--cache-gb", type=positive, default=20.0, help="disk for stored frames, in GB (default 20)")
    parser.add_argument(
        "--out", type=Path, default=runs_dir(), help="where results go (default: runs/, or POST_SUPERB_RUNS)"
    )
    args = parser.parse_args(argv)

    from harness.cell import CellName, run_group
    from harness.config import Runtime

    place = device(args.device)
    runtime = Runtime(
        out=args.out,
        cache=cache_dir(),
        device=place,
        folder=args.folder,
        checkpoint=args.checkpoint,
        cache_gb=args.cache_gb,
        encode_batch=16 if place.startswith("cuda") else 1,
        s3prl_practice=args.s3prl_practice,
    )
    tasks = task_names(args.downstream, args.suite)
    for line in resolve("tasks.catalogue:left_out")(tasks, args.suite):
        print(f"left out: {line}", file=sys.stderr)
    every = not {"all", "all_ood"}.isdisjoint(listed(args.downstream))
    groups = [
        [CellName(args.suite, task, upstream, args.head, args.preset, seed, recipe_seed) for seed in args.seeds]
        for upstream, recipe_seed, task in product(listed(args.upstream), args.recipe_seeds, tasks)
    ]
    if args.dry_run:
        from harness import dry_run

        text, failed = dry_run.report(groups, runtime)
        print(text)
        if failed:
            raise UserError(f"{failed} of {len(groups)} cells cannot run; the lines above say why")
        return 0
    failed = 0
    finished = []
    for group in groups:
        try:
            finished += run_group(group, runtime)
        except UserError as error:
            if every and isinstance(error, NotApplicable):
                print(f"left out: {error} ({group[0].upstream})", file=sys.stderr)
                continue
            if len(groups) == 1:
                raise
            failed += 1
            print(f"error: {group[0].upstream} on {group[0].task}: {error}", file=sys.stderr)
    if finished:
        _show(finished, args.out, {name for name in tasks if not name.endswith("_ood")})
    for line in [*_over_folds(args.suite, finished), *_trials(finished)]:
        print(line)
    if failed:
        raise UserError(f"{failed} of {len(groups)} cells failed; the lines above say why")
    return 0


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"a size in GB, 0 or more, wanted, found {text!r}")
    return value


def task_names(text: str, suite: str) -> list[str]:
    """Task names; `all` and `all_ood` stand for every task of the suite."""
    found: list[str] = []
    for name in listed(text):
        if name in ("all", "all_ood"):
            for broken in resolve("tasks.catalogue:unreadable")(suite):
                raise UserError(f"{name} wants every task of {suite}: {broken}; mend it, or name the others")
            every = resolve("tasks.catalogue:names")(suite)
            found += [task for task in every if task.endswith("_ood") == (name == "all_ood")]
        else:
            found += resolve("tasks.catalogue:expand")(name, suite)
    return list(dict.fromkeys(found))


def _show(finished: Sequence[tuple[Path, object]], out: Path, in_domain_only: set[str]) -> None:
    """Print each cell's table and put the user's rows among the published ones."""
    show, publish = resolve("leaderboard.show:cell"), resolve("leaderboard.show:user_tables")
    for folder, result in finished:
        print(show(folder, result, only_id=getattr(result, "task", "") in in_domain_only))
    for path in publish(out):
        print(f"written: {_short(path)}")


def _over_folds(suite: str, finished: Sequence[tuple[Path, Any]]) -> list[str]:
    """A line for each upstream and seed of a task that is a cross-validation and whose folds are all done."""
    lines = []
    for name in dict.fromkeys(r.task.rpartition("_")[0] for _, r in finished):  # a fold's task is <task>_<fold>
        folds = resolve("tasks.catalogue:expand")(name, suite)
        cells = {(r.upstream.name, r.recipe_seed, r.seed, r.task): r for _, r in finished if r.task in folds}
        for upstream, recipe_seed, seed in sorted({key[:3] for key in cells}) if len(folds) > 1 else []:
            found = [cells[key] for fold in folds if (key := (upstream, recipe_seed, seed, fold)) in cells]
            if len(found) == len(folds):
                mean = sum(r.splits["test"].metrics[r.metric] for r in found) / len(found)
                what = f"{name}, mean of {len(folds)} folds, seed {seed}"
                lines.append(f"{upstream} on {what}: {found[0].metric} {mean:.2f}")
    return lines


def _trials(finished: Sequence[tuple[Path, Any]]) -> list[str]:
    """A line where a preset was asked for that is none to score with."""
    tried = [r for _, r in finished if r.preset == TRIAL]
    what = counted(len(tried), "cell")
    return [f"preset {TRIAL}: {what} of a few updates, to see a corpus go through, and no results"] if tried else []


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _list(argv: list[str]) -> int:
    parser = _parser("list", "Names of upstreams, tasks or corpora.")
    parser.add_argument("what", choices=["upstreams", "tasks", "corpora"])
    args = parser.parse_args(argv)
    from harness import describe

    if args.what != "tasks":
        print(describe.upstreams() if args.what == "upstreams" else describe.corpora())
        return 0
    print(describe.tasks())
    suites, unreadable = resolve("tasks.catalogue:suites"), resolve("tasks.catalogue:unreadable")
    return 2 if any(unreadable(suite) for suite in suites()) else 0


def _describe(argv: list[str]) -> int:
    parser = _parser("describe", "All that is known of an upstream, a task or a corpus.")
    parser.add_argument("name")
    parser.add_argument("--suite", default="mini")
    args = parser.parse_args(argv)
    from harness import describe

    print(describe.one(listed(args.name)[0], args.suite))
    return 0


def _check(argv: list[str]) -> int:
    parser = _parser("check", "Prove an upstream in seconds on synthetic audio.")
    parser.add_argument("-u", "--upstream", required=True)
    parser.add_argument("-k", "--folder", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    from harness import describe

    return describe.check(listed(args.upstream), args.folder, args.checkpoint, device(args.device))


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


def _cache(argv: list[str]) -> int:
    parser = _parser("cache", "What the feature store holds; clear gives its disk back.")
    parser.add_argument("what", choices=["ls", "clear"])
    parser.add_argument("-u", "--upstream", help="clear: of this upstream alone, as `cache ls` names it")
    args = parser.parse_args(argv)
    from harness import status

    print(status.cache(args.what, args.upstream))
    return 0


def _validate(argv: list[str]) -> int:
    parser = _parser(
        "validate",
        "Are the corpora of a suite in your folders, and whole? Exit status: 0, or 2 where one is missing that an "
        "in-domain\ntask wants or that is named here, or where --full read a file that a run would stop at; gaps, and "
        "what only\nan OOD split wants, leave it 0.",
    )
    parser.add_argument("corpus", nargs="*", help="names of corpora, to look at these alone")
    parser.add_argument("-d", "--downstream", help="tasks with commas, to look at their corpora alone")
    parser.add_argument("--suite", default="superb")
    parser.add_argument("--full", action="store_true", help="decode and hash every file too (hours for large corpora)")
    args = parser.parse_args(argv)
    from harness import validate

    tasks = task_names(args.downstream, args.suite) if args.downstream else []
    for task in tasks:
        resolve("tasks.catalogue:whole")(task, args.suite)  # an unknown one is said
    text, there = validate.report(args.suite, args.full, tasks, listed(",".join(args.corpus)) if args.corpus else [])
    print(text)
    return 0 if there else 2


def _leaks(argv: list[str]) -> int:
    parser = _parser("leaks", "What a task's splits share and an upstream has seen of them; exit status 1 for a leak.")
    parser.add_argument("-d", "--downstream", required=True, help="tasks with commas, OOD splits included")
    parser.add_argument("--suite", default="mini")
    parser.add_argument("-u", "--upstream", help="compare what it was trained on too")
    parser.add_argument("-k", "--folder", type=Path, help="a local folder with the backbone's weights")
    parser.add_argument("--checkpoint", type=Path, help="a post-training checkpoint in place of the shipped one")
    parser.add_argument("--full", action="store_true", help="decode files of your own folders too (hours if many)")
    args = parser.parse_args(argv)
    from harness import leaks

    leaking = False
    upstreams = listed(args.upstream) if args.upstream else [None]
    for task, upstream in product(task_names(args.downstream, args.suite), upstreams):
        text, found = leaks.report(task, args.suite, upstream, args.folder, args.checkpoint, args.full)
        print(f"{task} ({args.suite})" + (f", {upstream}" if upstream else "") + f"\n{text}\n")
        leaking |= found
    return 1 if leaking else 0
