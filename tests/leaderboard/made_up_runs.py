"""Made-up finished runs: right in form and in their figures, small and quick."""

import numpy as np
import pandas as pd

from harness import uncertainty
from harness.metrics import score
from harness.results import (
    RunResult,
    identity_hash,
    save_result,
    write_predictions,
    write_references,
)

SPLITS = {
    "test": ("ID", 12, 1.6, ""),
    "real_people": ("Z", 10, 1.0, ""),
    "telephone": ("C", 12, 1.3, ""),
    "four_people": ("Z", 4, 0.8, "one person, one language and one microphone each"),
    "new_head": ("R", 9, 1.2, ""),
}
"""Kind, speakers, how far targets lie from non-targets, confounded."""


def trial_list(split, speakers):
    """Three target trials a speaker and one non-target a pair; a corruption has the in-domain speakers."""
    name = "test" if split == "telephone" else split
    rows = [(i, j) for i in range(speakers) for j in [i, i, i, *range(i + 1, speakers)]]
    return pd.DataFrame(
        {
            "id": [f"{split}-{index:04d}" for index in range(len(rows))],
            "reference": [str(int(i == j)) for i, j in rows],
            "speaker": [f"{name}_{i}" for i, _ in rows],
            "speaker2": [f"{name}_{j}" for _, j in rows],
        }
    )


def write_run(folder, upstream="whisper_tiny", *, head="xvector", seed=0, recipe_seed=0, strength=0.0, dirty=False,
              splits=None, change=None, **fields):  # fmt: skip
    """A run's folder. `change` gets the result's plain data before it is validated and saved."""
    found = {}
    for number, (split, (kind, speakers, distance, confounded)) in enumerate((splits or SPLITS).items()):
        references = trial_list(split, speakers)
        # the noise is one for all upstreams, as trials are hard for all of them; a part is each one's own
        common = np.random.default_rng(number).normal(size=len(references))
        own = np.random.default_rng([number, seed, recipe_seed, *upstream.encode()]).normal(size=len(references))
        scores = 0.8 * common + 0.6 * own + (references["reference"] == "1") * (distance + strength)
        rows = [{"id": i, "score": float(s)} for i, s in zip(references["id"], scores, strict=True)]
        predictions = {row["id"]: row for row in rows}
        predictions_sha = write_predictions(folder / "predictions" / f"{split}.jsonl.gz", rows)
        references_sha = write_references(folder / "references" / f"{split}.csv.gz", references)
        interval = uncertainty.interval("verification", predictions, references)
        found[split] = {
            "kind": kind,
            "corpus": f"corpus of {split}",
            "condition": "telephone-1" if kind == "C" else "",
            "metrics": score("verification", predictions, references),
            "intervals": {"eer": interval.model_dump()} if interval else {},
            "expected": len(references),
            "scored": len(references),
            "utterances": 3 * speakers,
            "speakers": speakers,
            "confounded": confounded,
            "data_sha256": "0" * 64,
            "predictions_sha256": predictions_sha,
            "references_sha256": references_sha,
        }
    identity = {"upstream": upstream, "head": head, "seed": seed, "recipe_seed": recipe_seed}
    base = upstream.split("+")[0] if "+" in upstream else None
    data = {
        "suite": "mini",
        "task": "asv",
        "upstream": {
            "name": upstream,
            "family": "backbones",
            "base": base,
            "level": "frame",
            "dim": 384,
            "num_layers": 5,
            "stride": 320,
            "fingerprint": f"{upstream} {recipe_seed}",
            "parameters": 1000,
            "contaminated": "unknown",
            "supervised": True,
            "note": "",
        }
        | fields,
        "head": head,
        "preset": "mini",
        "seed": seed,
        "recipe_seed": recipe_seed,
        "metric": "eer",
        "higher_is_better": False,
        "identity": identity,
        "identity_hash": identity_hash(identity),
        "selection": {"rule": "dev", "metric": "eer", "lr": None if head == "cosine" else 0.001},
        "splits": found,
        "provenance": {
            "commit": "abc",
            "dirty": dirty,
            "packages": {},
            "python": "3",
            "platform": "p",
            "device": "cpu",
            "threads": 1,
            "started": "2026-01-01T00:00:00Z",
            "seconds": {},
            "peak_memory_mb": 1.0,
        },
    }
    if change:
        change(data)
    result = RunResult.model_validate(data)
    save_result(folder, result)
    return result
