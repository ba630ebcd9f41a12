"""Whether a cell's test shares a corpus, speakers or sentences with what the upstream was trained on: yes, no, unknown.

The corpora stand in the result. Which speakers, sentences and recordings are shared is counted by `harness/cost.py`,
which has the manifests, and read here from the upstream's record; it counts only for the very rows that were scored.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.cost_record import Record
from harness.superb_score import SUITE
from leaderboard.cells import Cell


@dataclass(frozen=True, slots=True)
class Exposure:
    """`answer`: yes, no or unknown. `parts`: what is known to be shared, in words."""

    answer: str
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        return "; ".join(self.parts)


def exposure(cell: Cell, split: str, record: Record | None) -> Exposure:
    """`yes` where something is known to be shared or the card says so; else `unknown` where part of the training data
    is undisclosed, or is named and was not counted; else `no`."""
    upstream, scored = cell.result.upstream, cell.result.splits[split]
    seen = {line.rpartition(" (")[0] for line in upstream.trained_on}
    corpora = set(scored.corpus.split("+"))
    if cell.result.suite == SUITE:  # voxceleb1_eh is made of voxceleb1
        corpora = {whole if (whole := one.rpartition("_")[0]) in seen else one for one in corpora}
    parts = []
    if shared := sorted(corpora & seen):
        parts.append(f"{'its only corpus' if corpora <= seen else 'corpus'} {', '.join(shared)}")
    counted = record.shared_with(cell.result.suite, cell.result.task, split, scored.data_sha256) if record else None
    if counted:
        shares = {"speakers": counted.speakers, "sentences": counted.sentences, "recordings": counted.recordings}
        parts += [f"{number} of {of} {what}" for what, (number, of) in shares.items() if number]
    if parts or upstream.contaminated == "yes":
        return Exposure("yes", tuple(parts))
    open_question = upstream.contaminated == "unknown" or (upstream.trained_on and counted is None)
    return Exposure("unknown" if open_question else "no", ())
