"""English sentences by a seeded template grammar: plain, distinct, of a wanted length.

    crossed = take(48, "crossed", words=(5, 9))

Each named set has its own random stream; `distinct` draws several sets that share no sentence.
"""

from __future__ import annotations

import random
import zlib

SEED = 2026

WORDS = {
    "adj": "old young tired quiet clever cheerful careful lonely famous hungry gentle stubborn proud nervous tall",
    "who": "farmer doctor teacher sailor baker painter driver neighbour child nurse tailor guard judge singer gardener",
    "verb": "found carried painted noticed repaired borrowed dropped washed "
    "measured bought hid followed sketched admired",
    "colour": "red green silver yellow wooden heavy broken narrow bright empty golden dusty square purple little",
    "thing": "basket ladder kettle bicycle blanket mirror hammer letter bottle window camera "
    "jacket lantern table guitar",
    "place": "river bridge station market garden harbour kitchen library mountain castle village "
    "forest church airport beach",
    "prep": "near behind beside above beyond inside under outside",
    "when": "today again yesterday alone quickly slowly quietly early already",
    "long": "before-breakfast after-the-storm on-Thursday-morning every-other-week during-the-holiday without-any-help "
    "just-before-midnight in-the-early-spring for-a-good-reason at-the-usual-hour",
    "going": "walked travelled hurried returned wandered climbed jumped drove swam marched",
    "beast": "horse goose rabbit donkey puppy monkey pigeon spider turtle squirrel zebra dolphin",
    "food": "bread cheese soup honey ginger lemon butter pepper rice chocolate apples onions",
    "sky": "cloudy windy frozen misty peaceful dangerous crowded beautiful strange noisy",
}
SHORT = (
    "the {who} {verb} a {colour} {thing}",
    "my {adj} {who} {verb} the {thing} {when}",
    "a {adj} {beast} {going} {prep} the {place}",
    "we {verb} the {colour} {thing} {prep} the {place}",
    "please give the {beast} some {food} and {food}",
    "why was the {place} so {sky} {when}",
    "she {going} {prep} the {sky} {place} {when}",
    "nobody {verb} the {beast} {prep} the {colour} {thing}",
    "{food} and {food} are sold {prep} the {place}",
    "his {thing} was {colour} but the {place} was {sky}",
    "they {going} {when} with a {adj} {beast}",
    "is that {adj} {who} {prep} the {place}",
)
LONG = (
    "the {adj} {who} {verb} a {colour} {thing} {prep} the {place} {when}",
    "{long} my {who} {going} {prep} the {sky} {place}",
    "we {verb} the {colour} {thing} and {going} {prep} the {place} {long}",
    "a {adj} {beast} {going} {prep} the {place} while the {who} {verb} {food}",
    "if the {place} is {sky} the {who} sells {food} and {food}",
    "the {beast} and the {adj} {who} {going} {when} {long}",
    "nobody told the {who} that the {thing} was {colour} or the {place} {sky}",
    "her {thing} was {colour} because the {adj} {beast} {going} {prep} it",
    "they {verb} some {food} for the {adj} {who} {prep} the {place}",
    "when the {who} {going} {prep} the {place} everyone {verb} the {thing}",
)


def take(count: int, name: str, words: tuple[int, int], avoid: frozenset[str] = frozenset()) -> list[str]:
    """`count` distinct sentences of words[0] to words[1] words, none of them in `avoid`.

    The templates are used in turn, then the order is shuffled, so that a slice favours none. Capitalised,
    with a full stop or, after a question word, its mark.
    """
    draw = random.Random(SEED + zlib.crc32(name.encode()))
    templates = SHORT if words[1] <= 9 else LONG
    found: list[str] = []
    turn = 0
    while len(found) < count:
        sentence = _fill(templates[turn % len(templates)], draw)
        turn += 1
        if words[0] <= len(sentence.split()) <= words[1] and sentence not in found and sentence not in avoid:
            found.append(sentence)
    draw.shuffle(found)
    return found


def distinct(**sets: tuple[int, tuple[int, int]]) -> dict[str, list[str]]:
    """Several sets, name -> (count, words), that share no sentence."""
    seen: set[str] = set()
    out = {}
    for name, (count, words) in sets.items():
        out[name] = take(count, name, words, frozenset(seen))
        seen |= set(out[name])
    return out


def _fill(template: str, draw: random.Random) -> str:
    used: set[str] = set()
    parts = []
    for part in template.split():
        if part.startswith("{"):
            part = draw.choice([word for word in WORDS[part[1:-1]].split() if word not in used])
            used.add(part)
        parts.append(part.replace("-", " "))
    text = " ".join(parts).replace(" a old ", " an old ").replace(" a empty ", " an empty ")
    text = text.replace("A old ", "An old ")
    text = "An" + text[1:] if text.startswith("a old ") else text[0].upper() + text[1:]
    return text + ("?" if text.startswith(("Why", "Is")) else ".")
