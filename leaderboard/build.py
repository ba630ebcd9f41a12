"""Regenerate the leaderboard from the published results:  python leaderboard/build.py [--check | --add RUN]

Reads results/**/result.json with their predictions and references, verifies and scores them again, and costs/*.json,
and writes leaderboard.csv, ood.csv, heads.csv, those on families (selectivity, separation, delta, cost) with
figures/, README.md, a page a task and index.html, byte for byte the same for the same results. Needs no torch and no
plotting library.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    # run as a script, Python puts this folder on the path and not the repository's root
    sys.path[0] = str(HERE.parent)

import argparse  # noqa: E402

from harness.cost_record import Record  # noqa: E402
from harness.errors import UserError  # noqa: E402
from harness.results import atomic_write  # noqa: E402
from leaderboard import columns, costs, families, overview, page, publish, tables  # noqa: E402
from leaderboard.cells import Cell, collect  # noqa: E402

RESULTS = HERE / "results"
COSTS = "costs"
"""Beside the results: a JSON an upstream, from harness/cost.py."""


def outputs(
    cells: Sequence[Cell], pages: bool = True, records: Mapping[str, Record] | None = None
) -> dict[str, bytes]:
    """Each file's name and bytes. `records`: by upstream, what it costs."""
    leaderboard, ood = tables.leaderboard(cells), tables.ood(cells)
    files = {"leaderboard.csv": page.to_csv(leaderboard), "ood.csv": page.to_csv(ood)}
    if pages:
        heads, suites = overview.agreement(cells), overview.overview(cells)
        tasks = page.tasks(leaderboard, ood, heads)
        found = families.tables(cells, records or {})
        pictures = families.drawn(cells, found, records or {})
        who = {"families": families.suites(cells, found), "pictures": families.titles(list(pictures)),
               "drawn": pictures, "costs": families.cost_lines(found["cost.csv"])}  # fmt: skip
        files |= {"heads.csv": page.to_csv(heads), **{name: page.to_csv(table) for name, table in found.items()}}
        every = {"leaderboard.csv": leaderboard, "ood.csv": ood, "heads.csv": heads} | found
        files |= pictures | page.to_markdown(tasks, suites, who, columns.lines(every))
        files["index.html"] = page.to_html(tasks, suites, who)
    return files


def build(results_roots: list[Path], out_dir: Path, pages: bool = True) -> tuple[list[Path], list[str]]:
    """Write the tables of the results under `results_roots`: the first holds the published ones, any others yours.
    Without `pages` the published ones of tasks that are not among yours are left aside.

    Returns the files written and a line on each of your runs that could not be put among the published ones. Raises
    UserError for a result that is altered, partial, or published twice with different figures."""
    cells, notices = collect(results_roots, beside=not pages)
    written = []
    records = costs.read(results_roots[0].parent / COSTS) if pages else {}
    for name, data in outputs(cells, pages, records).items():
        atomic_write(out_dir / name, data)
        written.append(out_dir / name)
    return written, notices


def stale(results: Path, out_dir: Path) -> list[str]:
    """What on disk is not what the published results give: names of files, pages of tasks that are no longer
    published, and reference tables that none needs."""
    cells, _ = collect([results])
    wanted = outputs(cells, records=costs.read(results.parent / COSTS))
    found = [
        name
        for name, data in wanted.items()
        if not (out_dir / name).is_file() or (out_dir / name).read_bytes() != data
    ]
    extra = sorted({path.name for path in out_dir.glob("*.md")} - set(wanted))
    found += [f"{name} (no published task has this page: delete it)" for name in extra]
    drawn = sorted(f"figures/{path.name}" for path in (out_dir / "figures").glob("*.svg"))
    found += [f"{name} (no published row is drawn there: delete it)" for name in drawn if name not in wanted]
    needed = {path for cell in cells for path in cell.references.values()}
    unused = sorted(set((results.parent / "references").glob("*.csv.gz")) - needed)
    return found + [f"references/{path.name} (no result needs it: delete it)" for path in unused]


def main(argv: Sequence[str] | None = None, results: Path = RESULTS) -> int:
    parser = argparse.ArgumentParser(prog="leaderboard/build.py", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    what.add_argument("--add", type=Path, metavar="RUN", action="append", help="publish a finished run's folder")
    args = parser.parse_args(argv)
    out_dir = results.parent
    try:
        if args.check:
            if old := stale(results, out_dir):
                raise UserError(f"stale: {', '.join(old)}; run python leaderboard/build.py and commit the result")
            print("the leaderboard is up to date")
            return 0
        for run in args.add or []:
            print(publish.add(run, results))
        for path in build([results], out_dir)[0]:
            print(f"written: {path.relative_to(out_dir.parent)}")
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
