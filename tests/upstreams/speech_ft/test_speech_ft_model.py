"""A backbone with other weights, as an upstream: the embedded Whisper at both ends, small random models elsewhere."""

from __future__ import annotations

import inspect
import lzma
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import cli
from harness.check import check
from harness.errors import UserError
from upstreams import catalogue, weights
from upstreams.speech_ft import model
from upstreams.speech_ft.files import How, merge_folders


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded Whisper's folder, unpacked."""
    folder, shipped = tmp_path_factory.mktemp("whisper"), weights.EMBEDDED / "whisper_tiny"
    (folder / "model.safetensors").write_bytes(lzma.decompress((shipped / "model.safetensors.xz").read_bytes()))
    (folder / "config.json").write_text((shipped / "config.json").read_text())
    return folder


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory, whisper: Path) -> Path:
    """The embedded Whisper, each tensor moved by noise of a fiftieth of its own spread."""
    folder = tmp_path_factory.mktemp("fine")
    generator = torch.Generator().manual_seed(0)
    moved = {}
    for name, value in load_file(whisper / "model.safetensors").items():
        noise = torch.randn(value.shape, generator=generator)
        moved[name] = (value.float() + 0.02 * value.float().std() * noise).to(value.dtype)
    save_file(moved, folder / "model.safetensors")
    (folder / "config.json").write_text((whisper / "config.json").read_text())
    return folder


@pytest.fixture
def made(tmp_path: Path, fine: Path, whisper: Path):
    """(alpha) -> the folder of a merge of Whisper and `fine`."""

    def make(alpha: float, again: bool = False) -> Path:
        name = "merged" if again else f"merged{alpha}"
        return merge_folders(whisper, [fine], tmp_path / name, How(alpha=alpha), again=again).parent

    return make


def built(checkpoint: Path | None, name: str = "speech_ft", folder: Path | None = None) -> model.Refined:
    _, _, backbone = name.partition("@")
    return model.build(catalogue.card(name), name, backbone or "whisper_tiny", 0, checkpoint, folder)


def test_alpha_0_is_the_backbone_bit_for_bit_and_alpha_1_the_fine_tuned(made, fine, noise):
    wave = noise(20_000)
    backbone = catalogue.build("whisper_tiny")
    states = {alpha: built(made(alpha)).layers([wave])[0] for alpha in (0.0, 0.25, 1.0)}
    assert torch.equal(states[0.0], backbone.layers([wave])[0])
    assert torch.equal(states[1.0], built(fine).layers([wave])[0])
    apart = [float((states[alpha] - states[0.0]).norm()) for alpha in (0.0, 0.25, 1.0)]
    assert 0 == apart[0] < apart[1] < apart[2]


def test_it_stands_on_nothing_and_says_what_it_came_from(made):
    upstream, backbone = catalogue.build("speech_ft", checkpoint=made(0.0)), catalogue.build("whisper_tiny")
    assert (upstream.name, upstream.base, upstream.derived_from) == ("speech_ft", None, "whisper_tiny")
    assert (upstream.dim, upstream.num_layers, upstream.stride) == (384, 5, 320)
    assert upstream.fingerprint != backbone.fingerprint
    states = [torch.ones(3, 5, 384)]
    assert torch.equal(upstream.transform(states)[0], states[0])
    assert not upstream.train().training and not any(p.requires_grad for p in upstream.parameters())


def test_the_fingerprint_follows_the_weights_and_a_merge_may_be_made_again(made):
    first = built(made(0.25, again=True)).fingerprint
    assert built(made(0.25, again=True)).fingerprint == first
    assert built(made(0.5, again=True)).fingerprint != first


def test_every_check_passes(made):
    results = check(catalogue.build("speech_ft", checkpoint=made(0.25)))
    assert len(results) == 9
    assert [str(result) for result in results if not result.ok] == []


def test_the_command_line_checks_it(made, capsys):
    assert cli.main(["check", "-u", "speech_ft", "--checkpoint", str(made(0.25))]) == 0
    assert capsys.readouterr().out.count(" ok ") == 9


