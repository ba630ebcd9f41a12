"""Trials side by side: what the learners of the heads share. Both implement `contracts.Learner`.

`Stacked` trains K trials as one computation: each weight of the network is one (K, ...) tensor, and each trial's
optimiser sees its row of all of them. `SideBySide` trains them one after another, for networks too large to gain.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.contracts import TrialSpec
from harness.train import step_seed

Net = TypeVar("Net", bound=nn.Module)


class Stacked(ABC):
    """K copies of a network's weights: each weight is one leaf tensor (K, ...), as are the gradients.

    A trial's parameters are its slices of them, in the same storage, and so are their gradients: autograd adds to a
    gradient that is there in place, and what an optimiser does to a slice it does to the stacked weight."""

    def __init__(self, starts: Sequence[Mapping[str, Tensor]], device: str, fixed: Mapping[str, Tensor]):
        """`starts`: the initial weights of each trial, float, of the same names and shapes. `fixed`: what goes into
        every trial's state unchanged."""
        self.optimiser_options: dict[str, Any] = {"fused": True}
        self.trials, self.device = len(starts), device
        self._fixed = dict(fixed)
        self._leaves: dict[str, Tensor] = {
            name: torch.stack([start[name] for start in starts]).to(device).requires_grad_() for name in starts[0]
        }
        # one buffer, so that zeroing is one call
        self._gradients = torch.zeros(sum(leaf.numel() for leaf in self._leaves.values()), device=device)
        parts = torch.split(self._gradients, [leaf.numel() for leaf in self._leaves.values()])
        self._tied = {
            name: part.view_as(leaf) for (name, leaf), part in zip(self._leaves.items(), parts, strict=True)
        }
        self._parameters = [
            {name: nn.Parameter(leaf.detach()[k]) for name, leaf in self._leaves.items()} for k in range(self.trials)
        ]
        self._tie()

    @abstractmethod
    def losses(self, batch: Any, active: Sequence[int]) -> Tensor: ...

    def weights(self, active: Sequence[int]) -> dict[str, Tensor]:
        """Each weight of the trials in `active`, (len(active), ...) by name."""
        if len(active) == self.trials:
            return self._leaves
        index = torch.tensor(list(active), device=self.device)
        return {name: leaf.index_select(0, index) for name, leaf in self._leaves.items()}

    def trial_parameters(self, k: int) -> list[Tensor]:
        """The slices of trial k, the same objects at every call."""
        self._tie()
        return list(self._parameters[k].values())

    def _tie(self) -> None:
        """A gradient that autograd or an optimiser put elsewhere is brought back into its place."""
        for name, leaf in self._leaves.items():
            tied = self._tied[name]
            if leaf.grad is not tied:
                if leaf.grad is not None:
                    tied.copy_(leaf.grad)
                leaf.grad = tied
            for k in range(self.trials):
                parameter = self._parameters[k][name]
                if parameter.grad is None:
                    parameter.grad = tied[k]

    def state(self, k: int) -> dict[str, Tensor]:
        return {name: leaf[k].detach().cpu().clone() for name, leaf in self._leaves.items()} | self._fixed

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, leaf in self._leaves.items():
                leaf[k].copy_(state[name])

    def zero_grad(self) -> None:
        self._tie()
        self._gradients.zero_()

    def train(self, mode: bool = True) -> Stacked:
        """Nothing in a stacked network behaves otherwise in training."""
        return self


class SideBySide(nn.Module):
    """K networks, each with a method `loss(batch)`, trained one after another on the same batches.

    Every trial draws its dropout and masks from the same seed, so it is what it would be alone."""

    def __init__(self, nets: Sequence[nn.Module], fixed: Mapping[str, Tensor]):
        super().__init__()
        self.optimiser_options: dict[str, Any] = {"fused": True}
        self.nets = nn.ModuleList(nets)
        self._fixed = dict(fixed)

    def trial_parameters(self, k: int) -> list[Tensor]:
        return list(self.nets[k].parameters())

    def losses(self, batch: Any, active: Sequence[int]) -> Tensor:
        seed, found = torch.initial_seed(), []
        for k in active:
            torch.manual_seed(seed)
            found.append(self.nets[k].loss(batch))  # type: ignore[operator]
        return torch.stack(found)

    def state(self, k: int) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.nets[k].state_dict().items()} | self._fixed

    def load_state(self, k: int, state: Mapping[str, Tensor]) -> None:
        self.nets[k].load_state_dict({name: value for name, value in state.items() if name not in self._fixed})


def seeded(make: Callable[[], Net], specs: Sequence[TrialSpec]) -> list[Net]:
    """A network a trial, each initialised from its own seed and from nothing else."""
    found = []
    for spec in specs:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed("init", spec.seed))
            found.append(make())
    return found


def mix(layers: Tensor, weights: Tensor) -> Tensor:
    """SUPERB's featurizer for K trials at once: (L, N, D), (K, L) -> (K, N, D), layers weighted by softmax."""
    mixed = weights.softmax(dim=1) @ layers.reshape(len(layers), -1)
    return mixed.view(len(weights), *layers.shape[1:])


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """K affine maps: (K, N, in), (K, out, in), (K, out) -> (K, N, out)."""
    return torch.baddbmm(bias[:, None], x, weight.mT)


def two_linear(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    """Two affine maps with nothing between them: (K, N, in) -> (K, N, out).

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2): where that takes fewer products, the maps are multiplied first."""
    (_, hidden, inside), (_, outside, _), rows = weight1.shape, weight2.shape, x.shape[1]
    if inside * hidden * outside + rows * inside * outside < rows * hidden * (inside + outside):
        return linear(x, weight2 @ weight1, bias2 + (weight2 @ bias1[:, :, None])[:, :, 0])
    return linear(linear(x, weight1, bias1), weight2, bias2)


def packed(names: Sequence[str]) -> Tensor:
    """Names as a tensor of bytes, to stand in a state beside the weights that they explain."""
    return torch.tensor(list(json.dumps(list(names)).encode()), dtype=torch.uint8)


def unpacked(kept: Tensor) -> list[str]:
    return [str(name) for name in json.loads(bytes(kept.tolist()))]
