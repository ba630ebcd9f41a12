"""Merges from file to file: what is read and written, what is refused, and how much is in memory."""

from __future__ import annotations

import gc
import json
import weakref
from collections import Counter
from pathlib import Path

import pytest
import torch
from made_up_weights import same_bits, shard, tensors, write
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from harness.errors import UserError
from upstreams.speech_ft import merge, sources
from upstreams.speech_ft.files import How, merge_folders
from upstreams.weights import sha256_file

QUARTER = How()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_ends_bit_for_bit_and_between_them_the_mean_way(tmp_path, dtype):
    begin, *ends = (tensors(seed, dtype) for seed in range(3))
    pre, *fine = (write(tmp_path / str(i), content) for i, content in enumerate([begin, *ends]))
    for alpha, wanted in ((0.0, begin), (1.0, ends[0])):
        found = load_file(merge_folders(pre, fine[:1], tmp_path / f"end{alpha}", How(alpha=alpha)))
        assert found.keys() == wanted.keys()
        assert all(same_bits(found[name], wanted[name]) for name in wanted)
    found = load_file(merge_folders(pre, fine, tmp_path / "mean", QUARTER))
    for name, base in begin.items():
        moved = base.float() + 0.25 * ((ends[0][name].float() + ends[1][name].float()) / 2 - base.float())
        assert found[name].dtype == base.dtype
        assert torch.allclose(found[name].float(), moved, rtol=1e-3 if dtype == torch.float16 else 1e-6)
    assert not torch.equal(found["scale"], begin["scale"])


def test_the_file_says_how_it_was_made_and_is_aligned(tmp_path):
    content = tensors() | {"wide": torch.ones(3, dtype=torch.float64), "half": torch.ones(5, dtype=torch.bfloat16)}
    pre, fine = (write(tmp_path / name, content) for name in ("pre", "fine"))
    path = merge_folders(pre, [fine], tmp_path / "out", How(alpha=0.5))
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    sha = sha256_file(pre / "model.safetensors")
    assert metadata["format"] == "pt"
    assert json.loads(metadata["speech_ft"]) == {
        "pretrained": {"file": "model.safetensors", "sha256": sha},
        "finetuned": [{"file": "model.safetensors", "sha256": sha256_file(fine / "model.safetensors")}],
        "origin": sha, "method": "linear", "alpha": 0.5, "density": None, "coefficients": [],
    }  # fmt: skip
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert size % 8 == 0
    assert all(entry["data_offsets"][0] % content[name].element_size() == 0
               for name, entry in header.items() if name != "__metadata__")  # fmt: skip
    assert (tmp_path / "out" / "config.json").read_bytes() == (pre / "config.json").read_bytes()
    assert data == merge_folders(pre, [fine], tmp_path / "twice", How(alpha=0.5)).read_bytes()


def test_a_merge_of_merges_knows_where_it_began(tmp_path, pair):
    first = merge_folders(pair[0], [pair[1]], tmp_path / "first", QUARTER).parent
    second = merge_folders(first, [pair[1]], tmp_path / "second", QUARTER)
    assert sources.origin(second) == sha256_file(pair[0] / "model.safetensors")
    assert sources.origin(pair[0] / "model.safetensors") is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_sequential_is_the_command_in_rounds(tmp_path, dtype):
    pre, one, two = (write(tmp_path / str(seed), tensors(seed, dtype)) for seed in range(3))
    at_once = load_file(merge_folders(pre, [one, two], tmp_path / "once", How("sequential")))
    first = merge_folders(pre, [one], tmp_path / "first", QUARTER).parent
    rounds = load_file(merge_folders(first, [two], tmp_path / "second", QUARTER))
    assert all(same_bits(at_once[name], rounds[name]) for name in rounds)


def test_ties_trims_a_model_as_a_whole(tmp_path):
    pre = write(tmp_path / "pre", {"a": torch.zeros(4), "b": torch.zeros(4), "n": torch.arange(2)})
    fine = write(tmp_path / "fine", {"a": torch.tensor([8.0, -7.0, 6.0, 5.0]), "b": torch.tensor([1.0, 2.0, 3.0, 4.0]),
                                     "n": torch.arange(2)})  # fmt: skip
    found = load_file(merge_folders(pre, [fine], tmp_path / "out", How("ties", alpha=1.0, density=0.5)))
    assert found["a"].tolist() == [8.0, -7.0, 6.0, 5.0] and found["b"].tolist() == [0.0] * 4


