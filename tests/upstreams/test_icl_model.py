"""The ICL upstreams: utterance and frame forms, blocks, baselines, and checkpoints that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from crossed_tones import DIM, Toy
from safetensors.torch import save_file

from harness.check import check
from harness.contracts import Upstream
from harness.encode import encode
from harness.errors import UserError
from harness.features import time_mean
from harness.recipe import checkpoint_folder
from upstreams.card import Card
from upstreams.checkpoints import backbone_fields, probe
from upstreams.icl.checkpoint import Checkpoint, Meta, find, load, new_network
from upstreams.icl.model import build, build_input
from upstreams.icl.settings import Settings

SETTINGS = Settings(hidden=(16, 16), block_dim=8)
RECIPE = {"hidden": [16, 16], "block_dim": 8}


def made(backbone: Toy, settings: Settings = SETTINGS, seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    network = new_network(settings, [0, 2], "concat", DIM)
    network.inputs.standardise(torch.randn(50, 3, DIM) * 3 + 1)
    meta = Meta(
        origin="a test", settings=settings, recipe_hash=settings.hash, seed=seed, layers=[0, 2], kind="concat",
        standardise=True, **backbone_fields(backbone),
    )  # fmt: skip
    return Checkpoint(meta, network, probe(backbone))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "seed0.safetensors"
    made(Toy()).save(path)
    return path


def card(**options: Any) -> Card:
    return Card(
        family="icl", backbone="toy", options={"block": "speaker", "form": "frame", "recipe": RECIPE} | options,
        contamination="no", supervised=True, licence="Apache-2.0", source="a test",
    )  # fmt: skip


def upstream(file: Path | None, seed: int = 0, **options: Any) -> Any:
    return build(card(**options), "icl_test", "toy", seed, file)


def hidden(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, 3, DIM, generator=torch.Generator().manual_seed(seed))


def test_shapes_and_members(file: Path) -> None:
    frame, utterance = upstream(file), upstream(file, form="utterance", block="joint")
    assert isinstance(frame, Upstream)
    assert (frame.base, frame.level, frame.dim, frame.num_layers, frame.stride) == ("toy", "frame", 8, 1, 320)
    assert (utterance.level, utterance.dim, utterance.stride) == ("utterance", 16, 0)
    assert [x.shape for x in frame.transform([hidden(5), hidden(9)])] == [(5, 1, 8), (9, 1, 8)]
    assert [x.shape for x in utterance.transform([hidden(5), hidden(9)])] == [(1, 1, 16), (1, 1, 16)]


def test_joint_is_the_speaker_block_then_the_content_block(file: Path) -> None:
    for form in ("frame", "utterance"):
        speaker, content, joint = (
            upstream(file, block=block, form=form).transform([hidden(4)])[0]
            for block in ("speaker", "content", "joint")
        )
        assert torch.equal(torch.cat([speaker, content], dim=-1), joint)
        assert not torch.equal(speaker, content)


def test_the_utterance_form_pools_first_and_takes_means_as_well(file: Path) -> None:
    utterance = upstream(file, form="utterance", block="joint")
    frames = hidden(7)
    (of_frames,) = utterance.transform([frames])
    (of_mean,) = utterance.transform([time_mean(frames)[None]])
    assert torch.equal(of_frames, of_mean)
    expected = load(file).network(time_mean(frames)).flatten()
    assert torch.equal(of_frames.flatten(), expected)


def test_the_frame_form_is_the_network_on_each_frame_and_no_mean_of_it_is_the_utterance_form(file: Path) -> None:
    frames = hidden(7)
    (out,) = upstream(file, block="joint").transform([frames])
    one = load(file).network(frames[3]).flatten()
    assert torch.allclose(out[3, 0], one, atol=1e-6)
    (pooled,) = upstream(file, block="joint", form="utterance").transform([frames])
    assert not torch.allclose(out.mean(0), pooled[0], atol=1e-3)


def test_random_projection_has_the_size_the_input_and_a_matrix_a_seed(file: Path) -> None:
    frames = hidden(200)
    first, again, other = (
        upstream(file, seed, random=True, block="joint").transform([frames])[0] for seed in (0, 0, 1)
    )
    assert first.shape == (200, 1, 16) and torch.equal(first, again) and not torch.allclose(first, other)
    speaker = upstream(file, random=True).transform([frames])[0]
    assert torch.allclose(speaker, first[..., :8], atol=1e-5) and not torch.allclose(speaker, first[..., 8:])
    seen = load(file).network.inputs(frames)
    # variance 1 / input dim: lengths are kept on average
    ratio = (first[:, 0].norm(dim=1) ** 2 / 16) / (seen.norm(dim=1) ** 2 / seen.shape[1])
    assert 0.6 < ratio.mean() < 1.6


def test_random_projection_commutes_with_the_mean_so_it_needs_no_utterance_form(file: Path) -> None:
    frames = hidden(30)
    frame = upstream(file, random=True).transform([frames])[0]
    utterance = upstream(file, random=True, form="utterance").transform([frames])[0]
    assert torch.allclose(frame.mean(0), utterance[0], atol=1e-5)


def test_input_is_what_the_network_gets(tmp_path: Path) -> None:
    path = tmp_path / "default.safetensors"
    made(Toy(), Settings()).save(path)
    baseline = build_input("toy", 0, path)
    assert (baseline.name, baseline.base, baseline.level, baseline.dim) == ("toy+input", "toy", "frame", 2 * DIM)
    (out,) = baseline.transform([hidden(5)])
    assert torch.equal(out[:, 0], load(path).network.inputs(hidden(5)))


def test_fingerprints_tell_apart_whatever_gives_other_features(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    made(Toy(), seed=1).save(other)
    prints = [
        upstream(file).fingerprint,
        upstream(file, block="content").fingerprint,
        upstream(file, form="utterance").fingerprint,
        upstream(file, random=True).fingerprint,
        upstream(file, 1, random=True).fingerprint,
        upstream(other).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert upstream(file).fingerprint == upstream(file).fingerprint


@pytest.mark.parametrize("options", [{}, {"form": "utterance"}, {"random": True}])
def test_every_check_passes(file: Path, options: dict[str, Any]) -> None:
    results = check(upstream(file, **options), base=Toy(), bridge=None)
    assert [str(result) for result in results if not result.ok] == []


def test_save_and_load_keep_the_features(file: Path, tmp_path: Path) -> None:
    first = load(file)
    first.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def test_the_right_backbone_is_accepted_also_after_a_change_of_its_code(file: Path) -> None:
    upstream(file).check_base(Toy())
    upstream(file).check_base(Toy(fingerprint="f" * 64))


@pytest.mark.parametrize("base", [Toy(seed=1), Toy("other", seed=2)])
def test_another_backbone_is_refused(file: Path, base: Toy) -> None:
    with pytest.raises(UserError, match="was trained on another backbone: wanted toy") as caught:
        upstream(file).check_base(base)
    assert f"posttrain.py icl --backbone {base.name}" in str(caught.value)


def test_a_checkpoint_of_another_backbones_name_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match="is for backbone toy, wavlm_large is wanted"):
        build(card(), "icl_test@wavlm_large", "wavlm_large", 0, file)


def test_states_of_another_shape_are_refused(file: Path) -> None:
    with pytest.raises(UserError, match=f"trained on 3 layers x {DIM} of toy, found 5 x {DIM}"):
        upstream(file).transform([torch.zeros(4, 5, DIM)])
    with pytest.raises(UserError, match="encode waves with that"):
        upstream(file).layers([torch.zeros(400)])


def test_encoding_waves_and_transforming_stored_states_agree(file: Path) -> None:
    wave = torch.randn(3000, generator=torch.Generator().manual_seed(0)) * 0.1
    for form in ("frame", "utterance"):
        one = upstream(file, form=form)
        (whole,) = encode(one, [wave], Toy())
        states = Toy().layers([wave])[0].half().float()
        assert torch.equal(whole, one.transform([states])[0])


def test_a_block_that_was_not_trained_is_refused(tmp_path: Path) -> None:
    settings = Settings(hidden=(16, 16), block_dim=8, variant="speaker_only")
    made(Toy(), settings).save(tmp_path / "x")
    assert upstream(tmp_path / "x").dim == 8
    with pytest.raises(UserError, match="wants the content block, .* holds speaker only"):
        upstream(tmp_path / "x", block="joint")


@pytest.mark.parametrize("options", [{"blok": "speaker"}, {"block": "music"}, {"recipe": {"stepz": 3}}])
def test_wrong_card_options_are_one_line(file: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="card of icl_test"):
        upstream(file, **options)


def test_a_missing_checkpoint_names_the_command_that_makes_it() -> None:
    with pytest.raises(UserError) as caught:
        build(card(recipe={"variant": "joint"}), "icl_test", "hubert_base", 4, None)
    assert "python harness/posttrain.py icl --backbone hubert_base --seed 4" in str(caught.value)


def test_missing_foreign_and_broken_files_are_one_line(tmp_path: Path, file: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "nothing")
    save_file({"w": torch.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(UserError, match="no ICL checkpoint of this project"):
        load(tmp_path / "foreign")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "cut")


def test_changed_weights_are_noticed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(UserError, match="do not match the checksum inside it"):
        load(file)


def ship(monkeypatch: pytest.MonkeyPatch, folder: Path, settings: Settings, digest: str | None = None) -> None:
    from upstreams.weights import sha256_file

    path = folder / "toy" / "seed0.safetensors"
    made(Toy(), settings).save(path)
    (path.parent / "SHA256SUMS").write_text(f"{digest or sha256_file(path)}  seed0.safetensors\n")
    monkeypatch.setattr(Checkpoint, "shipped", folder)


def test_given_beats_cached_beats_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path) -> None:
    ship(monkeypatch, tmp_path / "ship", SETTINGS)
    assert upstream(None).path == tmp_path / "ship" / "toy" / "seed0.safetensors"
    cached = checkpoint_folder("icl", "toy", SETTINGS.hash) / "seed0.safetensors"
    made(Toy(), seed=2).save(cached)
    assert upstream(None).path == cached
    assert upstream(file).path == file


def test_a_shipped_one_of_another_recipe_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ship(monkeypatch, tmp_path / "ship", Settings(hidden=(4,), block_dim=8))
    with pytest.raises(UserError, match=f"no ICL checkpoint for toy, recipe {SETTINGS.hash[:16]}"):
        upstream(None)


def test_a_shipped_one_with_a_wrong_checksum_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ship(monkeypatch, tmp_path / "ship", SETTINGS, "0" * 64)
    with pytest.raises(UserError, match="wanted sha256 0000"):
        upstream(None)
    (tmp_path / "ship" / "toy" / "SHA256SUMS").write_text("")
    with pytest.raises(UserError, match="no line for seed0"):
        upstream(None)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_shipped_checkpoints_are_of_the_default_recipe_and_of_this_backbone(seed: int) -> None:
    from upstreams import catalogue

    path = find("whisper_tiny", Settings(), seed)
    assert path == Checkpoint.shipped / "whisper_tiny" / f"seed{seed}.safetensors"
    assert path.stat().st_size < 5 << 20
    meta = load(path).meta
    assert meta.seed == seed and meta.data_hash and meta.choices[0].layers == meta.layers
    load(path).check_base(catalogue.build("whisper_tiny"), str(path))


@pytest.mark.parametrize("name", ["icl_speaker_utt", "icl_joint", "randproj_content", "whisper_tiny+input"])
def test_names_build_from_the_catalogue(name: str) -> None:
    from upstreams import catalogue

    built = catalogue.build(name, recipe_seed=1)
    assert built.name == name and built.base == "whisper_tiny"
    states = torch.randn(6, 5, 384)
    (out,) = built.transform([states])
    assert out.shape == (1 if name.endswith("_utt") else 6, 1, built.dim)
