"""The words of kokoro_read: frequent WordNet lemmas by part of speech, each of one pronunciation only.

    python -m tasks.mini.make words --scratch DIR

Writes words.csv (kind, words) and words.LICENCE beside this file. DIR holds debs/wordnet-base_*.deb (fetched by
apt-get where it is not there) and what `cmudict.py` wants. A word is taken where WordNet's tagged texts use it mostly
as that part of speech, its first sense is of the wanted kind, and the CMU dictionary has it once: a word of two
entries ("live", "record") would leave open which phones were said. Most frequent first, ties by the number of senses,
then by name.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tasks.mini.make.cmudict import single
from tasks.mini.make.debian import facts, unpack

WORDS = Path(__file__).with_name("words.csv")
FORMS = {"noun": "1", "verb": "2", "adj": "35", "adv": "4"}
"""Part of speech -> the digits it has in WordNet's sense keys."""
NOUNS = {
    "person": (18,),
    "animal": (5,),
    "thing": (6,),
    "nature": (8, 13, 17, 20, 27),
    "place": (15,),
    "idea": (4, 7, 9, 10, 12, 14, 19, 26),
}
"""Kind of noun -> numbers of WordNet's lexicographer files (lexnames(5WN))."""
PLURALS = {"person": "people", "animal": "animals", "thing": "things", "idea": "ideas"}
LIMITS = {"person": 200, "animal": 80, "thing": 330, "nature": 180, "place": 50, "idea": 260}
ADJECTIVES, ADVERBS, TRANSITIVE, INTRANSITIVE = 260, 90, 180, 60
SOMEBODY_DOES, SOMEBODY_DOES_SOMETHING = 2, 8
"""Numbers of sentence frames (wninput(5WN))."""
LEFT_OUT = (
    "assassin babe bourbon larger criminal devil foe fool god indian killer lover martyr mexican murderer papa "
    "pope quack rabbi redcoat saint sir slave southerner suspect ward bacteria algae cattle cows livestock "
    "mankind poultry ammunition anode arms art bayonet bomb bomber bullet cannon cathode colors dice drug "
    "drugstore etcetera grenade gun musket muzzle opium pistol quarters rifle stairs steps weapon works albumin "
    "antigen argon bluff breast chlorine conjugate corpse effluent fallout filling iodide liquor phosphate saline "
    "thigh front hell home side south trend west means people personnel police troops woods words able afraid "
    "alive all another any available aware black brown colored communist damn dead each eight fifty five four gay "
    "greatest greater jewish known many mere million more nine nonspecific nuclear older one other pursuant same "
    "seven sick six smaller some such sure ten three total two twelve unable various white willing worth wounded "
    "yellow former latter few ultimate identical arouse attack conceive condemn conduct induce jerk kick kill "
    "launch possess seize suffer accord choke decline dominate secede screw daily namely boy carcass damned demon "
    "fiend immigrant inmate liberal maggot mistress neutralist offspring picket prey reactionary refugee virgin "
    "artillery brakes clothing equipment freight furniture housing merchandise pants revolver scenery dipole eggs "
    "shunt tract murder rage shooting threat evidence blind fifteen forty married maximum minimal minimum freak "
    "ghoul sheep nineteenth sexual tattered lick touch"
)
"""Words unfit for a sentence read aloud at random, or for the place in it that their kind has."""

_RUDE = re.compile("slur|offensive|insult|derogat|disparag|obscen|vulgar|sexual")
"""Glosses of words left out as well."""


@dataclass(frozen=True, slots=True)
class Lemma:
    """One word as one part of speech: its uses in tagged texts, its senses, its first sense's file and frames."""

    word: str
    count: int
    senses: int
    file: int
    frames: frozenset[int]


@cache
def words() -> dict[str, tuple[str, ...]]:
    """The committed list: kind -> words."""
    with WORDS.open(encoding="utf-8", newline="") as file:
        return {row["kind"]: tuple(row["words"].split()) for row in csv.DictReader(file)}


def write(scratch: Path) -> None:
    """Write words.csv and words.LICENCE."""
    package = unpack("wordnet-base", scratch)
    kinds = choose(package / "usr/share/wordnet", single(scratch))
    with WORDS.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["kind", "words"])
        out.writerows([kind, " ".join(found)] for kind, found in kinds.items())
    text = (package / "usr/share/doc/wordnet-base/copyright").read_text(encoding="utf-8")
    WORDS.with_suffix(".LICENCE").write_text(text.split("Files: debian/*")[0].rstrip() + "\n", encoding="utf-8")


