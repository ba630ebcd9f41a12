"""When each word of a known text is spoken, by the best path of a CTC model through it.

torchaudio has such an alignment in a compiled part that does not load beside every build of torch, so it is written out
here: the recursion of Graves et al. 2006 with the maximum in place of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.ctc import needed_frames
from harness.errors import UserError

PAUSE = 0.25
"""Seconds without a letter from which on a gap between two words belongs to neither."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Word:
    """A word and the seconds at which it starts and ends."""

    text: str
    start: float
    end: float


def forced_path(log_probs: Tensor, target: Sequence[int], blank: int = 0) -> Ints:
    """The place in `target` that each frame of (T, V) log-probabilities is spent on, -1 for the blank: (T,).

    Of all paths that spell `target`, the most probable one. Raises UserError where the frames are too few for it."""
    frames = len(log_probs)
    if not target or frames < needed_frames(target):
        raise UserError(
            f"{needed_frames(target) if target else 'some'} frames or more wanted for {len(target)} symbols, found "
            f"{frames}; the text does not fit the audio"
        )
    symbols = np.full(2 * len(target) + 1, blank)
    symbols[1::2] = target
    emitted = log_probs.detach().double().cpu().numpy()[:, symbols]
    # from two states before only onto a symbol that differs from the last one, past the blank between them
    skips = np.zeros(len(symbols), dtype=bool)
    skips[3::2] = symbols[3::2] != symbols[1:-2:2]
    score = np.full(len(symbols), -math.inf)
    score[:2] = emitted[0, :2]
    came = np.zeros((frames, len(symbols)), dtype=np.int64)
    for t in range(1, frames):
        options = np.full((3, len(symbols)), -math.inf)
        options[0], options[1, 1:] = score, score[:-1]
        options[2, 2:] = np.where(skips[2:], score[:-2], -math.inf)
        came[t] = options.argmax(axis=0)
        score = options.max(axis=0) + emitted[t]
    state = len(symbols) - 1 if score[-1] >= score[-2] else len(symbols) - 2
    path = np.empty(frames, dtype=np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = (state - 1) // 2 if state % 2 else -1
        state -= came[t, state]
    return path


def word_times(path: Ints, words: Sequence[str], places: Sequence[Sequence[int]], frame_seconds: float) -> list[Word]:
    """The words' times from a path of `forced_path`; `places` are those of each word's letters in the target.

    A word lasts from its first letter's first frame to its last letter's last; a gap between two words is halved
    between them unless it is a pause. CTC puts a letter out somewhere within its sound, so times are within some tens
    of milliseconds at best, and further off where the model recognises little."""
    edges = []
    for own in places:
        at = np.flatnonzero(np.isin(path, list(own)))
        edges.append([int(at[0]), int(at[-1]) + 1])
    for before, after in zip(edges, edges[1:], strict=False):
        if (after[0] - before[1]) * frame_seconds < PAUSE:
            before[1] = after[0] = (before[1] + after[0] + 1) // 2
    return [
        Word(word, start * frame_seconds, end * frame_seconds)
        for word, (start, end) in zip(words, edges, strict=True)
    ]


def frame_of(time: float, total: float, frames: int) -> int:
    """The frame at a time: ceil(time / total * frames), as the authors have it, times and total in seconds."""
    return math.ceil(round(time / total * frames, 6))  # rounded: 3.0000000004 is the third frame, not the fourth


def words_of_frames(words: Sequence[Word], total: float, frames: int) -> list[int]:
    """The index of the word that each frame belongs to, -1 for none: (frames,)."""
    found = [-1] * frames
    for index, word in enumerate(words):
        for frame in range(frame_of(word.start, total, frames), min(frames, frame_of(word.end, total, frames))):
            found[frame] = index
    return found


def word_means(curve: Tensor, belongs: Sequence[int], words: int) -> list[float]:
    """The mean of a curve (frames,) over each word's frames; NaN for a word without any."""
    index = torch.tensor(belongs)
    return [float(curve[index == word].mean()) for word in range(words)]
