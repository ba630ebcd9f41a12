"""What a row's prediction is scored against, and what a recipe is trained for: its class, its words or its phones."""

from __future__ import annotations

from harness import metrics_frames
from harness.contracts import Utterance
from harness.text import normalise
from tasks.lexicon import Lexicon


def reference(u: Utterance, kind: str, label: str, lexicon: Lexicon | None) -> str:
    """A row's reference; empty where the manifest says nothing. `kind`: classification (the column `label` names),
    words, frames (phones with their ends in seconds) or phones, by `lexicon` where the manifest has none. Raises
    UserError for a word that the lexicon lacks and for frames that cannot be read."""
    if kind == "classification":
        return str(getattr(u, label))
    if kind == "words":
        return normalise(u.text)
    if kind == "frames":
        if u.phones:
            metrics_frames.parse(u.phones)
        return u.phones
    if u.phones or lexicon is None:
        return u.phones
    return lexicon.phones(normalise(u.text))
