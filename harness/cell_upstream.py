"""An upstream as a cell uses it: its name's view (`+last`, `+dev`) taken apart, its backbone built beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from harness.config import Runtime, Task
from harness.contracts import Level, Upstream, Utterance
from harness.encode import base_of
from harness.errors import NotApplicable, UserError
from harness.features import Condition, Features, LayerView
from harness.progress import note
from harness.registry import resolve
from harness.results import UpstreamInfo
from harness.store import FeatureStore

VIEWS = ("last", "dev")


def split_view(name: str) -> tuple[str, str | None]:
    """'whisper_tiny+dev' -> ('whisper_tiny', 'dev'): which layers a cell sees is the harness's business."""
    stem, plus, view = name.rpartition("+")
    return (stem, view) if plus and view in VIEWS else (name, None)


class Resolved:
    """An upstream built, with its base."""

    def __init__(self, name: str, recipe_seed: int, runtime: Runtime):
        build = resolve("upstreams.catalogue:build")
        self.name, self.runtime = name, runtime
        self.stem, self.view = split_view(name)
        self.card: dict[str, Any] = resolve("upstreams.catalogue:describe")(self.stem)
        own_folder = resolve("upstreams.catalogue:takes_folder")(self.stem)
        self.upstream: Upstream = build(
            self.stem,
            folder=runtime.folder if own_folder else None,
            checkpoint=runtime.checkpoint,
            recipe_seed=recipe_seed,
            device=runtime.device,
        )
        self.base = base_of(self.upstream, folder=runtime.folder, device=runtime.device)
        if recipe_seed and self.base is None:
            note(f"{name}: --recipe-seeds are those of a post-training, which it has none of; read as recipe seed 0")
        self.store = FeatureStore(runtime.cache / "features", runtime.cache_gb)
        if self.view and self.upstream.level != "frame":
            raise UserError(
                f"{name}: +{self.view} picks a layer of a frame-level upstream, {self.stem} is utterance-level"
            )

    @property
    def level(self) -> Level:
        return self.upstream.level

    @property
    def derived_from(self) -> str | None:
        """Of an upstream that is a backbone with other weights: the backbone that it is compared with."""
        return getattr(self.upstream, "derived_from", None)

    @property
    def fingerprint(self) -> str:
        parts = [self.upstream.fingerprint, self.base.fingerprint if self.base else "", self.view or ""]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    def check(self, task: Task) -> None:
        """Raises NotApplicable, before the cell has a folder, for `+dev` under a task whose layers it cannot pick."""
        if self.view == "dev" and task.kind != "verification":
            raise NotApplicable(
                f"+dev picks a layer with a training-free head, which task {task.task} has none of; "
                f"use {self.stem} (the learned mix) or {self.stem}+last"
            )

    def features(
        self, utterances: Iterable[Utterance], conditions: dict[str, Condition], layers: list[int] | None
    ) -> Features | LayerView:
        """Features of some utterances. `layers` is what dev picked for a `+dev` name; before that all are shown."""
        source = Features(
            self.upstream,
            self.base,
            utterances,
            self.store,
            conditions=conditions,
            device=self.runtime.device,
            memory_mb=self.runtime.memory_mb,
            batch=self.runtime.encode_batch,
        )
        if layers is None and self.view == "last":
            layers = [self.upstream.num_layers - 1]
        return source if layers is None else LayerView(source, layers)

    def info(self) -> UpstreamInfo:
        card, upstream = self.card, self.upstream
        below = card.get("backbone_card") or {}
        trained = [
            f"{row['corpus']} ({row['labels']})" for row in [*below.get("trained_on", []), *card.get("trained_on", [])]
        ]
        return UpstreamInfo(
            name=self.name,
            family=card["family"],
            base=upstream.base or self.derived_from or (self.stem if self.view else None),
            level=upstream.level,
            dim=upstream.dim,
            num_layers=1 if self.view else upstream.num_layers,
            stride=upstream.stride,
            fingerprint=self.fingerprint,
            parameters=sum(_parameters(part) for part in (upstream, self.base) if part is not None),
            contaminated=_worst(card.get("contamination", "unknown"), below.get("contamination", "no")),
            supervised=bool(card.get("supervised") or below.get("supervised")) if "supervised" in card else None,
            trained_on=trained,
            note=" ".join(str(card.get("note", "")).split()),
        )


def _parameters(upstream: Any) -> int:
    parameters = getattr(upstream, "parameters", None)
    return sum(p.numel() for p in parameters()) if callable(parameters) else 0


def _worst(*answers: str) -> Any:
    """yes beats unknown beats no: a chain is as clean as its least clean part."""
    return next((answer for answer in ("yes", "unknown") if answer in answers), "no")