def test_arithmetic_scales_its_coefficients_by_alpha(tmp_path, pair):
    other = write(tmp_path / "other", tensors(2))
    out = merge_folders(pair[0], [pair[1], other], tmp_path / "out", How("arithmetic", 0.5, coefficients=(1.0, -1.0)))
    begin, one, two = (tensors(seed)["scale"] for seed in range(3))
    assert torch.allclose(load_file(out)["scale"], begin + 0.5 * (one - two))
    with pytest.raises(UserError, match="one a fine-tuned model wanted, 2, found 1"):
        merge_folders(pair[0], [pair[1], other], tmp_path / "no", How("arithmetic", coefficients=(1.0,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("block.2.weight"), r"fine/model\.safetensors lacks block\.2\.weight, which .*pre/"),
        (lambda t: t.update({"new": torch.zeros(1)}), r"pre/model\.safetensors lacks new, which .*fine/"),
        (lambda t: t.update({"block.1.weight": torch.zeros(3, 5)}), r"block\.1\.weight is F32 \[3, 5\], F32 \[5, 3\]"),
        (lambda t: t.update({"scale": torch.zeros((), dtype=torch.float16)}), r"scale is F16 \[\], F32 \[\] wanted"),
        (lambda t: t.update({"steps": torch.arange(3) + 1}), r"steps, torch\.int64, differs"),
        (lambda t: t.update({"odd": torch.zeros(3, dtype=torch.bool)}), r"odd, torch\.bool, differs"),
        (lambda t: t["block.0.weight"].fill_(torch.inf), r"block\.0\.weight: finite .* the merge has NaN or infinity"),
    ],
)
@pytest.mark.parametrize("method", merge.METHODS)
def test_what_does_not_agree_is_named_and_nothing_is_left(tmp_path, change, message, method):
    pre, content = write(tmp_path / "pre", tensors(0)), tensors(1)
    change(content)
    with pytest.raises(UserError, match=message):
        merge_folders(pre, [write(tmp_path / "fine", content)], tmp_path / "out", How(method))
    assert not (tmp_path / "out").exists()


def test_an_end_is_as_strict(tmp_path):
    pre, content = write(tmp_path / "pre", tensors(0)), tensors(1)
    del content["scale"]
    fine = write(tmp_path / "fine", content)
    for alpha in (0.0, 1.0):
        with pytest.raises(UserError, match="lacks scale"):
            merge_folders(pre, [fine], tmp_path / "out", How(alpha=alpha))


@pytest.mark.parametrize(
    ("setting", "other"), [("conv_stride", [5, 2, 4]), ("num_attention_heads", 4), ("model_type", "toys")]
)
def test_the_same_shapes_in_another_architecture_are_refused(tmp_path, setting, other):
    pre = write(tmp_path / "pre", tensors(), conv_stride=[5, 2, 2], num_attention_heads=2, dropout=0.0)
    fine = write(tmp_path / "fine", tensors(), **{"conv_stride": [5, 2, 2], "dropout": 0.1, setting: other})
    with pytest.raises(UserError, match=f"has {setting} .*only models of one architecture"):
        merge_folders(pre, [fine], tmp_path / "out", QUARTER)


def test_huberts_pre_training_head_stays(tmp_path):
    begin = tensors(0) | {"final_proj.weight": torch.tensor([-0.0, 1.0]), "label_embs_concat": torch.ones(2, 2)}
    pre = write(tmp_path / "pre", begin)
    other = {"label_embs_concat": torch.zeros(9, 4), "final_proj.bias": torch.ones(1)}
    fine = write(tmp_path / "fine", tensors(1) | other)
    for method in merge.METHODS:
        found = load_file(merge_folders(pre, [fine], tmp_path / method, How(method, alpha=1.0)))
        assert found.keys() == begin.keys()
        assert all(same_bits(found[name], begin[name]) for name in ("final_proj.weight", "label_embs_concat"))
        assert not torch.equal(found["block.0.weight"], begin["block.0.weight"])


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("method", merge.METHODS)
def test_one_tensor_of_each_model_is_in_memory(tmp_path, method, shards, monkeypatch):
    alive: Counter[str] = Counter()
    most: Counter[str] = Counter()
    read: Counter[str] = Counter()

    class Watched:
        """An open file that counts the tensors that it gave and that are still there."""

        def __init__(self, path: Path, framework: str):
            self.label, self.file = path.parent.name, safe_open(path, framework=framework)

        def __enter__(self):
            return self

        def __exit__(self, *_: object):
            return None

        def __getattr__(self, name: str):
            return getattr(self.file, name)

        def get_tensor(self, name: str) -> Tensor:
            found = self.file.get_tensor(name).clone()
            alive[self.label] += 1
            read[self.label] += 1
            most[self.label] = max(most[self.label], alive[self.label])
            weakref.finalize(found, alive.subtract, [self.label])
            return found

    monkeypatch.setattr(sources, "safe_open", Watched)
    pre, *fine = (write(tmp_path / f"model{seed}", tensors(seed)) for seed in range(3))
    if shards > 1:
        for folder in (pre, *fine):
            shard(folder, shards)
    gc.collect()
    merge_folders(pre, fine, tmp_path / "out", How(method))
    assert set(most.values()) == {1} and len(most) == 3
    assert min(read.values()) >= len(tensors())
    gc.collect()
    assert set(alive.values()) == {0}


