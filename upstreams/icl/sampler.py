"""Dense crossed batches: every drawn speaker says every drawn sentence, so each variable varies freely of the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from harness.contracts import Utterance
from harness.errors import UserError
from harness.train import step_seed


def crossed_table(utterances: Sequence[Utterance]) -> Tensor:
    """(speakers, sentences) indices into `utterances`; axes in sorted order of the `speaker` and `label` fields.

    Raises UserError where a cell is missing or filled twice: the set is not crossed.
    """
    speakers = sorted({u.speaker for u in utterances})
    sentences = sorted({u.label for u in utterances})
    row = {name: i for i, name in enumerate(speakers)}
    column = {name: i for i, name in enumerate(sentences)}
    table = torch.full((len(speakers), len(sentences)), -1, dtype=torch.long)
    for index, u in enumerate(utterances):
        place = row[u.speaker], column[u.label]
        if table[place] >= 0:
            raise UserError(f"crossed data: speaker {u.speaker} says sentence {u.label!r} twice ({u.id}); keep one")
        table[place] = index
    missing = (table < 0).nonzero()
    if len(missing):
        i, j = missing[0].tolist()
        raise UserError(
            f"crossed data: every speaker must say every sentence, {len(missing)} of {table.numel()} are missing, the "
            f"first is speaker {speakers[i]}, sentence {sentences[j]!r}; add them or drop the speaker or sentence"
        )
    return table


def batch_shape(batch: int, axes: tuple[int, int]) -> tuple[int, int]:
    """Speakers x sentences of a batch, by the authors' rule: factors of `batch` of at least 2 that divide the axes,
    the pair with the least difference. 512 from 32 x 256 gives (16, 32).

    Raises UserError, with the nearest sizes that work, where there is no such pair.
    """
    pairs = [pair for pair in _pairs(axes) if pair[0] * pair[1] == batch]
    if not pairs:
        sizes = sorted({a * b for a, b in _pairs(axes)}, key=lambda size: abs(size - batch))[:3]
        found = (
            f"the nearest that work are {', '.join(map(str, sizes))}"
            if sizes
            else "no size works: an axis is too short"
        )
        raise UserError(f"a batch of {batch} cannot be laid out on {axes[0]} speakers x {axes[1]} sentences: {found}")
    return min(pairs, key=lambda pair: abs(pair[0] - pair[1]))


def _pairs(axes: tuple[int, int]) -> list[tuple[int, int]]:
    first, second = ([f for f in range(2, size + 1) if size % f == 0] for size in axes)
    return list(itertools.product(first, second))


class CrossedSampler:
    """Batches of a crossed set, each a dense block. An epoch permutes speakers and sentences and tiles the table, so
    every utterance is seen once; batch `step` is a pure function of the seed and the step."""

    def __init__(self, table: Tensor, batch: int, seed: int):
        """`table` as `crossed_table` gives it."""
        self.table, self.seed = table, seed
        self.shape = batch_shape(batch, (table.shape[0], table.shape[1]))
        self.tiles = table.shape[0] // self.shape[0], table.shape[1] // self.shape[1]

    @property
    def batches_per_epoch(self) -> int:
        return self.tiles[0] * self.tiles[1]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """(B,) indices of the utterances and (B, 2) values: row (speaker) and column (sentence) of the table."""
        epoch, tile = divmod(step, self.batches_per_epoch)
        generator = torch.Generator().manual_seed(step_seed("crossed", self.seed, epoch))
        speakers, sentences = (torch.randperm(size, generator=generator) for size in self.table.shape)
        i, j = divmod(tile, self.tiles[1])
        rows = speakers[i * self.shape[0] : (i + 1) * self.shape[0]]
        columns = sentences[j * self.shape[1] : (j + 1) * self.shape[1]]
        return dense_block(self.table, rows, columns)


def dense_block(table: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Every pair of the rows and columns: (B,) entries of the table and (B, 2) their row and column."""
    values = torch.cartesian_prod(rows, columns)
    return table[values[:, 0], values[:, 1]], values
