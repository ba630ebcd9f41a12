"""The authors' state dicts: weights only, into the same network; code in a pickle is never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from crossed_tones import DIM, Toy
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import UserError
from upstreams.card import Card
from upstreams.vib.checkpoint import Checkpoint, load
from upstreams.vib.convert import converted
from upstreams.vib.model import build

ACOUSTIC = {"stage": "acoustic", "target": "emotion"}


def state(stage: str, dim: int, classes: int = 4, layers: int = 2) -> dict[str, Tensor]:
    """Tensors by the authors' names, written from the shapes of a checkpoint."""
    torch.manual_seed(dim)
    sizes = {f"encoder.{name}": (out, DIM) for name, out in (("enc1", DIM), ("enc2", DIM), ("mu", dim), ("var", dim))}
    if stage == "text":
        sizes["decoder.lm_head"] = (32, dim)
    else:
        sizes["decoder.clf"] = (classes, 2 * dim)
    found = {"layer_weights": torch.randn(layers)}
    for name, (out, into) in sizes.items():
        linear = nn.Linear(into, out)
        found |= {f"{name}.weight": linear.weight.detach(), f"{name}.bias": linear.bias.detach()}
    if stage != "text":
        found |= {f"decoder.{which}_attention.query": torch.randn(1, dim) for which in ("cond", "z")}
    return found


def write(path: Path, stage: str, dim: int = 32, **more: Any) -> dict[str, Tensor]:
    found = state(stage, dim)
    torch.save(found | more, path)
    return found