def test_files_and_pickles_will_do(tmp_path, pair):
    pre, fine = pair
    wanted = merge_folders(pre, [fine], tmp_path / "out", QUARTER)
    loose = tmp_path / "loose.safetensors"
    loose.write_bytes((fine / "model.safetensors").read_bytes())
    merged = merge_folders(pre / "model.safetensors", [loose], tmp_path / "files", QUARTER)
    assert all(same_bits(value, load_file(wanted)[name]) for name, value in load_file(merged).items())
    (tmp_path / "old").mkdir()
    torch.save(tensors(1), tmp_path / "old" / "pytorch_model.bin")
    merged = merge_folders(pre, [tmp_path / "old" / "pytorch_model.bin"], tmp_path / "pickle", QUARTER)
    assert all(same_bits(value, load_file(wanted)[name]) for name, value in load_file(merged).items())


@pytest.mark.parametrize("which", [[0], [1], [0, 1]], ids=["pretrained", "finetuned", "both"])
def test_shards_are_merged_as_the_whole_file(tmp_path, pair, which):
    wanted = load_file(merge_folders(*pair[:1], pair[1:], tmp_path / "whole", QUARTER))
    places = [shard(folder, 3) if i in which else folder for i, folder in enumerate(pair)]
    for name, (pre, fine) in {"index": places, "folder": [place if place.is_dir() else place.parent
                                                          for place in places]}.items():  # fmt: skip
        found = merge_folders(pre, [fine], tmp_path / name, QUARTER)
        merged = load_file(found)
        assert merged.keys() == wanted.keys()
        assert all(same_bits(merged[tensor], wanted[tensor]) for tensor in wanted)
        with safe_open(found, framework="pt") as file:
            said = json.loads(file.metadata()["speech_ft"])
        assert said["origin"] == sha256_file(places[0] if places[0].is_file() else pre / "model.safetensors")


def test_a_missing_shard_leaves_nothing(tmp_path, pair):
    shard(pair[1])
    (pair[1] / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="names model-00002-of-00002.safetensors, which is missing"):
        merge_folders(pair[0], [pair[1]], tmp_path / "out", QUARTER)
    assert not (tmp_path / "out").exists()


def test_only_models_without_any_delta_are_said_to_have_none(tmp_path, pair, capsys):
    content = tensors(0)
    content["scale"] += 1
    little = write(tmp_path / "little", content)
    for method in merge.METHODS:
        merge_folders(pair[0], [little, pair[0], pair[1]], tmp_path / method, How(method))
        said = capsys.readouterr().err.splitlines()
        assert said == [f"{pair[0] / 'model.safetensors'}: nothing to merge, since its weights equal those of "
                        f"{pair[0] / 'model.safetensors'}: all deltas are 0"]  # fmt: skip


def test_what_cannot_be_read_is_one_line(tmp_path, pair):
    pre, fine = pair
    with pytest.raises(UserError, match="nowhere does not exist"):
        merge_folders(pre, [tmp_path / "nowhere"], tmp_path / "out", QUARTER)
    (fine / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0rubbish!")
    with pytest.raises(UserError, match="wanted model weights, but it cannot be read"):
        merge_folders(pre, [fine], tmp_path / "out", QUARTER)
    (pre / "config.json").unlink()
    with pytest.raises(UserError, match="config.json is missing in .*pre"):
        merge_folders(pre, [fine], tmp_path / "out", QUARTER)
    (pre / "config.json").write_text("{}")
    with pytest.raises(UserError, match="model_type wanted"):
        merge_folders(pre, [fine], tmp_path / "out", QUARTER)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"method": "lineal"}, "method: one of linear, sequential, ties, arithmetic wanted"),
        ({"alpha": 1.5}, "alpha: 0 to 1 wanted, found 1.5"),
        ({"alpha": float("nan")}, "alpha: 0 to 1 wanted, found nan"),
        ({"method": "ties", "alpha": float("inf")}, "alpha: a finite number"),
        ({"method": "ties", "density": 0.0}, "density: more than 0"),
        ({"density": 0.5}, "density belongs to the method ties, not to linear"),
        ({"coefficients": (1.0,)}, "belong to the method arithmetic, not to linear"),
        ({"method": "arithmetic", "coefficients": (float("inf"),)}, "finite numbers wanted"),
    ],
)
def test_figures_that_do_not_go_together(figures, message):
    with pytest.raises(UserError, match=message):
        How(**figures)