def test_without_weights_the_line_says_how_to_make_them(capsys):
    with pytest.raises(UserError, match=r"python harness/merge\.py PRETRAINED FINETUNED --alpha 0\.25 --out FOLDER"):
        catalogue.build("speech_ft")
    with pytest.raises(UserError, match="nowhere does not exist"):
        catalogue.build("speech_ft", checkpoint="nowhere")


@pytest.mark.parametrize(("name", "message"), [("fbank", "has no weights that"), ("s3prl:apc", "is built by s3prl")])
def test_a_backbone_that_has_no_weights_of_ours(made, name, message):
    with pytest.raises(UserError, match=message):
        catalogue.build(f"speech_ft@{name}", checkpoint=made(0.25))


def test_another_kind_of_model_is_refused(hf_folder, made):
    with pytest.raises(UserError, match="wants a checkpoint of model type 'hubert'"):
        built(made(0.25), "speech_ft@hubert_base")
    with pytest.raises(UserError, match="wants a Whisper checkpoint"):
        built(hf_folder("hubert"))


def test_a_merge_that_began_from_other_weights_is_refused(made, fine, tmp_path, whisper):
    backwards = merge_folders(fine, [whisper], tmp_path / "backwards", How(alpha=1.0)).parent
    with pytest.raises(UserError, match=r"merged from other weights \(.*\) than those of whisper_tiny"):
        built(backwards)
    with pytest.raises(UserError, match="merged from other weights"):
        built(backwards / "model.safetensors")
    rounds = merge_folders(made(0.25), [fine], tmp_path / "rounds", How()).parent
    assert built(rounds).derived_from == "whisper_tiny"


def test_a_file_of_weights_goes_into_the_backbone(made, fine, tmp_path, noise):
    folder = made(0.25)
    loose = tmp_path / "loose.safetensors"
    loose.write_bytes((folder / "model.safetensors").read_bytes())
    from_file = built(loose)
    assert torch.equal(from_file.layers([noise(9000)])[0], built(folder).layers([noise(9000)])[0])
    assert not any(p.requires_grad for p in from_file.parameters())
    save_file({"conv1.weight": torch.ones(1)}, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match="tensors are missing or have another shape"):
        built(tmp_path / "part.safetensors")


@pytest.mark.parametrize("kind, name", [("hubert", "hubert_base"), ("wav2vec2", "wav2vec2_base")])
def test_a_foreign_file_goes_into_the_backbone_in_a_folder(kind, name, hf_folder, noise, tmp_path):
    folder = hf_folder(kind)
    moved = {k: v + 0.01 for k, v in load_file(folder / "model.safetensors").items()}
    torch.save({"Upstream": {f"model.{k}": v for k, v in moved.items()}}, tmp_path / "states-1.ckpt")
    upstream = built(tmp_path / "states-1.ckpt", f"speech_ft@{name}", folder)
    backbone = catalogue.build(name, folder=folder)
    assert upstream.derived_from == name and upstream.fingerprint != backbone.fingerprint
    save_file(moved, folder / "model.safetensors")
    (tmp_path / "cache").rename(tmp_path / "old cache")  # with the checksum of the weights that were there
    wanted = catalogue.build(name, folder=folder).layers([noise(9000)])[0]
    assert torch.equal(upstream.layers([noise(9000)])[0], wanted)
    assert not torch.equal(backbone.layers([noise(9000)])[0], wanted)


class Settings:
    """An object of somebody's own."""


def test_objects_in_a_pickle_are_refused(hf_folder, tmp_path):
    torch.save({"Upstream": {}, "cfg": Settings()}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="holds other objects beside weights"):
        built(tmp_path / "x.ckpt", "speech_ft@hubert_base", hf_folder("hubert"))


def test_a_cards_options_are_known_ones(made, monkeypatch):
    card = catalogue.card("speech_ft").model_copy(update={"options": {"alfa": 0.25}})
    with pytest.raises(UserError, match="card of speech_ft, options.*alfa"):
        model.build(card, "speech_ft", "whisper_tiny", 0, made(0.25))
    with pytest.raises(UserError, match="`backbone` is missing"):
        model.build(catalogue.card("speech_ft"), "speech_ft", None, 0, None)


def test_it_is_built_as_every_family_is():
    names = list(inspect.signature(model.build).parameters)
    assert names == ["card", "name", "backbone", "recipe_seed", "checkpoint", "folder"]
