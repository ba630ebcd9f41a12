"""What a fine-tuned checkpoint holds: whole weights, adapters as peft merges them, differences in 8 bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_up_weights import same_bits
from speech_ft_toys import job, recipe, write_data

from harness.check import check
from harness.errors import UserError
from upstreams import catalogue
from upstreams.speech_ft import adapters
from upstreams.speech_ft.assemble import combined
from upstreams.speech_ft.checkpoint import Checkpoint, Meta, Tensors, load
from upstreams.speech_ft.encoder import inner, trainable
from upstreams.speech_ft.settings import from_options


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("suite"))


@pytest.fixture
def folder(hf_folder) -> Path:
    return hf_folder("hubert")


def theta0(folder: Path) -> dict[str, torch.Tensor]:
    return {name: v.clone() for name, v in inner(catalogue.build("hubert_base", folder=folder)).state_dict().items()}


def held(form: str, tensors: dict[str, torch.Tensor]) -> Checkpoint:
    """A checkpoint of these tensors, saved nowhere."""
    settings = from_options({"task": "asr"}, "")
    meta = Meta(
        origin="made up", settings=settings, recipe_hash=settings.hash, seed=0, backbone="toy", step=1, form=form,
        backbone_fingerprint="0", backbone_layers=2, backbone_dim=3, stride=320,
        shapes={name: list(value.shape) for name, value in tensors.items()},
    )  # fmt: skip
    return Checkpoint(meta, Tensors(tensors), torch.zeros(2, 3))


def test_lora_and_dora_by_hand():
    began = {"w.weight": torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "other": torch.ones(3)}
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5], [-1.0]])
    lora = held("adapter", {"w.weight:a": a, "w.weight:b": b}).finetuned(began)
    assert lora["w.weight"].tolist() == [[1.5, 1.0], [-1.0, 0.0]] and set(lora) == {"w.weight"}
    tensors = {"w.weight:a": a, "w.weight:b": b, "w.weight:magnitude": torch.tensor([2.0, 3.0])}
    dora = held("adapter", tensors).finetuned(began)["w.weight"]
    torch.testing.assert_close(dora.norm(dim=1), torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(dora[1], torch.tensor([-3.0, 0.0]))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_merge_is_what_peft_merges(kind, folder, noise):
    pytest.importorskip("peft")
    backbone = catalogue.build("hubert_base", folder=folder)
    before = theta0(folder)
    encoder = trainable(backbone, front=False, dropout=0.0)
    adapters.attach(encoder, kind, 4, 0)
    assert encoder.learns and all("lora_" in name for name in encoder.learns)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if "lora_" in name:
                value.add_(0.05 * torch.randn(value.shape, generator=generator))
    state = {name: v.detach().clone() for name, v in encoder.module.state_dict().items() if "lora_" in name}
    ours = held("adapter", adapters.parts(state)).finetuned(before)
    theirs = dict(encoder.adapted[0].merge_and_unload().state_dict())
    assert set(ours) and all("layers." in name for name in ours)
    for name, value in theirs.items():
        torch.testing.assert_close(ours.get(name, before[name]), value, rtol=1e-4, atol=1e-6)
        if name in ours:
            assert (value - before[name]).abs().max() > 1e-3


def test_an_adapters_file_is_small_and_reads_back(data, folder):
    pytest.importorskip("peft")
    (whole,) = recipe().run(job(data, folder))
    (small,) = recipe(baseline="dora", rank=2).run(job(data, folder))
    assert small.stat().st_size < 0.5 * whole.stat().st_size
    began = theta0(folder)
    moved = load(small).finetuned(began)
    assert any(not torch.equal(value, began[name]) for name, value in moved.items())


def test_eight_bits_err_by_half_a_step_at_most(data, folder, tmp_path):
    (path,) = recipe().run(job(data, folder))
    began, out = theta0(folder), tmp_path / "asr_seed0.safetensors.xz"
    recipe(delta8=out).run(job(data, folder))
    exact, coarse = load(path).finetuned(began), load(out).finetuned(began)
    assert load(out).meta.form == "delta8" and set(exact) == set(coarse)
    for name, value in exact.items():
        step = float((value - began[name]).abs().max()) / 127
        assert float((coarse[name] - value).abs().max()) <= 0.5 * step + 1e-6
    assert out.stat().st_size < 0.3 * path.stat().st_size
    first = out.read_bytes()
    recipe(delta8=out).run(job(data, folder))
    assert out.read_bytes() == first


def test_a_damaged_file_is_one_line(data, folder, tmp_path):
    out = tmp_path / "d.safetensors.xz"
    recipe(delta8=out).run(job(data, folder))
    out.write_bytes(out.read_bytes()[:-40])
    with pytest.raises(UserError, match="wanted a checkpoint of Speech-FT"):
        load(out)


# -- as upstreams -----------------------------------------------------------------------------------------------------


def built(name: str, folder: Path, path: Path):
    return catalogue.build(f"{name}@hubert_base", folder=folder, checkpoint=path)


def test_alpha_0_is_the_backbone_and_alpha_1_the_fine_tuned_bit_for_bit(data, folder, noise):
    (path,) = recipe().run(job(data, folder))
    backbone, wave = catalogue.build("hubert_base", folder=folder), noise(12_000)
    began = theta0(folder)
    states = {alpha: built(f"speech_ft_asr+alpha{alpha}", folder, path) for alpha in (0, 0.25, 1)}
    assert torch.equal(states[0].layers([wave])[0], backbone.layers([wave])[0])
    whole = dict(inner(states[1].inside).state_dict())
    for name, value in load(path).finetuned(began).items():
        assert same_bits(whole[name], value)
    quarter = built("speech_ft_asr", folder, path)
    assert torch.equal(quarter.layers([wave])[0], states[0.25].layers([wave])[0])
    plain = built("speech_ft_asr+plain", folder, path)
    assert torch.equal(plain.layers([wave])[0], states[1].layers([wave])[0])
    assert len({one.fingerprint for one in (*states.values(), backbone)}) == 4
    assert plain.fingerprint == states[1].fingerprint and plain.name == "speech_ft_asr+plain@hubert_base"
    assert plain.derived_from == "hubert_base"


def test_it_passes_every_check_of_an_upstream(data, folder):
    (path,) = recipe().run(job(data, folder))
    assert [str(result) for result in check(built("speech_ft_asr", folder, path)) if not result.ok] == []


def test_it_refuses_a_checkpoint_of_other_weights(data, folder, hf_folder):
    (path,) = recipe().run(job(data, folder))
    other = hf_folder("hubert", initializer_range=0.5)
    with pytest.raises(UserError, match="was trained on another backbone"):
        built("speech_ft_asr", other, path)


def test_merges_of_several_are_those_of_the_formulas():
    theta = {"w": torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0])}
    one = {"w": torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0])}
    two = {"w": torch.tensor([1.0, 1.0, 4.0, 1.0, 1.0])}
    mean = combined(theta, [one, two], "linear", 0.5)["w"]
    assert mean.tolist() == [1.25, 1.0, 1.75, 1.0, 1.0]
    ties = combined(theta, [one, two], "ties", 0.5)["w"]  # disjoint supports: each entry is one model's own
    assert ties.tolist() == [1.5, 1.0, 2.5, 1.0, 1.0]


def test_an_exported_merge_is_a_folder_that_the_others_read(data, folder, tmp_path, noise):
    (path,) = recipe().run(job(data, folder))
    recipe(export=tmp_path / "merged", alpha=0.5).run(job(data, folder))
    wave = noise(9_000)
    direct = built("speech_ft_asr+alpha0.5", folder, path).layers([wave])[0]
    read = catalogue.build("speech_ft@hubert_base", checkpoint=tmp_path / "merged").layers([wave])[0]
    torch.testing.assert_close(read, direct, rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="is there already"):
        recipe(export=tmp_path / "merged", alpha=0.5).run(job(data, folder))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("speech_ft_asr+alpha1.5", "alphaA with A from 0 to 1"),
        ("speech_ft_asr+lorra", "plain, \\+unstable"),
        ("speech_ft+lora", "a card with a recipe wanted"),
        ("icl_speaker+lora", "unknown upstream"),
        ("speech_ft_pr", "make it with python harness/posttrain.py speech_ft --backbone whisper_tiny --task pr"),
    ],
)
def test_names_that_are_none_are_one_line(name, wanted):
    with pytest.raises(UserError, match=wanted):
        catalogue.build(name)


def test_a_variants_description_says_what_it_is():
    told = catalogue.describe("speech_ft_sid+lora@hubert_base")
    assert "LoRA in place of all weights" in told["recipe"] and told["backbone"] == "hubert_base"
    assert told["trained_on"][0]["corpus"] == "kokoro_crossed"
