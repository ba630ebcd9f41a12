"""The authors' Lightning checkpoints: weights only, into the same network; code in a pickle is never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from crossed_tones import DIM, Toy
from torch import nn

from harness.errors import UserError
from upstreams.icl.checkpoint import load
from upstreams.icl.convert import converted


class TheirNetwork(nn.Module):
    """The names of their modules, written from the shapes of a checkpoint."""

    def __init__(self, width: int = DIM, hidden: int = 16, latent: int = 12):
        super().__init__()
        self.disentanglement_network = nn.Module()
        self.disentanglement_network.encoder = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, latent)
        )


def lightning(path: Path, **more: Any) -> TheirNetwork:
    torch.manual_seed(0)
    network = TheirNetwork()
    content = {
        "epoch": 30, "global_step": 480, "pytorch-lightning_version": "2.5.0", "state_dict": network.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": [],
    }  # fmt: skip
    torch.save(content | more, path)
    return network


def test_the_same_network_comes_out(tmp_path: Path) -> None:
    theirs = lightning(tmp_path / "last.ckpt")
    checkpoint = converted(tmp_path / "last.ckpt", Toy(), {}, 4)
    meta = checkpoint.meta
    assert (meta.layers, meta.kind, meta.standardise, meta.seed) == ([2], "concat", False, 4)
    assert meta.settings.hidden == (16, 16) and meta.settings.block_dim == 6
    assert meta.settings.blocks == ("speaker", "content") and "last.ckpt" in meta.origin
    checkpoint.save(tmp_path / "ours")
    states = torch.randn(7, 3, DIM)
    with torch.no_grad():
        expected = theirs.disentanglement_network.encoder(states[:, 2])
    found = load(tmp_path / "ours").network(states).flatten(1)
    assert torch.allclose(found, expected, atol=2e-3)
    assert torch.equal(checkpoint.network(states).flatten(1), expected)


def test_variant_and_residual_cut_the_latent(tmp_path: Path) -> None:
    lightning(tmp_path / "x.ckpt")
    one = converted(tmp_path / "x.ckpt", Toy(), {"variant": "content_only", "layers": "1"}, 0).meta
    assert one.settings.block_dim == 12 and one.settings.blocks == ("content",) and one.layers == [1]
    three = converted(tmp_path / "x.ckpt", Toy(), {"residual": True}, 0).meta
    assert three.settings.block_dim == 4 and three.settings.blocks[-1] == "residual"


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    lightning(tmp_path / "bomb.ckpt", hyper_parameters=Bomb())
    with pytest.raises(UserError, match="could run code on loading"):
        converted(tmp_path / "bomb.ckpt", Toy(), {}, 0)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda s: {"head.weight": torch.zeros(2)}, "the authors' MLP"),
        (lambda s: {k: v for k, v in s.items() if not k.endswith("2.bias")}, "the authors' MLP"),
        (lambda s: s | {"disentanglement_network.encoder.2.weight": torch.zeros(16, 5)}, "do not follow"),
        (lambda s: s | {"disentanglement_network.encoder.0.weight": torch.zeros(16, 99)}, "for another backbone"),
        (lambda s: {}, "no tensors"),
    ],
)
def test_another_network_is_one_line(tmp_path: Path, change: Any, wanted: str) -> None:
    network = TheirNetwork()
    torch.save({"state_dict": change(network.state_dict())}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=wanted):
        converted(tmp_path / "x.ckpt", Toy(), {}, 0)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"layers": "concat"}, "reads one layer"),
        ({"layers": "9"}, "has layers 0 to 2"),
        ({"standardise": True}, "raw time-mean"),
    ],
)
def test_options_that_do_not_go_with_it(tmp_path: Path, given: dict[str, Any], wanted: str) -> None:
    lightning(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=wanted):
        converted(tmp_path / "x.ckpt", Toy(), given, 0)


def test_a_latent_that_does_not_divide(tmp_path: Path) -> None:
    state = TheirNetwork(latent=7).state_dict()
    torch.save({"state_dict": state}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="a latent of 7 does not divide into 2 blocks"):
        converted(tmp_path / "x.ckpt", Toy(), {}, 0)
