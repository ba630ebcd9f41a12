"""Fine-tunes an encoder with a head on top and judges it on validation; the loop is `harness.train.fit`.

Several tasks are trained jointly: their micro-batches take turns, so that an update has one of each or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from harness import audio
from harness.contracts import DevScore, Objective, SplitData
from harness.errors import UserError
from harness.schedules import Rate, tri_stage
from harness.train import Plan, step_seed
from upstreams.speech_ft.encoder import Encoder
from upstreams.speech_ft.settings import Settings

IN_MEMORY = 4 << 30
"""Bytes of what enters the encoder that are held in memory; those beyond are made anew each time."""
EVALUATED = 16
"""Utterances judged at once."""
POOL = 16
"""Batches' worth of utterances that are sorted by length before they are cut into batches."""


class Batch(NamedTuple):
    """Of which task, and the utterances' places in its split."""

    part: int
    places: list[int]


class Rows:
    """A split's utterances as the encoder takes them."""

    def __init__(self, split: SplitData, encoder: Encoder):
        self.split, self.encoder = split, encoder
        self.ids = [u.id for u in split.utterances]
        self._kept: dict[int, Tensor] = {}
        self._room = IN_MEMORY

    def front(self, place: int) -> Tensor:
        found = self._kept.get(place)
        if found is None:
            utterance = self.split.utterances[place]
            try:
                found = self.encoder.front(torch.from_numpy(audio.read(utterance)))
            except UserError as error:
                raise UserError(f"corpus {utterance.corpus}, row {utterance.id}: {error}") from None
            if found.nbytes <= self._room:
                self._room -= found.nbytes
                self._kept[place] = found
        return found

    def cut(self, seed: int, epoch: int, position: int, size: int) -> list[int]:
        """The places of a batch of one epoch: a fresh order each time, utterances of similar length together."""
        order = np.random.default_rng(step_seed("order", seed, epoch)).permutation(len(self.ids))
        pool, within = divmod(position, POOL)
        places = sorted(order[pool * POOL * size : (pool + 1) * POOL * size].tolist(), key=self._seconds)
        cuts = [places[at : at + size] for at in range(0, len(places), size)]
        turns = np.random.default_rng(step_seed("turns", seed, epoch, pool)).permutation(len(cuts))
        return cuts[int(turns[within])]

    def _seconds(self, place: int) -> tuple[float, int]:
        return self.split.utterances[place].duration, place


@dataclass
class Part:
    """One task of a fine-tuning."""

    train: Rows
    val: Rows
    objective: Objective


