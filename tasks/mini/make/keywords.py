"""What the voices of `kokoro_ks` say: fourteen keywords, and words that are none, another list for every split."""

from __future__ import annotations

KEYWORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "yes", "no", "stop", "go")
UNKNOWN = {
    "train": (
        "apple bread bridge candle chair doctor flower garden hammer island jacket kitchen lemon mountain number "
        "paper rabbit remember silver table visit winter yellow banana"
    ),
    "dev": (
        "animal basket circle dinner engine forest guitar honey ladder market moon music orange pencil river season "
        "street tiger village window camera holiday"
    ),
    "test": (
        "bottle chicken cloud daughter eagle family hospital insect jungle leader magic needle office planet rocket "
        "shoulder tomato tree uncle wonder potato button monkey bird"
    ),
}
"""Split -> words of one to three syllables."""
UNKNOWN_LABEL, SILENCE_LABEL = "_unknown_", "_silence_"
