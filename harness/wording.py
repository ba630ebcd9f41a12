"""Counts and sizes in messages, and the preset that they warn of."""

from __future__ import annotations

TRIAL = "trial"
"""The preset of a few updates, by which a corpus is seen to go through: what it scores is no result."""


def counted(count: int, noun: str) -> str:
    """`counted(1, "row")` -> '1 row', `counted(1200, "row")` -> '1,200 rows'. For nouns whose plural is an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def disk(count: float) -> str:
    """Bytes -> '1.2 GB' or '30 MB', at least 0."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"