class FineTuning:
    """An encoder and a head a task, K = 1; follows `harness.contracts.Learner`."""

    def __init__(self, encoder: Encoder, parts: Sequence[Part], settings: Settings, seed: int):
        self.encoder, self.parts, self.settings, self.seed = encoder, list(parts), settings, seed
        self.heads = nn.ModuleList([part.objective for part in parts])  # type: ignore[misc]
        encoder.freeze(False)
        own = dict(encoder.module.named_parameters())
        self.moved = {name: own[name] for name in encoder.learns}
        self.began = {name: value.detach().clone() for name, value in self.moved.items()} if settings.l2 else {}
        self.pretrained = deepcopy(encoder).eval().requires_grad_(False) if settings.features else None
        self.steps_of_head = round(settings.head_only * settings.steps) if settings.stable else 0
        self._terms: dict[str, float] = {}
        self.head_alone = False

    # -- what the loop asks for -------------------------------------------------------------------------------------

    def trial_parameters(self, k: int) -> list[Tensor]:
        return [*self.moved.values(), *(p for p in self.heads.parameters() if p.requires_grad)]

    def groups(self, k: int) -> list[tuple[list[Tensor], float]]:
        head: list[Tensor] = [p for p in self.heads.parameters() if p.requires_grad]
        return [(list(self.moved.values()), 1.0), (head, self.settings.head_lr)]

    def begin(self, step: int) -> None:
        """Before an update: whether the encoder learns yet."""
        self.head_alone = step < self.steps_of_head
        self.encoder.freeze(self.head_alone)

    def batch(self, step: int, micro: int) -> Batch:
        index = step * self.settings.accumulate + micro
        index, at = divmod(index, len(self.parts))
        rows = self.parts[at].train
        epoch, position = divmod(index, -(-len(rows.ids) // self.settings.batch))
        return Batch(at, rows.cut(self.seed, epoch, position, self.settings.batch))

    def losses(self, batch: Batch, active: Sequence[int]) -> Tensor:
        part = self.parts[batch.part]
        ids = [part.train.ids[place] for place in batch.places]
        fronts = [part.train.front(place) for place in batch.places]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.head_alone):
            frames, lengths = self._encoded(self.encoder, part.objective, fronts, ids, training=True)
        loss = part.objective.loss(frames, lengths, ids)
        self._terms = {"task_loss": float(loss.detach())}
        if self.head_alone:
            return loss[None]
        if self.began:
            apart = torch.stack([(self.moved[name] - value).square().sum() for name, value in self.began.items()]).sum()
            self._terms["distance"] = float(apart.detach())
            loss = loss + self.settings.l2 * apart
        if self.pretrained is not None:
            with torch.no_grad():
                before, _ = self._encoded(self.pretrained, part.objective, fronts, ids, training=True)
            apart = (frames - before).square().mean()
            self._terms["feature_distance"] = float(apart.detach())
            loss = loss + self.settings.features * apart
        return loss[None]

    def terms(self) -> Mapping[str, float]:
        """Parts of the last micro-batch's loss, for the log."""
        return self._terms

    def state(self, k: int) -> dict[str, Tensor]:
        named = {f"encoder.{name}": value for name, value in self.moved.items()}
        named |= {f"heads.{name}": value for name, value in self.heads.state_dict().items()}
        return {name: value.detach().cpu().clone() for name, value in named.items()}

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.moved.items():
                value.copy_(state[f"encoder.{name}"])
        heads = {name.removeprefix("heads."): v for name, v in state.items() if name.startswith("heads.")}
        self.heads.load_state_dict(heads)

    def zero_grad(self) -> None:
        for parameter in self.trial_parameters(0):
            parameter.grad = None

    def train(self, mode: bool = True) -> FineTuning:
        """Dropout is on while it learns, in the encoder too, also while that is frozen (as s3prl has it)."""
        self.encoder.train(mode)
        self.heads.train(mode)
        return self

    # -- validation -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def scores(self) -> list[DevScore]:
        """Of each task's validation rows."""
        return [part.objective.judge(self._judged(part), part.val.split) for part in self.parts]

    def dev(self, k: int) -> DevScore:
        """Of several tasks the sum: of error rates, and of accuracies with a minus."""
        scores = self.scores()
        if len(scores) == 1:
            return scores[0]
        key = sum(score.key for score in scores)
        return DevScore(metric=key, loss=sum(score.loss for score in scores), key=key)

    def _judged(self, part: Part) -> Iterator[tuple[Tensor, Sequence[int], Sequence[str]]]:
        places = sorted(range(len(part.val.ids)), key=part.val._seconds)
        for at in range(0, len(places), EVALUATED):
            chosen = places[at : at + EVALUATED]
            ids = [part.val.ids[place] for place in chosen]
            fronts = [part.val.front(place) for place in chosen]
            with torch.no_grad():
                frames, lengths = self._encoded(self.encoder, part.objective, fronts, ids, training=False)
            yield frames, lengths, ids

    @staticmethod
    def _encoded(
        encoder: Encoder, objective: Any, fronts: Sequence[Tensor], ids: Sequence[str], *, training: bool
    ) -> tuple[Tensor, list[int]]:
        hide = getattr(objective, "hide", None)
        found: tuple[Tensor, list[int]] = encoder(fronts, None if hide is None else hide(ids, training))
        return found


def plan(settings: Settings) -> Plan:
    """How long: `until` of the steps, the rate being that of all of them."""
    return Plan(
        steps=max(1, round(settings.until * settings.steps)),
        accumulate=settings.accumulate,
        optimiser="adam",
        clip=1.0,
        eval_every=settings.eval_every,
    )


def rate(settings: Settings) -> Rate | None:
    """Stable fine-tuning's three stages, or a constant."""
    return tri_stage(settings.steps, settings.head_only, settings.hold) if settings.stable else None
