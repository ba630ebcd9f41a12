from __future__ import annotations

import hashlib
import json
import lzma
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


def test_a_folder_and_safetensors_under_another_name_are_said_to_be_that(tmp_path):
    with pytest.raises(UserError, match="is a folder: a file wanted"):
        weights.load_tensors(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "ours.pth")
    with pytest.raises(UserError, match=r"ours\.pth is safetensors by its content: rename it to ours\.safetensors"):
        weights.load_tensors(tmp_path / "ours.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert set(weights.load_tensors(tmp_path / "old.pth")) == {"a"}


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


def test_compressed_weights_are_unpacked_once_with_their_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "EMBEDDED", tmp_path / "shipped")
    folder = tmp_path / "shipped" / "toy"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "toy"}')
    save_file({"a": torch.arange(5.0)}, folder / "w.safetensors")
    right, content = weights.sha256_file(folder / "w.safetensors"), (folder / "w.safetensors").read_bytes()
    (folder / "w.safetensors").unlink()
    (folder / "w.safetensors.xz").write_bytes(lzma.compress(content))
    spec = WeightsSpec(file="toy/w.safetensors", sha256=right)
    source = weights.locate(spec, "x", None)
    assert source.file.read_bytes() == content and source.sha256 == right
    assert weights.read_config(source.folder) == {"model_type": "toy"}
    stamp = source.file.stat().st_mtime_ns
    assert weights.locate(spec, "x", None) == source and source.file.stat().st_mtime_ns == stamp
    source.file.write_bytes(content[:-4])  # what a full disk or a curious user left
    assert weights.locate(spec, "x", None).file.read_bytes() == content
    with pytest.raises(UserError, match=f"wanted sha256 {'0' * 64}, found {right}"):
        weights.locate(WeightsSpec(file="toy/w.safetensors", sha256="0" * 64), "x", None)
    (folder / "w.safetensors.xz").write_bytes(lzma.compress(content)[:-20])
    with pytest.raises(UserError, match="wanted compressed weights, but it is damaged"):
        weights.locate(spec, "x", None)


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


@pytest.mark.parametrize(
    ("proxies", "asked"),
    [
        ({"https": "http://localproxy:3128"}, ("localproxy", 3128)),
        ({"https": "localproxy:3128"}, ("localproxy", 3128)),
        ({"https": "http://localproxy"}, ("localproxy", 80)),
        ({"all": "socks5://localproxy"}, ("localproxy", 1080)),
        ({"http": "http://localproxy:3128"}, ("hub.example", 443)),
        ({"https": "http://localproxy:3128", "no": "hub.example"}, ("hub.example", 443)),
    ],
)
def test_of_a_proxy_it_is_asked_whether_it_is_there(monkeypatch, proxies, asked):
    from huggingface_hub import constants

    found = []

    def connect(address, timeout):
        found.append(address)
        raise OSError("refused")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(weights, "getproxies", lambda: proxies)
    monkeypatch.setattr(weights, "proxy_bypass", lambda host: host == proxies.get("no"))
    monkeypatch.setattr(weights.socket, "create_connection", connect)
    assert not weights._hub_reachable() and found == [asked]


