"""Publish a finished run: verify it, then copy it whole into leaderboard/results, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness.errors import UserError
from harness.results import RESULT, atomic_write
from harness.wording import TRIAL
from leaderboard.cells import FIRST, PUBLISHED, Cell, check_groups, read_cell, read_root, without_duplicates
from leaderboard.s3prl_practice import COLUMN


def destination(cell: Cell, results: Path) -> Path:
    """Where a cell is published. Its names were checked when it was read."""
    result = cell.result
    upstream = result.upstream.name.replace(":", "_")
    label = f"{result.head}-{result.preset}-s{result.seed}-r{result.recipe_seed}"
    return results / result.suite / result.task / upstream / label


def add(run: Path, results: Path) -> str:
    """Publish the run in a folder; returns a line to print.

    Predictions go along for the first seed (0, recipe seed 0) only, reference tables once for all results. A published
    cell with the same figures gets that of s3prl's practice where only the run has it. Raises UserError for an
    unfinished, altered or partial run, a trial, one from a changed working tree, one whose cell is published with
    other figures, and one that cannot be ranked with the published rows."""
    cell = read_cell(run, PUBLISHED)
    if not cell.predictions:
        raise UserError(f"{run} has no predictions, so its figures cannot be verified; run the cell again")
    if cell.result.preset == TRIAL:
        raise UserError(
            f"{run} has the preset `{TRIAL}`, whose scores are no result; run the cell with another and add that"
        )
    if cell.result.provenance.dirty:
        raise UserError(
            f"{run} was made from a working tree with uncommitted changes; commit them, delete that folder (a finished "
            "run is only read), run the cell and add it"
        )
    published = read_root(results, PUBLISHED)
    target = destination(cell, results)
    twin = next((one for one in published if one.key == cell.key or one.folder == target), None)
    if twin is not None:
        if twin.key == cell.key and twin.figures() == cell.figures():
            if cell.as_s3prl in (None, twin.as_s3prl):
                return f"already published, with the same figures: {target.relative_to(results.parent)}"
            if twin.as_s3prl is None:
                return _add_to(twin, cell, [one for one in published if one is not twin], results)
        check_groups(without_duplicates([*(one for one in published if one is not twin), cell]))
        raise UserError(
            f"{run}: its cell is published with other figures in {twin.folder}; remove one or the other first"
        )
    check_groups(without_duplicates([*published, cell]))
    _copy(cell, target, results.parent / "references")
    return f"published: {target.relative_to(results.parent)}"


def _add_to(twin: Cell, cell: Cell, others: list[Cell], results: Path) -> str:
    """The figure of s3prl's practice to a published cell whose other figures are those of the run."""
    check_groups(without_duplicates([*others, cell]))
    atomic_write(twin.folder / RESULT, (cell.folder / RESULT).read_bytes())
    return f"published: {COLUMN} of {twin.folder.relative_to(results.parent)}"


def _copy(cell: Cell, target: Path, references: Path) -> None:
    """References first, each atomically; then the folder, built beside its place and renamed."""
    new: list[Path] = []
    building: Path | None = None
    try:
        for name, path in cell.references.items():
            kept = references / f"{cell.result.splits[name].references_sha256}.csv.gz"
            if not kept.exists():
                atomic_write(kept, path.read_bytes())
                new.append(kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=".adding-"))
        building.chmod(0o755)
        if (cell.result.seed, cell.result.recipe_seed) == FIRST:
            for path in cell.predictions.values():
                atomic_write(building / "predictions" / path.name, path.read_bytes())
        atomic_write(building / RESULT, (cell.folder / RESULT).read_bytes())
        building.rename(target)
        building = None
    except (OSError, UserError) as error:
        for path in new:
            path.unlink(missing_ok=True)
        if isinstance(error, UserError):
            raise
        raise UserError(f"could not publish into {target}: {error.strerror or error}; nothing was changed") from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
