"""The sentences of kokoro_read: grammatical, of a large vocabulary and of no sense, so that context gives no word away.

    sentences(658)

After the semantically unpredictable sentences of Benoit, Grice and Hazan (1996), with more frames: words of each kind
are dealt from a shuffled bag, which is filled again when it is empty, so that each is used about as often.
"""

from __future__ import annotations

import random

from tasks.mini.make.wordlist import words

SEED = 2029
WORDS = (6, 10)

SMALL = {
    "near": "near behind beside above below under over across against toward around inside beyond through",
    "my": "my your his her our their this that every",
    "their": "my your his her our their these those many several",
    "must": "can could may might must should will would",
    "he": "he she they we you somebody nobody everyone",
    "when": "when while because although before after unless until if",
    "number": "two three four five six seven eight nine ten twenty",
    "or": "and or but",
}
"""Slot -> function words."""
FRAMES = tuple(
    """
the {adjective} {person} {did} {my} {thing} {adverb}
a {person} {did} {number} {adjective} {things}
{my} {animal} {adverb} {went} {near} the {adjective} {nature}
{he} {must} {verb} the {idea} of a {adjective} {thing}
the {idea} {near} the {place} was {adverb} {adjective}
{when} the {animal} {went} {he} {did} a {thing}
{number} {people} {went} {near} {their} {things}
{he} {must} not {verb} {their} {animals} {near} the {nature}
{my} {adjective} {idea} {must} {verb} the {person}
there is a {adjective} {nature} {near} {my} {thing}
{he} {did} the {idea} {or} {did} the {nature}
the {person} who {went} {did} a {adjective} {animal}
{my} {thing} and {my} {nature} were {adjective}
to {verb} a {thing} is to {verb} the {idea}
{he} {must} {goes} {adverb} with the {adjective} {person}
no {person} {did} the {place} without {ideas}
{their} {people} {must} {verb} {adjective} {things} {adverb}
the {thing} that the {animal} {did} was {adjective}
please {verb} the {nature} {or} {verb} the {adjective} {place}
{he} {adverb} {did} {number} {animals} {when} the {thing} {went}
{when} {their} {ideas} are {adjective} {he} {must} {goes}
the {people} {did} from the {place} to the {nature}
{my} {person} is as {adjective} as a {animal}
it was the {idea} of the {person} to {verb} {things}
""".strip().splitlines()
)


def sentences(count: int) -> list[str]:
    """`count` distinct sentences of WORDS words with a capital and a full stop, the same at every call. The frames are
    used equally often, in a new order each time."""
    draw, found = random.Random(SEED), dict[str, None]()
    kinds = {**words(), **{kind: tuple(small.split()) for kind, small in SMALL.items()}}
    bags: dict[str, list[str]] = {kind: [] for kind in kinds}
    while len(found) < count:
        for frame in draw.sample(FRAMES, len(FRAMES)):
            text = _fill(frame, kinds, bags, draw)
            if WORDS[0] <= len(text.split()) <= WORDS[1]:
                found[text[0].upper() + text[1:] + "."] = None
    return list(found)[:count]


def vocabulary() -> list[str]:
    """Every word that a sentence can have, sorted."""
    kinds = words()
    small = {word for listed in SMALL.values() for word in listed.split()}
    fixed = {word for frame in FRAMES for word in frame.split() if not word.startswith("{")}
    return sorted({word for listed in kinds.values() for word in listed} | small | fixed | {"an"})


def _fill(frame: str, kinds: dict[str, tuple[str, ...]], bags: dict[str, list[str]], draw: random.Random) -> str:
    out: list[str] = []
    for part in frame.split():
        if part.startswith("{"):
            part = _deal(part[1:-1], kinds, bags, draw, out)
        if out and out[-1] == "a" and part[0] in "aeiou":
            out[-1] = "an"
        out.append(part)
    return " ".join(out)


def _deal(
    kind: str, kinds: dict[str, tuple[str, ...]], bags: dict[str, list[str]], draw: random.Random, used: list[str]
) -> str:
    """The next word of a kind's bag that the sentence does not have yet."""
    bag = bags[kind]
    fresh = [at for at, word in enumerate(bag) if word not in used]
    if not fresh:
        bag[:] = draw.sample(kinds[kind], len(kinds[kind]))
        fresh = [at for at, word in enumerate(bag) if word not in used]
    return bag.pop(fresh[-1])
