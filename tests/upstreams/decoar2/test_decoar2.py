"""DeCoAR 2.0 by s3prl's own classes at a small size: its file, a runner's, a folder, and merges of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import upstreams.s3prl_bridge  # noqa: F401 - before s3prl, which does not import without its shims
from harness import cli, merge
from harness.check import check
from harness.encode import encode
from harness.errors import UserError
from upstreams import catalogue
from upstreams.decoar2 import checkpoint

# isort: split
from s3prl.nn import S3PRLUpstream
from s3prl.upstream.decoar2 import decoar2 as theirs

SIZES = {"encoder_embed_dim": 32, "encoder_layers": 2, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 2,
         "conv_pos": 16, "conv_pos_groups": 2}  # fmt: skip
AROUND = {"quantizer.vars": torch.ones(1, 2, 3), "final_proj.weight": torch.ones(2, 2)}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SIZES.items():
        monkeypatch.setitem(theirs.args, name, value)


def state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return theirs.Decoar2().state_dict()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """(seed, name, **more) -> the file of a random model in the format of s3prl's."""

    def save(seed: int = 0, name: str = "decoar2.pt", **more: object) -> Path:
        torch.save({"model": state(seed) | AROUND, **more}, tmp_path / name)
        return tmp_path / name

    return save


def test_every_check_passes(saved) -> None:
    upstream = catalogue.build("decoar2", folder=saved())
    assert (upstream.name, upstream.base, upstream.dim, upstream.num_layers, upstream.stride) == (
        "decoar2", None, 32, 3, 320
    )  # fmt: skip
    results = check(upstream)
    assert len(results) == 9
    assert [str(result) for result in results if not result.ok] == []


def test_the_command_line_takes_the_file_with_k(saved, capsys) -> None:
    assert cli.main(["check", "-u", "decoar2", "-k", str(saved())]) == 0
    assert capsys.readouterr().out.count(" ok ") == 9


def test_its_states_are_those_of_s3prls_own_entry(saved, noise) -> None:
    path, wave = saved(), noise(16_000)
    entry = S3PRLUpstream("decoar2_local", path_or_url=str(path)).eval()
    with torch.no_grad():
        wanted, _ = entry(wave[None], torch.tensor([len(wave)]))
    (found,) = encode(catalogue.build("decoar2", folder=path), [wave])
    assert torch.allclose(found[:49], torch.stack(wanted, dim=2)[0, :49], atol=2e-3)
    assert float(found.std()) > 0.1


@pytest.mark.parametrize("form", ["runner", "folder", "safetensors"])
def test_other_containers_give_the_same_states(saved, tmp_path, noise, form) -> None:
    wanted = catalogue.build("decoar2", folder=saved())
    place = tmp_path / "other"
    place.mkdir()
    if form == "runner":
        place = place / "states-1.ckpt"
        torch.save({"Upstream": {f"model.{k}": v for k, v in state(0).items()}, "Step": 1}, place)
    elif form == "folder":
        saved(name="other/checkpoint.pt")
    else:
        save_file(state(0), place / "model.safetensors")
    found = catalogue.build("decoar2", folder=place)
    assert found.fingerprint == wanted.fingerprint
    assert torch.equal(found.layers([noise(9000)])[0], wanted.layers([noise(9000)])[0])
    assert catalogue.build("decoar2", folder=saved(1, "one.pt")).fingerprint != wanted.fingerprint


def test_what_is_not_its_weights_is_one_line(saved, tmp_path, hf_folder) -> None:
    content = state(0)
    del content["encoder.layers.1.fc2.bias"]
    torch.save({"model": content}, tmp_path / "part.pt")
    torch.save({"model": state(0) | {"encoder.layer_norm.bias": torch.zeros(5)}}, tmp_path / "shape.pt")
    (tmp_path / "two").mkdir()
    for name in ("a.pt", "b.pt"):
        saved(name=f"two/{name}")
    wrong = [
        (tmp_path / "part.pt", r"lacks 1 tensors of DeCoAR 2\.0, the first is encoder\.layers\.1\.fc2\.bias"),
        (tmp_path / "shape.pt", "decoar2 could not be built .RuntimeError: .*size mismatch"),
        (hf_folder("hubert"), r"weights of DeCoAR 2\.0 wanted"),
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "two", "holds 2 checkpoints, one wanted"),
    ]
    for place, message in wrong:
        with pytest.raises(UserError, match=message) as caught:
            catalogue.build("decoar2", folder=place)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="has no post-training checkpoint"):
        catalogue.build("decoar2", checkpoint=saved())


def test_code_in_the_file_is_not_run(saved, tmp_path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    with pytest.raises(UserError, match="could run code"):
        catalogue.build("decoar2", folder=saved(cfg=Bomb()))
    assert not (tmp_path / "ran").exists()


def test_a_merge_of_its_files_is_one_of_its_upstreams(saved, tmp_path, noise) -> None:
    pre, fine, out = saved(0), tmp_path / "states-1.ckpt", tmp_path / "out"
    torch.save({"Upstream": {f"model.{k}": v for k, v in state(1).items()}, "Step": 1}, fine)
    assert merge.main([str(pre), str(fine), "--out", str(out)]) == 0
    found = load_file(out / "model.safetensors")
    assert found.keys() == state(0).keys() | AROUND.keys()
    for name, value in state(0).items():
        assert torch.allclose(found[name], value + 0.25 * (state(1)[name] - value), atol=1e-6)
    assert all(torch.equal(found[name], value) for name, value in AROUND.items())
    assert json.loads((out / "config.json").read_text()) == {"model_type": "decoar2"}
    moved = catalogue.build("decoar2", folder=out).layers([noise(9000)])[0]
    assert not torch.allclose(moved, catalogue.build("decoar2", folder=pre).layers([noise(9000)])[0], atol=1e-3)
    assert merge.main([str(out), str(fine), "--alpha", "1", "--out", str(tmp_path / "again")]) == 0
    again = catalogue.build("decoar2", folder=tmp_path / "again").layers([noise(9000)])[0]
    assert torch.equal(again, catalogue.build("decoar2", folder=fine).layers([noise(9000)])[0])


def test_a_merge_without_settings_is_for_its_files_alone(saved, tmp_path, capsys) -> None:
    waves = {f"feature_extractor.conv_layers.0.0.{k}": torch.ones(1) for k in ("weight",)}
    torch.save({"model": state(0) | waves}, tmp_path / "hubert.pt")
    assert merge.main([str(tmp_path / "hubert.pt"), str(saved()), "--out", str(tmp_path / "out")]) == 2
    assert "config.json is missing" in capsys.readouterr().err
    assert checkpoint.is_one(state(0)) and not checkpoint.is_one(state(0) | waves)
