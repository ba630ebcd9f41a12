"""Verification trials for corpora that have none: as many targets as non-targets for every speaker, drawn with a fixed
seed, and the check that training has heard nobody in them.

    trials = balanced(rows, session=lambda u: u.channel, gender=genders)

A task's YAML gets them for any corpus, a user's own manifest among them, by `trials: balanced`: across the sessions
that the corpus's module tells (chapters, videos, talks), else across channels. A module that tells genders too makes
its own (`tasks/corpora/voxceleb1.py`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from harness.contracts import Trial, Utterance
from harness.errors import UserError
from harness.wording import counted

BALANCED = "balanced"
"""What a YAML names for trials that are made and not read."""
A_SPEAKER = 100
"""Targets, and as many non-targets."""
SEED = 1
SHORTEST = 1.0
"""Seconds below which a clip is in no trial."""


def by_channel(u: Utterance) -> str:
    return u.channel


def balanced(
    utterances: Iterable[Utterance],
    *,
    session: Callable[[Utterance], str] = by_channel,
    gender: Mapping[str, str] | None = None,
    a_speaker: int = A_SPEAKER,
    seed: int = SEED,
    shortest: float = SHORTEST,
    across: bool = False,
) -> Iterator[Trial]:
    """Targets pair two sessions of a speaker, or two clips where the speaker has one session; non-targets pair two
    speakers, of one gender where `gender` (by speaker) says it. Sentences differ where both are known. Where a speaker
    has fewer pairs than `a_speaker` all are taken; no pair occurs twice, in either order. `across`: non-targets too
    pair two sessions, as many as the speaker has targets, and who has one session has none."""
    known = gender or {}
    rows: dict[str, list[Utterance]] = defaultdict(list)
    for u in sorted(utterances, key=lambda u: u.id):
        if u.duration >= shortest and u.speaker.strip("-"):
            rows[u.speaker].append(u)
    speakers = sorted(rows)
    draw, number = random.Random(seed), 0
    used: set[frozenset[str]] = set()
    for speaker in speakers:
        apart = len({session(u) for u in rows[speaker]}) > 1
        wanted = a_speaker
        others = [name for name in speakers if name != speaker and known.get(name) == known.get(speaker)]
        for target in (True, False):
            pairs: list[tuple[Utterance, Utterance]] = []
            for a, b in _draws(draw, rows, speaker, [speaker] if target else others, 20 * a_speaker):
                if len(pairs) == wanted:
                    break
                if a.id == b.id or (a.text and a.text == b.text) or frozenset((a.id, b.id)) in used:
                    continue
                if (across or target and apart) and session(a) == session(b):
                    continue
                used.add(frozenset((a.id, b.id)))
                pairs.append((a, b))
            wanted = len(pairs) if across else a_speaker
            for a, b in sorted(pairs, key=lambda pair: (pair[0].id, pair[1].id)):
                yield Trial(f"t{number:05d}", a.id, b.id, target, _same(a, b, known))
                number += 1


def made(rows: Sequence[Utterance], session: Callable[[Utterance], str] = by_channel) -> list[Trial]:
    """`balanced` with what the rows and their corpora say. Raises UserError where they give no target or no
    non-target."""
    trials = list(balanced(rows, session=session))
    if len({trial.target for trial in trials}) != 2:
        speakers = counted(len({u.speaker for u in rows}), "speaker")
        raise UserError(
            f"trials {BALANCED}: two speakers wanted with two clips each of {SHORTEST:g} s and more, of other texts, "
            f"found {counted(len(rows), 'clip')} of {speakers}; take other rows"
        )
    return trials


def _draws(
    draw: random.Random, rows: Mapping[str, Sequence[Utterance]], speaker: str, others: Sequence[str], count: int
) -> Iterator[tuple[Utterance, Utterance]]:
    for _ in range(count if others else 0):
        yield draw.choice(rows[speaker]), draw.choice(rows[draw.choice(others)])


def _same(a: Utterance, b: Utterance, gender: Mapping[str, str]) -> dict[str, bool]:
    values = {
        "language": (a.language, b.language),
        "channel": (a.channel, b.channel),
        "gender": (gender.get(a.speaker, ""), gender.get(b.speaker, "")),
    }
    return {what: x == y for what, (x, y) in values.items() if x and y}


def unheard(split: str, tested: Iterable[Utterance], train: Iterable[Utterance]) -> None:
    """Raises UserError where a speaker of a split's trials is a training speaker of the head that it tests: of
    VoxCeleb1-E and -H, say, under a head trained on VoxCeleb1 dev."""
    heard = {u.speaker for u in train} - {"", "-"}
    shared = sorted({u.speaker for u in tested} & heard)
    if shared:
        raise UserError(
            f"split {split}: {counted(len(shared), 'speaker')} of its trials in train, first {shared[0]}; a head is "
            "not tested on whom it was trained on: leave the split out, train on other speakers, or take --head "
            "cosine, which trains nothing"
        )
