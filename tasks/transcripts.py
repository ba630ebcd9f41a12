"""From a corpus's transcript to what a row may hold: which texts are spoken as they are written, and their phones."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UserError
from harness.metrics_sequences import BETWEEN_WORDS
from harness.text import normalise

DIGITS = "_digits"
"""Ends the name of the split of rows whose text has numbers in digits: how they were spoken is not known."""
PHONES = "-phones"
"""Ends the name of the split of rows whose every word a lexicon has."""


def words(text: str) -> list[str] | None:
    """The text's words as they are scored, [] where nothing is left of it, None where it has digits."""
    try:
        return normalise(text).split()
    except UserError:
        return None


def split_of(split: str, text: str) -> str:
    """`split`, with DIGITS for a text that has some; "" for one without words."""
    found = words(text)
    return f"{split}{DIGITS}" if found is None else split if found else ""


def phones(text: str, lexicon: Mapping[str, str]) -> str:
    """The first pronunciation of each word, `HH AH0 | W ER1`; "" where the lexicon (word in capitals to phones with
    spaces between) lacks one or the text has digits."""
    found = words(text) or []
    if not found or any(word not in lexicon for word in found):
        return ""
    return f" {BETWEEN_WORDS} ".join(lexicon[word] for word in found)
