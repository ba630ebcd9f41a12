"""What each published upstream costs, from the records that `harness/cost.py` wrote to leaderboard/costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import pandas as pd

from harness.cost_record import Record, load
from harness.errors import UserError
from leaderboard.cells import PUBLISHED, Cell
from leaderboard.tables import Values

COST = [
    *("upstream", "family", "base", "level", "dim", "parameters", "added_parameters", "macs_per_second"),
    *("added_macs_per_second", "real_time_factor", "time_ratio", "peak_memory_mb", "idle_memory_mb"),
    *("training_seconds", "training_hours", "training_clips", "training_speakers", "training_sentences"),
    *("training_data", "device", "threads", "as_scored"),
]


def read(folder: Path) -> dict[str, Record]:
    """By upstream. Raises UserError for a file that is no record, or whose name is another upstream's."""
    found: dict[str, Record] = {}
    for path in sorted(folder.glob("*.json")):
        record = load(path)
        if path.stem != record.upstream.replace(":", "_"):
            raise UserError(f"{path}: its own record wanted, found that of {record.upstream}; measure it again")
        if record.provenance.dirty:
            raise UserError(f"{path} was measured in a tree with uncommitted changes; commit them and measure it again")
        found[record.upstream] = record
    return found


def table(cells: Sequence[Cell], records: Mapping[str, Record]) -> pd.DataFrame:
    """One row a published upstream, backbones first; what was not measured is empty."""
    firsts: dict[str, Cell] = {}
    scored: set[tuple[str, str]] = set()
    for cell in cells:
        if cell.source == PUBLISHED:
            scored.add((cell.result.upstream.name, cell.result.upstream.fingerprint))
            kept = firsts.setdefault(cell.result.upstream.name, cell)
            firsts[cell.result.upstream.name] = min(kept, cell, key=lambda one: one.key)

    def order(name: str) -> tuple[bool, str, str]:
        family = firsts[name].result.upstream.family
        return family != "backbones", family, name

    lines = [_line(firsts[name], firsts, records, scored) for name in sorted(firsts, key=order)]
    return pd.DataFrame([[line.get(name) for name in COST] for line in lines], columns=COST, dtype=object)


def _line(
    cell: Cell, firsts: Mapping[str, Cell], records: Mapping[str, Record], scored: Set[tuple[str, str]]
) -> Values:
    upstream = cell.result.upstream
    values: Values = {name: getattr(upstream, name) for name in ("family", "base", "level", "dim", "parameters")}
    values["upstream"] = upstream.name
    below = firsts.get(upstream.base or "")
    if below is not None:
        values["added_parameters"] = upstream.parameters - below.result.upstream.parameters
    record = records.get(upstream.name)
    if record is None:
        return values
    encoding, training = record.encoding, record.training
    for name in ("macs_per_second", "real_time_factor", "time_ratio", "peak_memory_mb", "idle_memory_mb"):
        values[name] = getattr(encoding, name)
    if upstream.base is not None and upstream.base in records:
        values["added_macs_per_second"] = encoding.macs_per_second - records[upstream.base].encoding.macs_per_second
    values |= {"device": record.provenance.device, "threads": record.provenance.threads}
    values["as_scored"] = "yes" if (record.upstream, record.fingerprint) in scored else "no"
    if training is not None:
        for name in ("seconds", "hours", "clips", "speakers", "sentences"):
            values[f"training_{name}"] = getattr(training, name)
        values["training_data"] = "+".join(training.data)
    return values
