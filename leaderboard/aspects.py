"""What a task asks of a voice, and what a stream was post-trained for: who speaks, what is said, or how.

The aspects of the tasks are SUPERB's own (Yang et al. 2021, section 2.2: content, speaker, paralinguistics). A stream's
come from the words of its name, as the cards give them; a name without such a word is read by the labels of the data.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from leaderboard.cells import Cell

WHO, WHAT, HOW = "who", "what", "how"
TASKS = {"asv": WHO, "sid": WHO, "sd": WHO, "ks": WHAT, "pr": WHAT, "asr": WHAT, "qbe": WHAT, "er": HOW}
"""A task that is not here, such as pr_frames, counts in neither."""
WORDS: dict[str, frozenset[str]] = {
    "speaker": frozenset({WHO}),
    "content": frozenset({WHAT}),
    "text": frozenset({WHAT}),
    "emotion": frozenset({HOW}),
    "joint": frozenset({WHO, WHAT}),
    "both": frozenset({WHAT}),
}
"""Of a name; `both` adds the text stage to what the name's other word says."""
LABELS = {"speaker": WHO, "text": WHAT, "phones": WHAT, "none": ""}
"""Of a card's data; `unknown` are taken for those of the corpus's own task."""
SILENT = {"acoustic"}
"""Words that tell nothing apart: the counterpart of vib_acoustic_speaker is vib_text."""


def words(upstream: str) -> list[str]:
    """Of the name before its backbone: 'vib_acoustic_speaker@whisper_tiny' -> vib, acoustic, speaker."""
    return re.split(r"[_+:-]", upstream.partition("@")[0])


def aspects(upstream: str) -> frozenset[str]:
    """Of the words of a name; a task's word stands for its aspect."""
    found: frozenset[str] = frozenset()
    for word in words(upstream):
        found |= WORDS.get(word, frozenset({TASKS[word]} if word in TASKS else ()))
    return found


def side(upstream: str) -> str | None:
    """`who` or `what` for a stream that is meant for that alone."""
    found = aspects(upstream)
    return next(iter(found)) if found in ({WHO}, {WHAT}) else None


def rest(upstream: str) -> tuple[str, ...]:
    """The words that say neither what a stream is for nor anything else: equal for the streams of one pair."""
    return tuple(word for word in words(upstream) if word not in (WORDS.keys() | TASKS.keys() | SILENT))


def own_training(cell: Cell, backbone: Cell | None) -> list[tuple[str, str]]:
    """Corpus and labels of what the upstream was trained on beyond its backbone."""
    below = set(backbone.result.upstream.trained_on) if backbone else set()
    found = []
    for line in cell.result.upstream.trained_on:
        if line not in below:
            corpus, _, labels = line.rpartition(" (")
            found.append((corpus, labels.rstrip(")")))
    return found


def trained_for(upstream: str, training: Collection[tuple[str, str]], task: str, corpora: Collection[str]) -> bool:
    """Whether the post-training was for the task: its name has the task's own name, or else a word of its aspect. A
    name without any such word is read by the labels: those of the task's aspect, or unknown ones on a corpus of it."""
    if not training:
        return False
    named = TASKS.keys() & set(words(upstream))
    if named:
        return task in named
    if found := aspects(upstream):
        return TASKS.get(task) in found
    return any(
        LABELS[labels] == TASKS.get(task) if labels in LABELS else corpus in corpora for corpus, labels in training
    )
