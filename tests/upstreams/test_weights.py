from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.errors import UserError
from upstreams import kaldi, weights
from upstreams.weights import WeightsSpec


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_safetensors_and_pickle_give_the_same_tensors(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "w.bin")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "w.ckpt")
    for name in ("w.safetensors", "w.bin", "w.ckpt"):
        loaded = weights.load_tensors(tmp_path / name)
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pickle_with_code_is_refused_and_the_code_is_not_run(tmp_path, save):
    trace, path = tmp_path / "ran", tmp_path / "w.bin"
    save({"a": torch.zeros(1), "b": Bomb(trace)}, path)
    with pytest.raises(UserError):
        weights.load_tensors(path)
    assert not trace.exists()


def test_a_pickle_with_code_is_named_as_such(tmp_path):
    torch.save({"b": Bomb(tmp_path / "ran")}, tmp_path / "w.bin")
    with pytest.raises(UserError, match="could run code"):
        weights.load_tensors(tmp_path / "w.bin")


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_unreadable_and_missing_files_are_one_line(tmp_path, name):
    with pytest.raises(UserError, match="does not exist"):
        weights.load_tensors(tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(UserError, match=name) as caught:
        weights.load_tensors(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_content_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1), "lr": 0.1}, tmp_path / "w.bin")
    with pytest.raises(UserError, match="wanted a state dict of tensors"):
        weights.load_tensors(tmp_path / "w.bin")


def test_truncated_file_is_refused(tmp_path):
    save_file({"a": torch.zeros(1000)}, tmp_path / "w.safetensors")
    os.truncate(tmp_path / "w.safetensors", 900)
    with pytest.raises(UserError, match="cannot be read"):
        weights.load_tensors(tmp_path / "w.safetensors")


def test_wrong_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "EMBEDDED", tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    right = weights.sha256_file(tmp_path / "w.safetensors")
    assert weights.locate(WeightsSpec(file="w.safetensors", sha256=right), "x", None).sha256 == right
    with pytest.raises(UserError, match=f"wanted sha256 {'0' * 64}, found {right}"):
        weights.locate(WeightsSpec(file="w.safetensors", sha256="0" * 64), "x", None)


def test_checksum_is_recorded_at_the_first_load_and_compared_later(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    spec = WeightsSpec(hub="someone/model")
    first = weights.locate(spec, "x", folder)
    assert weights.locate(spec, "x", folder) == first
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="not the one recorded when"):
        weights.locate(spec, "x", folder)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "file"))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="could not record a checksum .* POST_SUPERB_CACHE"):
        weights.locate(None, "x", tmp_path)


def test_a_config_cannot_name_code(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "hubert", "auto_map": {"AutoModel": "evil.Model"}, "_attn_implementation": "someone/kernel"}'
    )
    assert weights.read_config(tmp_path) == {"model_type": "hubert"}
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(UserError, match="wanted a JSON object"):
        weights.read_config(tmp_path)


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "a/../../secret", "a\\..\\b"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, path):
    with pytest.raises(UserError, match="wants to leave"):
        weights.inside(tmp_path / "root", path)


def test_links_that_leave_the_folder_are_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="through a link"):
        weights.inside(root, "link")


def test_offline_is_one_line_with_the_file_and_the_way_out(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"^someone/model/config\.json is not in .* pass -k FOLDER$"):
        weights.fetch("someone/model")


def test_no_connection_is_found_out_before_the_client_retries(tmp_path, monkeypatch):
    from huggingface_hub import constants

    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "getproxies", dict)
    monkeypatch.setattr(weights.socket, "create_connection", refuse)
    with pytest.raises(UserError, match="cannot be downloaded here"):
        weights.fetch("someone/model")


def test_folder_without_weights_names_what_is_wanted(tmp_path):
    with pytest.raises(UserError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        weights.locate(None, "x", tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        weights.locate(None, "x", tmp_path / "nowhere")
    with pytest.raises(UserError, match="names no weights"):
        weights.locate(None, "x", None)


def test_fingerprint_follows_weights_options_and_source(tmp_path):
    first = weights.fingerprint([kaldi], "a", {"size": 1})
    assert first == weights.fingerprint([kaldi], "a", {"size": 1})
    others = [
        weights.fingerprint([kaldi], "b", {"size": 1}),
        weights.fingerprint([kaldi], "a", {"size": 2}),
        weights.fingerprint([kaldi, weights], "a", {"size": 1}),
    ]
    assert len({first, *others}) == 4
