"""The disk budget, blocks, equal-length batches, and what `run.py cache` says and removes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_features import Backbone, Doubled, row

from harness import features as module
from harness import store as store_module
from harness.cli import main
from harness.errors import UserError
from harness.features import Features, block_means
from harness.store import FeatureStore, clear, holdings

LENGTHS = {"u": 40, "v": 40, "w": 24, "x": 40}


@pytest.fixture
def audio(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(utterance):
        generator = np.random.default_rng(sum(utterance.id.encode()))
        return generator.normal(0, 0.1, LENGTHS[utterance.id]).astype(np.float32)

    monkeypatch.setattr(module.audio, "read", read)


def rows() -> list:
    return [row(name, name) for name in LENGTHS]


def test_equal_lengths_are_batched_and_give_the_same_features(audio: None, tmp_path: Path) -> None:
    class Counting(Backbone):
        sizes: list[int] = []

        def layers(self, waves):
            assert len({len(wave) for wave in waves}) == 1
            self.sizes.append(len(waves))
            return super().layers(waves)

    alone = Features(Backbone(), None, rows(), FeatureStore(tmp_path / "a"))
    together = Features(Counting(), None, rows(), FeatureStore(tmp_path / "b"), batch=2)
    for source in (alone, together):
        source.prepare(list(LENGTHS), "means", "")
    assert sorted(Counting.sizes) == [1, 1, 2]
    assert all(torch.equal(alone.mean(i), together.mean(i)) for i in LENGTHS)


def test_means_come_in_the_order_asked_for_in_memory_or_mapped(audio: None, tmp_path, monkeypatch) -> None:
    source = Features(Backbone(), None, rows(), FeatureStore(tmp_path))
    asked = ["w", "u", "x"]
    inside = source.means(asked)
    assert torch.equal(inside, torch.stack([source.mean(i) for i in asked]))
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    assert torch.equal(source.means(asked), inside)
    assert not list(tmp_path.glob("*.means"))


def test_any_run_of_blocks_gives_the_mean_of_its_frames() -> None:
    frames = torch.randn(23, 3, 5)
    means, counts = block_means(frames, 5)
    assert counts.tolist() == [5, 5, 5, 5, 3]
    crop = (means[2:] * counts[2:, None, None]).sum(0) / counts[2:].sum()
    torch.testing.assert_close(crop, frames[10:].mean(0))


@pytest.mark.parametrize("upstream", [None, Doubled(), Doubled("utterance")])
def test_blocks_are_kept_and_read_back(audio: None, tmp_path, monkeypatch, upstream) -> None:
    monkeypatch.setattr(module, "block_frames", lambda stride: 4)
    backbone = Backbone()
    args = (backbone, None) if upstream is None else (upstream, backbone)
    source = Features(*args, rows(), FeatureStore(tmp_path))
    source.prepare(["u"], "blocks", "")
    cold = source.blocks("u")
    warm = Features(*args, rows(), FeatureStore(tmp_path)).blocks("u")
    source.mean("u")
    assert backbone.calls == 1 and torch.equal(cold[0], warm[0]) and torch.equal(cold[1], warm[1])
    whole = (cold[0] * cold[1][:, None, None]).sum(0) / cold[1].sum()
    torch.testing.assert_close(whole, source.mean("u"), atol=2e-3, rtol=0)


def test_frames_beyond_the_budget_are_encoded_again_and_equal(audio: None, tmp_path: Path, capsys) -> None:
    one = 10 * 2 * 4 * 2  # bytes of a clip of 40 samples
    backbone, store = Backbone(), FeatureStore(tmp_path, budget_gb=0)
    store.budget = 2 * one + 100  # two arrays and their headers
    source = Features(backbone, None, rows(), store)
    source._utterances = {i: replace(u, duration=40 / 16000) for i, u in source._utterances.items()}
    source.prepare(list(LENGTHS), "frames", "train")
    assert backbone.calls == 2 and "encoded at every reading" in capsys.readouterr().err
    kept = len(list(tmp_path.rglob("frames/*/*.npy")))
    assert kept == 2
    free = Features(Backbone(), None, rows(), FeatureStore(tmp_path / "free"))
    assert all(torch.equal(source.frames(i), free.frames(i)) for i in LENGTHS)
    assert backbone.calls == 4


def test_means_alone_are_kept_where_frames_would_crowd_the_budget(audio: None, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, budget_gb=0)
    source = Features(Backbone(), None, rows(), store)
    source.prepare(list(LENGTHS), "means", "train")
    assert not list(tmp_path.rglob("frames/*/*.npy")) and len(list(tmp_path.rglob("means/*/*.npy"))) == 4


def test_the_plan_is_told_before_and_not_when_nothing_is_to_do(audio: None, tmp_path: Path, capsys) -> None:
    source = Features(Backbone(), None, rows(), FeatureStore(tmp_path))
    source.prepare(list(LENGTHS), "means", "asv, features of dev")
    assert "asv, features of dev: 4 of 4 clips to encode" in capsys.readouterr().err
    source.prepare(list(LENGTHS), "means", "asv, features of dev")
    assert capsys.readouterr().err == ""


def test_cache_ls_names_upstreams_and_clear_removes_one(audio: None, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path))
    store = FeatureStore(tmp_path / "features")
    backbone = Backbone()
    Features(Doubled(), backbone, rows(), store).prepare(["u", "v"], "means", "")
    assert main(["cache", "ls"]) == 0
    shown = capsys.readouterr().out
    assert "toy" in shown and "doubled" in shown
    assert {held.upstream: held.arrays for held in holdings(store.root)} == {
        "toy": {"frames": 2},
        "doubled": {"means": 2},
    }
    assert main(["cache", "clear", "-u", "doubled"]) == 0
    assert [held.upstream for held in holdings(store.root)] == ["toy"]
    assert main(["cache", "clear", "-u", "tpy"]) == 2 and "tpy" in capsys.readouterr().err
    assert main(["cache", "clear"]) == 0 and holdings(store.root) == []
    assert main(["cache", "ls"]) == 0 and "no features" in capsys.readouterr().out


def test_clear_of_an_unknown_upstream_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds nothing"):
        clear(tmp_path, "x")


def test_the_budget_counts_what_is_there_already(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.save(store.path("f" * 64, "frames", "k" * 40), np.zeros(1000, dtype=np.float16))
    later = FeatureStore(tmp_path, budget_gb=1)
    assert later.room() < store_module.GB - 2000
    before = later.room()
    later.save(later.path("f" * 64, "frames", "l" * 40), np.zeros(500, dtype=np.float16))
    assert later.room() == before - 1000


@pytest.mark.parametrize("form", ["frames", "means", "blocks"])
@pytest.mark.parametrize("damage", ["zeros", "one bit", "cut short", "no bytes"])
def test_what_changed_on_disk_is_made_again_and_said(audio: None, tmp_path, capsys, form: str, damage: str) -> None:
    def read(source: Features) -> torch.Tensor:
        return {"frames": source.frames, "means": source.mean, "blocks": lambda i: source.blocks(i)[0]}[form]("u")

    source = Features(Backbone(), None, rows(), FeatureStore(tmp_path))
    source.prepare(["u"], form, "")
    good = read(source)
    (file,) = tmp_path.rglob(f"{form}/*/*.npy")
    data = bytearray(file.read_bytes())
    if damage == "zeros":
        data[128:-8] = bytes(len(data) - 136)
    elif damage == "one bit":
        data[len(data) // 2] ^= 4
    else:
        del data[len(data) // 2 if damage == "cut short" else 0 :]
    file.write_bytes(data)
    capsys.readouterr()
    again = Features(Backbone(), None, rows(), FeatureStore(tmp_path))
    again.prepare(["u"], form, "")
    assert torch.equal(read(again), good)
    told = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert len(told) == 1 and str(file) in told[0]
    assert again.store.load(file) is not None


@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_from_before_there_were_checksums_count_as_absent(tmp_path: Path, capsys, mapped: bool) -> None:
    store = FeatureStore(tmp_path, budget_gb=1)
    path = store.path("f" * 64, "frames", "k" * 40)
    store.save(path, np.arange(12, dtype=np.float16).reshape(3, 4))
    assert store.has(path) and np.array_equal(np.load(path), store.load(path, mapped))
    for look in (lambda: store.load(path, mapped), lambda: store.has(path) or None):
        np.save(path, np.zeros((3, 4), dtype=np.float16))
        store._used = path.stat().st_size
        assert look() is None and not path.exists() and store.room() == store_module.GB
    assert capsys.readouterr().err == "" and not store.has(path)


def test_a_mapped_array_is_compared_once_a_process_and_again_when_it_is_replaced(tmp_path: Path, monkeypatch) -> None:
    path = FeatureStore(tmp_path).path("f" * 64, "frames", "k" * 40)
    FeatureStore(tmp_path).save(path, np.ones(100, dtype=np.float16))
    sums, sound = [], store_module._sound
    monkeypatch.setattr(store_module, "_sound", lambda data: sums.append(len(data)) or sound(data))
    for _ in range(3):
        assert FeatureStore(tmp_path).load(path, mapped=True) is not None
    assert len(sums) == 1
    FeatureStore(tmp_path).save(path, np.ones(200, dtype=np.float16))
    assert len(FeatureStore(tmp_path).load(path, mapped=True)) == 200 and len(sums) == 2


@pytest.mark.parametrize(("form", "budget"), [("frames", 1), ("means", 1), ("means", 0), ("blocks", 1), ("blocks", 0)])
def test_processes_that_start_together_share_the_clips(audio: None, tmp_path, monkeypatch, form, budget) -> None:
    """While the first encodes its first clip, another does the rest: the first finds them done."""
    monkeypatch.setattr(module, "LOOKAHEAD", 1)
    other = Features(Backbone(), None, rows(), FeatureStore(tmp_path, budget))

    class Slow(Backbone):
        def layers(self, waves):
            if self.calls == 0:
                monkeypatch.setattr(store_module.os, "getpid", lambda: 2)
                other.prepare(list(LENGTHS), form, "")
            return super().layers(waves)

    slow = Slow()
    monkeypatch.setattr(store_module.os, "getpid", lambda: 1)
    source = Features(slow, None, rows(), FeatureStore(tmp_path, budget))
    source.prepare(list(LENGTHS), form, "")
    assert slow.calls == 1 and other.backbone.calls == len(LENGTHS)
    alone = Features(Backbone(), None, rows(), FeatureStore(tmp_path / "alone"))
    assert all(torch.equal(source.mean(i), alone.mean(i)) for i in LENGTHS) and slow.calls == 1


def test_each_process_begins_at_a_place_of_its_own(monkeypatch) -> None:
    items, firsts = list(range(103)), set()
    for pid in range(4000, 4008):
        monkeypatch.setattr(store_module.os, "getpid", lambda pid=pid: pid)
        runs = store_module.from_own_place(items, 4)
        assert sorted(item for run in runs for item in run) == items and max(map(len, runs)) == 4
        firsts.add(runs[0][0])
    assert len(firsts) == 8 and store_module.from_own_place([], 4) == []