def test_folder_without_weights_names_what_is_wanted(tmp_path):
    with pytest.raises(UserError, match=r"none of model\.safetensors, .*\.index\.json, pytorch_model\.bin: "):
        weights.locate(None, "x", tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        weights.locate(None, "x", tmp_path / "nowhere")
    with pytest.raises(UserError, match="names no weights"):
        weights.locate(None, "x", None)


@pytest.fixture
def sharded(tmp_path) -> Path:
    """The index of two shards with the tensors a, and b and c."""
    folder = tmp_path / "sharded"
    folder.mkdir()
    save_file({"a": torch.arange(3.0)}, folder / "model-00001-of-00002.safetensors")
    save_file({"b": torch.ones(2, 2), "c": torch.zeros(1)}, folder / "model-00002-of-00002.safetensors")
    where = {"c": "model-00002-of-00002.safetensors", "a": "model-00001-of-00002.safetensors"}
    return rewrite(folder / "model.safetensors.index.json", where | {"b": where["c"]})


def rewrite(index: Path, where: object) -> Path:
    index.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": where}))
    return index


def test_shards_are_read_as_one_file(sharded):
    loaded = weights.load_tensors(weights.weights_file(sharded.parent))
    assert loaded.keys() == {"a", "b", "c"}
    assert torch.equal(loaded["a"], torch.arange(3.0)) and torch.equal(loaded["b"], torch.ones(2, 2))


def test_one_file_goes_before_shards_and_shards_before_a_pickle(sharded):
    torch.save({"a": torch.zeros(1)}, sharded.parent / "pytorch_model.bin")
    assert weights.weights_file(sharded.parent) == sharded
    save_file({"a": torch.zeros(1)}, sharded.parent / "model.safetensors")
    assert weights.weights_file(sharded.parent).name == "model.safetensors"


def test_the_checksum_of_shards_is_that_of_their_listed_checksums(sharded):
    lines = [f"{weights.sha256_file(path)}  {path.name}\n" for path in sorted(sharded.parent.glob("*.safetensors"))]
    wanted = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert len(lines) == 2 and weights.sha256_file(sharded) == wanted
    assert weights.locate(None, "x", sharded.parent) == (sharded.parent, sharded, wanted)
    save_file({"a": torch.arange(3.0) + 1}, sharded.parent / "model-00001-of-00002.safetensors")
    with pytest.raises(UserError, match="not the one recorded when"):
        weights.locate(None, "x", sharded.parent)


def test_shards_may_be_links_as_in_the_hubs_cache(sharded, tmp_path):
    (tmp_path / "snapshot").mkdir()
    for path in sharded.parent.iterdir():
        (tmp_path / "snapshot" / path.name).symlink_to(path)
    index = tmp_path / "snapshot" / sharded.name
    assert weights.load_tensors(index).keys() == {"a", "b", "c"}
    assert weights.sha256_file(index) == weights.sha256_file(sharded)


@pytest.mark.parametrize("read", [weights.load_tensors, weights.sha256_file, weights.shards])
@pytest.mark.parametrize("name", ["../secret.safetensors", "/secret.safetensors", "a\\b.safetensors", "a/b.safetensors",
                                  "pytorch_model.bin", ""])  # fmt: skip
def test_a_shard_that_leaves_the_folder_or_is_no_safetensors_is_refused(sharded, tmp_path, name, read):
    save_file({"a": torch.zeros(1)}, tmp_path / "secret.safetensors")
    with pytest.raises(UserError, match="wanted shards that are .safetensors files beside it, found "):
        read(rewrite(sharded, {"a": name}))


@pytest.mark.parametrize("read", [weights.load_tensors, weights.sha256_file])
def test_missing_and_broken_shards_are_named(sharded, read):
    second = sharded.parent / "model-00002-of-00002.safetensors"
    os.truncate(second, 30)
    with pytest.raises(UserError, match="model-00002-of-00002.safetensors: wanted model weights, but it cannot be"):
        read(sharded)
    second.unlink()
    with pytest.raises(UserError, match="index.json names model-00002-of-00002.safetensors, which is missing"):
        read(sharded)


@pytest.mark.parametrize("where", [None, [], {}, {"a": 1}])
def test_an_index_without_a_map_is_refused(sharded, where):
    with pytest.raises(UserError, match="weight_map wanted, from tensors to names of shards"):
        weights.load_tensors(rewrite(sharded, where))


@pytest.mark.parametrize(
    ("where", "shard", "tensor"),
    [
        ({"a": 1, "b": 2}, 2, "c"),
        ({"a": 1, "b": 1, "c": 2}, 1, "b"),
        ({"a": 1, "b": 2, "c": 2, "d": 2}, 2, "d"),
    ],
    ids=["left out", "elsewhere", "not there"],
)
def test_an_index_and_shards_that_disagree_are_refused(sharded, where, shard, tensor):
    rewrite(sharded, {name: f"model-0000{number}-of-00002.safetensors" for name, number in where.items()})
    with pytest.raises(UserError, match=f"0000{shard}-of-00002.safetensors and .* disagree on the tensor {tensor}:"):
        weights.load_tensors(sharded)


def test_shards_that_cannot_be_had_from_the_hub_are_named(sharded, monkeypatch):
    (sharded.parent / "config.json").write_text("{}")
    (sharded.parent / "model-00002-of-00002.safetensors").rename(sharded.parent / "kept.safetensors")
    monkeypatch.setattr(weights, "_hub_reachable", lambda: False)

    def cached(repository, name, revision, local):
        return sharded.parent / name if (sharded.parent / name).exists() else None

    monkeypatch.setattr(weights, "_fetch_file", cached)
    with pytest.raises(UserError, match="someone/model/model-00002-of-00002.safetensors is not in"):
        weights.fetch("someone/model")
    (sharded.parent / "kept.safetensors").rename(sharded.parent / "model-00002-of-00002.safetensors")
    assert weights.fetch("someone/model") == sharded.parent


def test_fingerprint_follows_weights_options_and_source(tmp_path):
    first = weights.fingerprint([kaldi], "a", {"size": 1})
    assert first == weights.fingerprint([kaldi], "a", {"size": 1})
    others = [
        weights.fingerprint([kaldi], "b", {"size": 1}),
        weights.fingerprint([kaldi], "a", {"size": 2}),
        weights.fingerprint([kaldi, weights], "a", {"size": 1}),
    ]
    assert len({first, *others}) == 4
