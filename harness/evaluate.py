"""From a chosen head to a split's figures: predictions first, to disk; then metrics from what the disk holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from harness import metrics, uncertainty
from harness.contracts import FeatureSource, Head, SplitData
from harness.errors import UserError
from harness.results import Kind, SplitResult, read_predictions, read_references, write_predictions, write_references


def predictions_path(folder: Path, split: str) -> Path:
    return folder / "predictions" / f"{split}.jsonl.gz"


def references_path(folder: Path, split: str) -> Path:
    return folder / "references" / f"{split}.csv.gz"


def reference_table(split: SplitData) -> pd.DataFrame:
    """What predictions are scored against, by id: the class, words or phones of each utterance; for trials `reference`
    is 1 for a target, and both speakers."""
    speakers = {u.id: u.speaker for u in split.utterances}
    if split.references:
        ids = [u.id for u in split.utterances]
        return pd.DataFrame(
            {"id": ids, "reference": [split.references[i] for i in ids], "speaker": [speakers[i] for i in ids]}
        )
    table = pd.DataFrame(
        {
            "id": [t.id for t in split.trials],
            "reference": [str(int(t.target)) for t in split.trials],
            "speaker": [speakers[t.enrol] for t in split.trials],
            "speaker2": [speakers[t.test] for t in split.trials],
        }
    )
    for what in sorted({name for trial in split.trials for name in trial.same}):
        table[f"same_{what}"] = [str(int(t.same[what])) if what in t.same else "" for t in split.trials]
    return table


def evaluate(
    head: Head,
    state: Mapping[str, Tensor],
    source: FeatureSource,
    split: SplitData,
    folder: Path,
    *,
    kind: Kind,
    task_kind: str,
    metric: str,
    corpus: str,
    condition: str = "",
    confounded: str = "",
    note: str = "",
    data_sha256: str,
    head_data_sha256: str = "",
) -> SplitResult:
    """Predict a split, write the predictions, and score the file."""
    predictions_sha = write_predictions(predictions_path(folder, split.name), head.predict(state, source, split))
    references_sha = write_references(references_path(folder, split.name), reference_table(split))
    figures = score(folder, split.name, task_kind, metric)
    return SplitResult(
        kind=kind,
        corpus=corpus,
        condition=condition,
        confounded=confounded,
        note=note,
        utterances=len(split.utterances),
        data_sha256=data_sha256,
        head_data_sha256=head_data_sha256,
        predictions_sha256=predictions_sha,
        references_sha256=references_sha,
        **figures,
    )


def score(folder: Path, split: str, task_kind: str, metric: str) -> dict[str, Any]:
    """Metrics, intervals and counts of one split from its two files alone; the same figures on any machine.

    Raises UserError where a prediction is missing, twice or of an unknown id."""
    predictions = read_predictions(predictions_path(folder, split))
    references = read_references(references_path(folder, split))
    values = metrics.score(task_kind, predictions, references)
    if metric not in values:
        raise UserError(f"{folder.name}, split {split}: metric {metric!r} wanted, scored {', '.join(sorted(values))}")
    interval = uncertainty.interval(metric, predictions, references)
    columns = [name for name in ("speaker", "speaker2") if name in references]
    return {
        "metrics": values,
        "intervals": {metric: interval} if interval else {},
        "expected": len(references),
        "scored": len(predictions),
        "speakers": len(set(references[columns].to_numpy().ravel())),
    }


def shared_labels(folder: Path, splits: Mapping[str, SplitResult], task_kind: str) -> dict[str, SplitResult]:
    """The splits, each OOD split whose corpus has fewer classes given the in-domain score on those classes alone: a
    drop compares like with like. Raises UserError for an OOD class that the in-domain test lacks."""
    inside = next((name for name, split in splits.items() if split.kind == "ID"), None)
    if task_kind != "classification" or inside is None:
        return dict(splits)
    references = read_references(references_path(folder, inside))
    predictions = read_predictions(predictions_path(folder, inside))
    everything = set(references["reference"])
    found = {}
    for name, split in splits.items():
        labels = set(read_references(references_path(folder, name))["reference"])
        if split.kind in ("ID", "R") or labels == everything:
            found[name] = split
            continue
        if labels - everything:
            raise UserError(f"split {name} has class {min(labels - everything)!r}, which the in-domain test lacks")
        kept = metrics.restricted(references, labels)
        some = {i: predictions[i] for i in kept["id"]}
        found[name] = split.model_copy(update={"id_shared": metrics.score(task_kind, some, kept)})
    return found
