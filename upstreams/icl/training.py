"""Trains ICL networks side by side on one crossed set, and judges them on another; the loop is `harness.train.fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.contracts import DevScore, FeatureSource, SplitData
from harness.metrics import eer
from harness.train import Plan
from upstreams.icl.loss import total
from upstreams.icl.network import InputMap, Kind, Network, seeded
from upstreams.icl.sampler import CrossedSampler, crossed_table, dense_block
from upstreams.icl.settings import VARIABLES, Settings

Batch = tuple[Tensor, Tensor]
"""(B, L, D) time-means and (B, 2) values: speaker and sentence."""


@dataclass(frozen=True)
class Input:
    """What a network may read of the backbone."""

    layers: tuple[int, ...]
    kind: Kind
    standardise: bool


def inputs(settings: Settings, num_layers: int) -> list[Input]:
    """The inputs that a recipe leaves to the validation set, or the one that it names."""
    every = tuple(range(num_layers))
    named: dict[str, list[tuple[tuple[int, ...], Kind]]] = {
        "last": [(every[-1:], "concat")],
        "concat": [(every, "concat")],
        "mix": [(every, "mix")],
    }
    if settings.layers.isdigit():
        chosen: list[tuple[tuple[int, ...], Kind]] = [((int(settings.layers),), "concat")]
    elif settings.layers == "auto":
        chosen = [((k,), "concat") for k in every]
        chosen += named["concat"] + named["mix"] if num_layers > 1 else []
    else:
        chosen = named[settings.layers]
    ways = [True, False] if settings.standardise is None else [settings.standardise]
    return [Input(layers, kind, way) for layers, kind in chosen for way in ways]


class Crossed:
    """A crossed split's time-means in memory, (N, L, D), and its table."""

    def __init__(self, split: SplitData, source: FeatureSource, device: str = "cpu"):
        self.table = crossed_table(split.utterances)
        self.means = torch.stack([source.mean(u.id) for u in split.utterances]).to(device)

    def whole(self) -> Batch:
        """Every utterance as one dense batch."""
        rows, columns = (torch.arange(size) for size in self.table.shape)
        return self.take(*dense_block(self.table, rows, columns))

    def take(self, indices: Tensor, values: Tensor) -> Batch:
        device = self.means.device
        return self.means[indices.to(device)], values.to(device)


def plan(settings: Settings) -> Plan:
    """AdamW (PyTorch's weight decay, 0.01) under OneCycle with the authors' shape; no clipping."""
    return Plan(
        steps=settings.steps,
        optimiser="adamw",
        clip=1e9,
        eval_every=min(60, settings.steps),
        onecycle={"pct_start": 0.1, "div_factor": 25.0, "final_div_factor": 1e3},
    )


class Learner:
    """K networks, one an input, trained on the same batches; follows `harness.contracts.Learner`."""

    def __init__(self, train: Crossed, tried: Sequence[Input], settings: Settings, seed: int):
        self.settings = settings
        self.columns = [VARIABLES.index(block) for block in settings.supervised]
        self.networks = [self._network(train.means, one, seed) for one in tried]
        sampler = CrossedSampler(train.table, settings.batch, seed)
        self.batch = lambda step, micro: train.take(*sampler.batch(step))

    def _network(self, means: Tensor, one: Input, seed: int) -> Network:
        mapped = InputMap(one.layers, means.shape[-1], one.kind)
        network = seeded(mapped, self.settings.hidden, self.settings.block_dim, len(self.settings.blocks), seed)
        network.to(means.device)
        if one.standardise:
            mapped.standardise(means)
        return network

    def loss(self, network: Network, batch: Batch) -> Tensor:
        settings, (means, values) = self.settings, batch
        return total(
            network(means),
            values[:, self.columns],
            temperature=settings.temperature,
            margin=settings.margin,
            orth_mode=settings.orth_mode,
            orth_weight=settings.orth_weight,
        )

    def losses(self, batch: Batch, active: Sequence[int]) -> Tensor:
        return torch.stack([self.loss(self.networks[k], batch) for k in active])

    def trial_parameters(self, k: int) -> list[Tensor]:
        return list(self.networks[k].parameters())

    def state(self, k: int) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.networks[k].state_dict().items()}

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        self.networks[k].load_state_dict(state)

    def zero_grad(self) -> None:
        for network in self.networks:
            network.zero_grad()

    def train(self, mode: bool = True) -> None:
        for network in self.networks:
            network.train(mode)


class Validation:
    """Judges a network on the crossed validation set: other speakers, other sentences."""

    def __init__(self, val: Crossed, learner: Learner):
        self.batch, self.learner = val.whole(), learner

    @torch.no_grad()
    def eers(self, network: Network) -> dict[str, float]:
        """Cosine EER in per cent of each supervised block on its own variable, over all pairs of utterances."""
        latent = network(self.batch[0])
        supervised = self.learner.settings.supervised
        return {
            block: pair_eer(latent[:, j], self.batch[1][:, self.learner.columns[j]])
            for j, block in enumerate(supervised)
        }

    @torch.no_grad()
    def score(self, network: Network) -> DevScore:
        """The mean of the blocks' EERs, then the loss of the whole set as one batch."""
        found = self.eers(network)
        metric = sum(found.values()) / len(found)
        return DevScore(metric, self.learner.loss(network, self.batch).item(), metric)


def pair_eer(vectors: Tensor, values: Tensor) -> float:
    """Cosine EER (%) over all pairs of N (N, d) vectors: targets share their value, (N,)."""
    unit = torch.nn.functional.normalize(vectors.double(), dim=1)
    one, other = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    scores = (unit @ unit.T)[one, other]
    return eer(scores.cpu().numpy(), (values[one] == values[other]).cpu().numpy())
