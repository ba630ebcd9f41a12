"""Forced alignment against all paths of a small model, and frames, seconds and words into one another."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from harness.errors import UserError
from upstreams.vib.alignment import Word, forced_path, frame_of, word_means, word_times, words_of_frames


def spells(path: tuple[int, ...]) -> list[int]:
    return [s for s, _ in itertools.groupby(path) if s != 0]


@pytest.mark.parametrize("target", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 2]])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_paths_that_spell_the_text(target: list[int], seed: int) -> None:
    scores = (3 * torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))).log_softmax(dim=-1).double()
    every = [path for path in itertools.product(range(3), repeat=5) if spells(path) == target]
    best = max(sum(float(scores[t, s]) for t, s in enumerate(path)) for path in every)
    found = forced_path(scores, target)
    symbols = tuple(0 if place < 0 else target[place] for place in found)
    assert spells(symbols) == target
    assert sum(float(scores[t, s]) for t, s in enumerate(symbols)) == pytest.approx(best)
    assert [place for place, _ in itertools.groupby(found[found >= 0])] == list(range(len(target)))


def test_too_few_frames_are_refused() -> None:
    scores = torch.zeros(3, 3)
    assert forced_path(scores, [1, 2, 1]).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="4 frames or more wanted for 3 symbols, found 3"):
        forced_path(scores, [1, 1, 2])
    with pytest.raises(UserError, match="does not fit"):
        forced_path(scores, [])


def test_a_gap_is_halved_and_a_pause_is_nobodys() -> None:
    # letters at frames 2-3 | 8 | 30; the places 2 and 4 part words
    path = np.full(40, -1)
    path[[2, 3]], path[5], path[8], path[10], path[30] = [0, 1], 2, 3, 4, 5
    words = word_times(path, ["AB", "C", "D"], [[0, 1], [3], [5]], frame_seconds=0.02)
    assert [(w.text, round(w.start / 0.02), round(w.end / 0.02)) for w in words] == [
        ("AB", 2, 6), ("C", 6, 9), ("D", 30, 31),
    ]  # fmt: skip


def test_frames_of_words_are_those_of_the_formula() -> None:
    assert frame_of(0.0, 2.0, 100) == 0
    assert frame_of(0.5, 2.0, 100) == 25
    assert frame_of(0.501, 2.0, 100) == 26  # ceil
    words = [Word("A", 0.04, 0.1), Word("B", 0.1, 0.16)]
    assert words_of_frames(words, total=0.2, frames=10) == [-1, -1, 0, 0, 0, 1, 1, 1, -1, -1]


def test_means_over_words() -> None:
    curve = torch.tensor([1.0, 3.0, 5.0, 100.0])
    means = word_means(curve, [0, 0, 1, -1], words=3)
    assert means[:2] == [2.0, 5.0] and math.isnan(means[2])
