"""One text normalisation, for references and hypotheses alike: what counts as a word error starts here."""

from __future__ import annotations

import re
import unicodedata

from harness.errors import UserError

NORM_VERSION = 1
"""Rises with every change of `normalise`: scores under different versions are not comparable."""

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bc\u02b9\u2032\u0060\u00b4\uff07", "'"))
_WORD = re.compile(r"L[LM]*(?:'+L[LM]*)*")
"""Over the classes of the characters: a letter, then letters and the marks that belong to them; apostrophes inside."""


def _folded(text: str) -> str:
    # apostrophes first: NFKC takes the acute accent for a space with a mark; again after, since it makes new ones
    plain = "".join(char for char in text.translate(_APOSTROPHES) if unicodedata.category(char) != "Cf")
    upper = unicodedata.normalize("NFKC", plain).translate(_APOSTROPHES).upper()
    return unicodedata.normalize("NFKC", upper)


def _class(char: str) -> str:
    kind = unicodedata.category(char)[0]
    return kind if kind in "LM" else "'" if char == "'" else " "


def normalise(text: str) -> str:
    """Upper-case words with single spaces between them. Applied twice it changes nothing more.

    NFKC (https://unicode.org/reports/tr15/); typographic apostrophes become '; letters of any script, the marks on
    them and an apostrophe inside a word stay; invisible format characters go; all else is a space. LibriSpeech's
    transcripts stay as they are but for the apostrophes at a word's edge (SERVANTS'), which no other corpus keeps.
    Raises UserError for a digit: "21st" can be read in more than one way, so numbers must come spelt out."""
    for _ in range(8):
        folded = _folded(text)
        if folded == text:
            break
        text = folded
    number = next((char for char in text if unicodedata.category(char)[0] == "N"), None)
    if number is not None:
        raise UserError(f"words wanted, found the digit {number!r} in {text[:80]!r}; spell numbers out")
    classes = "".join(map(_class, text))
    return " ".join(text[found.start() : found.end()] for found in _WORD.finditer(classes))
