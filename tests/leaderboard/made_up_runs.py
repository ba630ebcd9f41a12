"""Made-up finished runs: right in form and in their figures, small and quick."""

import numpy as np
import pandas as pd

from harness import uncertainty
from harness.metrics import METRICS, restricted, score
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
KS_SPLITS = {
    "test": ("ID", 12, 1.6, ""),
    "people": ("Z", 10, 0.6, ""),
    "same_people": ("Z", 12, 0.9, ""),
    "four_people": ("Z", 4, 0.3, "one microphone each"),
    "noise": ("C", 12, 0.8, ""),
}
ASR_SPLITS = {"test": ("ID", 9, 1.2, ""), "engine": ("Z", 10, 0.8, ""), "noise": ("C", 9, 0.5, "")}
TASKS = {"asv": ("eer", SPLITS), "ks": ("accuracy", KS_SPLITS), "asr": ("wer", ASR_SPLITS)}
"""Metric and splits; of the splits of ks the distance is how far an item lies from being called something else."""
CLASSES = ("go", "no", "stop", "yes")
FEWER = {"people": CLASSES[:3], "same_people": CLASSES[1:]}
IN_DOMAIN_PEOPLE = ("telephone", "noise", "same_people")
"""Splits with the speakers of the in-domain one."""


def trial_list(split, speakers):
    """Three target trials a speaker and one non-target a pair."""
    name = "test" if split in IN_DOMAIN_PEOPLE else split
    rows = [(i, j) for i in range(speakers) for j in [i, i, i, *range(i + 1, speakers)]]
    return pd.DataFrame(
        {
            "id": [f"{split}-{index:04d}" for index in range(len(rows))],
            "reference": [str(int(i == j)) for i, j in rows],
            "speaker": [f"{name}_{i}" for i, _ in rows],
            "speaker2": [f"{name}_{j}" for _, j in rows],
        }
    )


def clip_list(task, split, speakers):
    """Three clips a speaker and class (ks), or three sentences a speaker (asr)."""
    name = "test" if split in IN_DOMAIN_PEOPLE else split
    texts = FEWER.get(split, CLASSES) if task == "ks" else ("one two", "three four five", "six")
    rows = [(f"{name}_{i}", text) for i in range(speakers) for text in texts for _ in range(3 if task == "ks" else 1)]
    return pd.DataFrame(
        {
            "id": [f"{split}-{index:04d}" for index in range(len(rows))],
            "reference": [text for _, text in rows],
            "speaker": [speaker for speaker, _ in rows],
        }
    )


def predicted(task, name, reference, score):
    """A trial's score as it is; a clip is right where its score is positive."""
    if task == "asv":
        return {"id": name, "score": float(score)}
    if task == "ks":
        return {"id": name, "label": reference if score > 0 else CLASSES[CLASSES.index(reference) - 1]}
    return {"id": name, "text": reference if score > 0 else f"{reference.split()[0]} nine"}


def id_shared(task, split, kind, tables):
    """The in-domain metrics on the classes of a split that has fewer, else nothing."""
    if task != "ks" or kind in ("ID", "R") or split not in FEWER:
        return {}
    predictions, references = tables["test"]
    kept = restricted(references, FEWER[split])
    return score("classification", {name: predictions[name] for name in kept["id"]}, kept)


def write_run(folder, upstream="whisper_tiny", *, task="asv", head="xvector", seed=0, recipe_seed=0, strength=0.0,
              dirty=False, splits=None, change=None, **fields):  # fmt: skip
    """A run's folder. `change` gets the result's plain data before it is validated and saved."""
    metric, known_splits = TASKS[task]
    task_kind = METRICS[metric].kind
    found, tables = {}, {}
    for number, (split, (kind, speakers, distance, confounded)) in enumerate((splits or known_splits).items()):
        references = trial_list(split, speakers) if task == "asv" else clip_list(task, split, speakers)
        # the noise is one for all upstreams, as trials are hard for all of them; a part is each one's own
        common = np.random.default_rng(number).normal(size=len(references))
        own = np.random.default_rng([number, seed, recipe_seed, *upstream.encode()]).normal(size=len(references))
        moved = references["reference"] == "1" if task == "asv" else 1.0
        scores = 0.8 * common + 0.6 * own + moved * (distance + strength)
        rows = [predicted(task, *row) for row in zip(references["id"], references["reference"], scores, strict=True)]
        predictions = {row["id"]: row for row in rows}
        tables[split] = predictions, references
        predictions_sha = write_predictions(folder / "predictions" / f"{split}.jsonl.gz", rows)
        references_sha = write_references(folder / "references" / f"{split}.csv.gz", references)
        interval = uncertainty.interval(metric, predictions, references)
        found[split] = {
            "kind": kind,
            "corpus": f"corpus of {split}",
            "condition": f"{split}-1" if kind == "C" else "",
            "metrics": score(task_kind, predictions, references),
            "intervals": {metric: interval.model_dump()} if interval else {},
            "id_shared": id_shared(task, split, kind, tables),
            "expected": len(references),
            "scored": len(references),
            "utterances": 3 * speakers,
            "speakers": speakers,
            "confounded": confounded,
            "data_sha256": "0" * 64,
            "predictions_sha256": predictions_sha,
            "references_sha256": references_sha,
        }
    identity = {"upstream": upstream, "task": task, "head": head, "seed": seed, "recipe_seed": recipe_seed}
    base = upstream.split("+")[0] if "+" in upstream else None
    data = {
        "suite": "mini",
        "task": task,
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
        "metric": metric,
        "higher_is_better": METRICS[metric].higher_is_better,
        "identity": identity,
        "identity_hash": identity_hash(identity),
        "selection": {"rule": "dev", "metric": metric, "lr": None if head == "cosine" else 0.001},
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
