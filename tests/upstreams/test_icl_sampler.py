"""Dense crossed batches: the authors' factor rule, completeness, and what a set that is not crossed is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.contracts import Utterance
from harness.errors import UserError
from upstreams.icl.sampler import CrossedSampler, batch_shape, crossed_table

FIRST = Utterance("", "c", "train", None, "", 0, 1, 16000, "", "sure", "en", "", "", "", "", "", "", "")


def rows(speakers: int, sentences: int) -> list[Utterance]:
    made = [
        replace(FIRST, id=f"{p}-{s}", speaker=f"p{p:02d}", label=f"{s:03d}")
        for p in range(speakers)
        for s in range(sentences)
    ]
    return [made[i] for i in torch.randperm(len(made), generator=torch.Generator().manual_seed(1)).tolist()]


@pytest.mark.parametrize(
    ("batch", "axes", "shape"),
    [
        (512, (32, 256), (16, 32)),
        (768, (6, 256), (6, 128)),
        (480, (20, 48), (20, 24)),
        (320, (20, 48), (20, 16)),
        (4, (32, 256), (2, 2)),
    ],
)
def test_factor_rule(batch: int, axes: tuple[int, int], shape: tuple[int, int]) -> None:
    assert batch_shape(batch, axes) == shape


@pytest.mark.parametrize(("batch", "axes"), [(512, (20, 48)), (7, (14, 14)), (20, (5, 7))])
def test_a_size_that_does_not_fit_is_told_the_nearest(batch: int, axes: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="nearest that work are") as caught:
        batch_shape(batch, axes)
    for size in str(caught.value).rpartition("are ")[2].split(", "):
        assert batch_shape(int(size), axes)


def test_an_epoch_shows_each_utterance_once_in_dense_blocks() -> None:
    utterances = rows(4, 6)
    sampler = CrossedSampler(crossed_table(utterances), 6, seed=0)
    assert sampler.shape == (2, 3) and sampler.batches_per_epoch == 4
    for epoch in range(2):
        seen = []
        for step in range(4 * epoch, 4 * epoch + 4):
            indices, values = sampler.batch(step)
            people = {utterances[i].speaker for i in indices.tolist()}
            texts = {utterances[i].label for i in indices.tolist()}
            cells = {(utterances[i].speaker, utterances[i].label) for i in indices.tolist()}
            assert (len(people), len(texts), len(cells)) == (2, 3, 6)
            named = [(f"p{p:02d}", f"{s:03d}") for p, s in values.tolist()]
            assert named == [(utterances[i].speaker, utterances[i].label) for i in indices.tolist()]
            seen += indices.tolist()
        assert sorted(seen) == list(range(24))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    table = crossed_table(rows(4, 6))
    one, again, other = (CrossedSampler(table, 6, seed) for seed in (0, 0, 1))
    torch.manual_seed(5)
    later = one.batch(9)
    assert torch.equal(again.batch(9)[0], later[0])
    assert any(not torch.equal(one.batch(s)[0], other.batch(s)[0]) for s in range(4))
    assert any(not torch.equal(one.batch(s)[0], one.batch(s + 4)[0]) for s in range(4))


def test_a_missing_cell_is_named() -> None:
    utterances = [u for u in rows(3, 3) if u.id != "1-2"]
    with pytest.raises(UserError, match=r"1 of 9 are missing, the first is speaker p01, sentence '002'"):
        crossed_table(utterances)


def test_a_cell_filled_twice_is_named() -> None:
    utterances = rows(2, 2)
    with pytest.raises(UserError, match="says sentence '001' twice"):
        crossed_table([*utterances, replace(utterances[0], id="extra", speaker="p01", label="001")])
