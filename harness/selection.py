"""What dev decides: the learning rate, the step, the layer — and the seal on the test rows until it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from harness.contracts import DevScore, Head, SplitData
from harness.features import LayerView
from harness.results import DevPoint, Selection, TrialResult, atomic_write
from harness.train import Outcome, select

RULE = "dev metric, then dev loss, then the smaller learning rate"


class Sealed:
    """The test rows. They cannot be read before dev has selected."""

    def __init__(self, read: Callable[[str], SplitData]):
        self._read = read
        self._selection: Selection | None = None

    def freeze(self, selection: Selection) -> None:
        self._selection = selection

    def open(self, split: str) -> SplitData:
        if self._selection is None:
            raise RuntimeError(f"split {split!r} was asked for before dev had selected")
        return self._read(split)


def best_layer(probe: Head, source: Any, dev: SplitData) -> int:
    """The layer with the best dev score of a training-free head; on a tie the smaller loss, then the lower layer."""
    scores = [probe.dev({}, LayerView(source, [layer]), dev) for layer in range(source.num_layers)]
    return min(range(len(scores)), key=lambda i: (scores[i].key, scores[i].loss, i))


def of_trials(outcomes: Sequence[Outcome], metric: str, layer: int | None) -> tuple[dict[str, Tensor], Selection]:
    """The weights that dev picks, and how. Raises UserError when every trial diverged."""
    best, tied = select(outcomes)
    chosen = outcomes[best]
    assert chosen.best is not None and chosen.state is not None
    selection = Selection(
        rule=RULE,
        metric=metric,
        lr=chosen.spec.lr,
        layer=layer,
        step=chosen.best[0],
        dev_metric=chosen.best[1].metric,
        dev_loss=chosen.best[1].loss,
        tied=tied,
        trials=[_trial(outcome, layer) for outcome in outcomes],
    )
    return chosen.state, selection


def of_untrained(score: DevScore, metric: str, layer: int | None) -> Selection:
    """A training-free head's: at most the layer was picked."""
    rule = "none: the head is not trained" if layer is None else "layer by dev metric; the head is not trained"
    return Selection(rule=rule, metric=metric, layer=layer, dev_metric=score.metric, dev_loss=score.loss)


def save(folder: Path, suffix: str, state: dict[str, Tensor], selection: Selection) -> None:
    """The selection is written last: where it exists, its weights do."""
    atomic_write(folder / f"head{suffix}.safetensors", save_tensors(state))
    atomic_write(folder / f"selection{suffix}.json", selection.model_dump_json(indent=1).encode())


def load(folder: Path, suffix: str) -> tuple[dict[str, Tensor], Selection] | None:
    """What `save` left, or None."""
    weights, chosen = folder / f"head{suffix}.safetensors", folder / f"selection{suffix}.json"
    if not chosen.exists():
        return None
    return load_tensors(weights.read_bytes()), Selection.model_validate_json(chosen.read_bytes())


def _trial(outcome: Outcome, layer: int | None) -> TrialResult:
    curve = [DevPoint(step=at, metric=s.metric, loss=s.loss) for at, s in outcome.curve]
    best = next((point for point in curve if outcome.best is not None and point.step == outcome.best[0]), None)
    return TrialResult(
        lr=outcome.spec.lr,
        layer=layer,
        status="diverged" if outcome.diverged else "ok",
        detail=outcome.diverged,
        best=best,
        curve=curve,
    )
