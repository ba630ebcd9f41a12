"""Lists of ids, and words with their canonical phones: the small CSV files of a suite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import UserError
from harness.metrics_sequences import BETWEEN_WORDS
from tasks.csv_rows import records


@dataclass(frozen=True)
class Lexicon:
    """Canonical phones by upper-case word."""

    path: Path
    words: dict[str, str]

    def phones(self, text: str) -> str:
        """"HELLO WORLD" -> "HH AH L OW | W ER L D". Raises UserError, naming it, for a word that is not listed."""
        missing = sorted({word for word in text.split() if word not in self.words})
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UserError(f"{self.path} has no phones for {missing[0]!r}{more}; add them")
        return f" {BETWEEN_WORDS} ".join(self.words[word] for word in text.split())


@lru_cache(maxsize=8)
def read_lexicon(path: Path) -> Lexicon:
    """The columns `word` and `phones`. Raises UserError for a missing file or a word listed twice."""
    words: dict[str, str] = {}
    for number, row in records(_bytes(path), path, ("word", "phones")):
        if row["word"] in words:
            raise UserError(f"{path} row {number}: {row['word']} is listed twice")
        words[row["word"]] = row["phones"]
    return Lexicon(path, words)


def read_ids(path: Path) -> list[str]:
    """The column `id`. Raises UserError for a missing or empty list or an id listed twice."""
    ids = [row["id"] for _, row in records(_bytes(path), path, ("id",))]
    if not ids or len(set(ids)) != len(ids):
        twice = next((i for i in ids if ids.count(i) > 1), None)
        raise UserError(f"{path}: ids, each once, wanted, found {f'{twice} twice' if twice else 'none'}")
    return ids


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); restore it") from None