def artefact(scratch: Path) -> str:
    """WordNet's line for a table of SOURCE.md: what, version, sha256 of the package."""
    version, digest = facts(scratch, "wordnet-base")
    return f"| Debian wordnet-base (words.csv) | {version} | {digest} |"


def licence() -> str:
    """WordNet's licence."""
    return WORDS.with_suffix(".LICENCE").read_text(encoding="utf-8")


def choose(folder: Path, known: frozenset[str]) -> dict[str, list[str]]:
    """Kind -> words, sorted, out of WordNet's dictionary files in `folder`; `known` are the words with one entry."""
    found = {form: _lemmas(folder, form, known) for form in FORMS}
    kinds = {
        kind: [lemma.word for lemma in found["noun"] if lemma.file in files and not _mass(lemma.word)][: LIMITS[kind]]
        for kind, files in NOUNS.items()
    }
    for kind, many in PLURALS.items():
        kinds[many] = [form for form in map(plural, kinds[kind]) if form in known]
    kinds["adjective"] = [lemma.word for lemma in found["adj"]][:ADJECTIVES]
    kinds["adverb"] = [lemma.word for lemma in found["adv"] if lemma.word.endswith("ly")][:ADVERBS]
    verbs = [lemma for lemma in found["verb"] if past(lemma.word) in known]
    takes = [lemma.word for lemma in verbs if SOMEBODY_DOES_SOMETHING in lemma.frames]
    kinds["verb"] = takes[:TRANSITIVE]
    kinds["did"] = [past(verb) for verb in kinds["verb"]]
    alone = [lemma.word for lemma in verbs if SOMEBODY_DOES in lemma.frames and lemma.word not in takes]
    kinds["goes"] = alone[:INTRANSITIVE]
    kinds["went"] = [past(verb) for verb in kinds["goes"]]
    return {kind: sorted(chosen) for kind, chosen in kinds.items()}


def past(verb: str) -> str:
    """The regular past tense; a final consonant after one short vowel is doubled in words of one syllable."""
    if verb.endswith("e"):
        return f"{verb}d"
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ied"
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb):
        return f"{verb}{verb[-1]}ed"
    return f"{verb}ed"


def plural(noun: str) -> str:
    """The regular plural."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def _mass(noun: str) -> bool:
    return noun.endswith(("ness", "ity", "ism"))


def _lemmas(folder: Path, form: str, known: frozenset[str]) -> list[Lemma]:
    """The lemmas of one part of speech, most frequent first, without names (the data files spell those with a
    capital)."""
    counts = _counts(folder)
    left_out = set(LEFT_OUT.split())
    irregular = {line.split()[0] for line in _lines(folder / f"{form}.exc")}
    irregular |= {word for line in _lines(folder / f"{form}.exc") for word in line.split()[1:]}
    senses = {line.split(" ", 1)[0]: line for line in _lines(folder / f"data.{form}")}
    out = []
    for line in _lines(folder / f"index.{form}"):
        word, *fields = line.split()
        if not re.fullmatch("[a-z]{3,11}", word) or word not in known or word in irregular:
            continue
        number = int(fields[1])
        mine = sum(counts[word, digit] for digit in FORMS[form])
        total = sum(counts[word, digit] for digit in "12345")
        first = senses[fields[-number]]
        entry, gloss = first.split("|", 1)
        frames = frozenset(int(code) for code in re.findall(r"\+ (\d\d) 00", entry))
        fit = word not in left_out and word in re.split(r"[\s(]", entry) and not _RUDE.search(gloss)
        if fit and mine and mine > 0.6 * total:
            out.append(Lemma(word, mine, number, int(first.split()[1]), frames))
    return sorted(out, key=lambda lemma: (-lemma.count, -lemma.senses, lemma.word))


@cache
def _counts(folder: Path) -> Counter[tuple[str, str]]:
    """(word, digit of its part of speech) -> times tagged texts have it."""
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for line in _lines(folder / "cntlist.rev"):
        key, _, count = line.split()
        word, code = key.split("%")
        counts[word, code[0]] += int(count)
    return Counter(counts)


def _lines(path: Path) -> list[str]:
    """The lines that are data: those of the licence at the head begin with a space."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(" ")]