def theirs(s: dict[str, Tensor], hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance by their forward pass."""
    x = (hidden[:, 1:] * s["layer_weights"].softmax(0).view(1, -1, 1)).sum(1)
    for name in ("enc1", "enc2"):
        x = F.gelu(F.linear(x, s[f"encoder.{name}.weight"], s[f"encoder.{name}.bias"]))
    mu, var = (F.linear(x, s[f"encoder.{name}.weight"], s[f"encoder.{name}.bias"]) for name in ("mu", "var"))
    return mu, F.softplus(var)


@pytest.mark.parametrize("dim", [32, 128])
def test_the_same_stage_1_comes_out(tmp_path: Path, dim: int) -> None:
    s = write(tmp_path / "s1.pth", "text", dim)
    checkpoint = converted(tmp_path / "s1.pth", Toy(), {}, 12, None)
    meta = checkpoint.meta
    assert (meta.settings.dim, meta.layers, meta.seed, meta.settings.standardise) == (dim, [1, 2], 12, False)
    assert meta.symbols[:6] == ["<pad>", "<s>", "</s>", "<unk>", "|", "E"] and "s1.pth" in meta.origin
    hidden = torch.randn(7, 3, DIM)
    for found, wanted in zip(checkpoint.network.encode(hidden), theirs(s, hidden), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(checkpoint.network.layer_weights(), s["layer_weights"].softmax(0))
    checkpoint.save(tmp_path / "ours")
    assert torch.allclose(load(tmp_path / "ours").network.encode(hidden)[0], theirs(s, hidden)[0], atol=5e-3)
    assert checkpoint.words([11, 5, 0, 4, 7]) == "HE A"


@pytest.mark.parametrize("dim", [32, 128])
def test_the_same_stage_2_comes_out(tmp_path: Path, dim: int) -> None:
    write(tmp_path / "s1.pth", "text", dim)
    s = write(tmp_path / "s2.pth", "acoustic", dim)
    text = converted(tmp_path / "s1.pth", Toy(), {}, 0, None)
    text.save(tmp_path / "text.safetensors")
    checkpoint = converted(tmp_path / "s2.pth", Toy(), ACOUSTIC, 0, text)
    assert checkpoint.meta.classes == ["ang", "hap", "neu", "sad"]
    assert checkpoint.meta.text_sha256 == load(tmp_path / "text.safetensors").meta.tensors_sha256 != ""
    cond, mu = torch.randn(9, dim), torch.randn(9, dim)
    weights = [(x @ s[f"decoder.{w}_attention.query"][0]).softmax(0) for x, w in ((cond, "cond"), (mu, "z"))]
    for found, wanted in zip(checkpoint.network.decoder.attention(cond, mu), weights, strict=True):  # type: ignore[operator]
        assert torch.allclose(found, wanted, atol=1e-6)
    pooled = torch.cat([weights[0] @ cond, weights[1] @ mu])
    wanted = F.linear(pooled, s["decoder.clf.weight"], s["decoder.clf.bias"])
    assert torch.allclose(checkpoint.network.decoder.classify(cond, mu), wanted, atol=1e-5)  # type: ignore[operator]


def test_speakers_without_names_are_numbered(tmp_path: Path) -> None:
    write(tmp_path / "s1.pth", "text")
    torch.save(state("acoustic", 32, classes=24), tmp_path / "s2.pth")
    text = converted(tmp_path / "s1.pth", Toy(), {}, 0, None)
    meta = converted(tmp_path / "s2.pth", Toy(), {"stage": "acoustic", "target": "speaker"}, 0, text).meta
    assert meta.classes[0] == "speaker 0" and len(meta.classes) == 24


def test_what_was_converted_is_an_upstream_by_a_card(tmp_path: Path) -> None:
    write(tmp_path / "s1.pth", "text")
    checkpoint = converted(tmp_path / "s1.pth", Toy(), {}, 0, None)
    from harness.recipe import checkpoint_folder

    checkpoint.save(checkpoint_folder("vib", "toy", checkpoint.meta.recipe_hash) / "seed0.safetensors")
    card = Card(
        family="vib", backbone="toy", options={"stream": "text", "recipe": {"preset": "paper", "dim": 32}},
        contamination="no", supervised=True, licence="as its source", source="the authors",
    )  # fmt: skip
    found = build(card, "vib_theirs", "toy", 0, None)
    assert found.dim == 32 and found.transform([torch.randn(5, 3, DIM)])[0].shape == (5, 1, 32)


def test_the_command_line_converts_both_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import posttrain

    monkeypatch.setattr("upstreams.catalogue.build", lambda name, **more: Toy(name))
    write(tmp_path / "s1.pth", "text", 32)
    write(tmp_path / "s2.pth", "acoustic", 32)
    call = ["vib", "--backbone", "toy", "--device", "cpu", "--dim", "32"]
    second = [*call, "--stage", "acoustic", "--target", "emotion", "--convert", str(tmp_path / "s2.pth")]
    assert posttrain.main(second) == 2  # no stage 1 yet
    assert posttrain.main([*call, "--convert", str(tmp_path / "s1.pth")]) == 0
    assert posttrain.main(second) == 0
    stages = {
        load(path).meta.settings.stage: load(path).meta for path in (tmp_path / "cache").rglob("seed0.safetensors")
    }
    assert stages["acoustic"].text_sha256 == stages["text"].tensors_sha256


def test_one_layer(tmp_path: Path) -> None:
    s = state("text", 32)
    del s["layer_weights"]
    torch.save(s, tmp_path / "one.pth")
    checkpoint: Checkpoint = converted(tmp_path / "one.pth", Toy(), {"layer": 2}, 0, None)
    assert checkpoint.meta.layers == [2] and checkpoint.network.layer_weights().tolist() == [1.0]
    with pytest.raises(UserError, match="does not say which: --layer 0 to 2 wanted"):
        converted(tmp_path / "one.pth", Toy(), {}, 0, None)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    write(tmp_path / "bomb.pth", "text", config=Bomb())
    with pytest.raises(UserError, match="could run code on loading") as caught:
        converted(tmp_path / "bomb.pth", Toy(), {}, 0, None)
    assert not ran.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda s: s | {"head.weight": torch.zeros(2)}, "found head.weight"),
        (lambda s: {k: v for k, v in s.items() if k != "encoder.var.bias"}, "lacks encoder.var.bias"),
        (lambda s: state("acoustic", 32), "the authors' network of stage text"),
        (lambda s: s | {"encoder.enc1.weight": torch.zeros(99, 99)}, "for another backbone"),
        (lambda s: s | {"encoder.enc2.weight": torch.zeros(5, DIM)}, "encoder.enc2.weight of shape"),
        (lambda s: s | {"layer_weights": torch.zeros(12)}, "mixes 12 layers, toy has 2"),
        (lambda s: s | {"decoder.lm_head.bias": torch.zeros(5)}, "32 symbols wanted, found 5"),
        (lambda s: {}, "lacks"),
    ],
)
def test_another_network_is_one_line(tmp_path: Path, change: Any, wanted: str) -> None:
    torch.save(change(state("text", 32)), tmp_path / "x.pth")
    with pytest.raises(UserError, match=wanted) as caught:
        converted(tmp_path / "x.pth", Toy(), {}, 0, None)
    assert "\n" not in str(caught.value)
