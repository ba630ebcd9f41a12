"""LICENCE and SOURCE.md of the corpora of people and engines that the tasks read; counts from the manifests.

    write(folder, corpus, scratch)      # after the corpus was made; then its SHA256SUMS
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness.contracts import Utterance
from tasks.manifest import read_manifest
from tasks.mini.make import (
    asterisk,
    cmudict,
    debian,
    festvox_ru,
    librivox,
    people_notes,
    taunts,
    tuxpaint,
    tuxpaint_words,
)
from tasks.mini.make.pack import PEAK, checksums

ASTERISK = {end: [package + end for package in asterisk.PACKAGES.values()] for end in ("", "-wav")}
PACKAGES = {
    "taunts": [taunts.PACKAGE],
    "asterisk": ASTERISK[""] + ASTERISK["-wav"],
    "tuxpaint_words": [tuxpaint.PACKAGE],
    "people_ks": [ASTERISK["-wav"][0], tuxpaint.PACKAGE],
    "librivox": [librivox.PACKAGE],
    "festvox_ru": [festvox_ru.PACKAGE],
}
"""Corpus -> Debian packages; engines_ks has those of engines_asv."""
COMMON = {"taunts": "GFDL-1.3", "tuxpaint_words": "GPL-2", "people_ks": "GPL-2"}
"""Corpus -> a licence that the copyright files name and do not quote."""
WITH_PHONES = ("asterisk", "tuxpaint_words", "people_ks", "librivox")
NOTES = {
    "taunts": """The recordings in this folder are those that the copyright file below lists as
share/hedgewars/Data/Sounds/*, under the GNU Free Documentation License, version 1.3, which follows it in full. They
were cut, resampled, scaled in level and coded anew; no sound was added.
""",
    "people_ks": """The recordings of the speaker ast_en_es are given under CC-BY-SA-3.0, whose text is in the first
copyright file, those of the speakers tux_digits_en and tux_digits_en_gb under the GNU General Public License,
version 2, which follows last. The manifest has the licence of each.
""",
}
ABOUT = {
    "taunts": """Short acted lines of a game's voice packs. `label` (pain, joy, anger, fear, neutral) follows from the
name of the line by the table in tasks/mini/make/taunts.py, which lists the lines left out as well; `channel` is the
pack. `text` is the line's name as words, in English whatever is spoken. Splits train, dev and test are English; no
pack, no line and no text is in two of them. `other_language` has Spanish, Polish, Russian and Ukrainian packs, all
labelled lines. Of recordings that several packs share one is kept.""",
    "asterisk": """Telephone prompts by one professional speaker: English (split `en`) and Spanish (`es`) of 1 to 6 s,
drawn by seed, no text twice; digits and "no" in English (`digits_en`, `label` the word). English prompts with a word
that the CMU dictionary lacks are left out, so are prompts with a remark in the text or, in Spanish, figures.""",
    "tuxpaint_words": """Names of drawings, none of them (in its language) in the corpus tuxpaint. `es_train`, `es_dev`
and `es_test`: Spanish names, no text twice. `en`: every English name of fitting length whose words the CMU dictionary
has. `sid`: names in five languages, `label` the category of the drawing, none of it a symbol; most of the English ones
are also in `en`, the Spanish ones in no other split. `sid_symbols`: the same readers on symbols (letters, coins, chess
...), `label` the kind; English has none. `digits_en`: English digits by two other readers, `label` the word.""",
    "engines_ks": """The eleven voices of engines_asv say fourteen keywords and six other words each, once. `channel`
is the engine.""",
    "people_ks": """English digits, and one "no", by three people: the clips `digits_en` of asterisk and
tuxpaint_words, set in one second.""",
    "librivox": """Five sentences from a public-domain reading of "Sense and Sensibility" (`lv_austen`), five
utterances naming playing cards (`lv_cards`) and a command (`lv_command`), all from the test data of a recogniser. Its
other recordings have no transcript there.""",
    "festvox_ru": """Russian sentences of 3 to 8 s by one speaker, drawn by seed, no sentence in two splits. `phones`
holds "phone:end" for every phone in order, `end` in seconds from the start of the clip, which is not trimmed; `pau`
is a pause. `text` is the package's, its commas (they mark phrases) kept, its stress marks taken out.""",
}
PREPARED = {
    "words": """16 kHz; ends more than {below:g} dB below the loudest 10 ms cut to {keep} s; peak at 0.7 of full scale,
placed at a seeded offset in one second of white noise at -60 dB of full scale, cut at one second; Ogg/Opus, about
{rate} kbit/s with the headers.""",
    "whole": "16 kHz, not trimmed; peak at 0.7 of full scale; Ogg/Opus, about {rate} kbit/s with the headers.",
    "": """16 kHz; ends more than {below:g} dB below the loudest 10 ms cut to {keep} s; peak at {peak} of full scale;
Ogg/Opus, about {rate} kbit/s with the headers.""",
}
DICTIONARY = """- `phones` are the CMU dictionary's (American, first entry of a word, no stress), not a transcription of
  what was said."""
CAUTIONS = {
    "taunts": """\
- Nobody labelled the clips by ear: a line named "Traitor" is taken to be anger. Read scores as "tells the
  lines' intents apart", on acted, cartoon-like speech.
- Packs are not speakers. The game's credits name one man for the voices, and one other contributor for the
  two Polish packs. A GE2E speaker encoder agrees as far as it can: centroids of the English packs are .85
  to .99 alike (four people of another game: .57 to .77), the Polish two .94. So `actor_1` is all English
  packs, `actor_2` the Polish ones, `actor_3` to `actor_5` the Spanish, Russian and Ukrainian packs, for
  which there is no credit. All are `doubtful`. **The English splits have no pack in common, but most likely
  the actor.** Nothing here is fit for speaker verification.
- Lines of pain are cries of a third of a second, the other lines take about one: length alone gives pain
  away.
- `text` is no transcript: packs say most lines in words of their own (a small recogniser heard "Get down, lad"
  for "Take cover", "Good day to you all, sir" for "Hello").
- In `other_language` lines of all three English splits occur, in other words; cries need no words and are
  counted too.
- Few clips: read the interval, not the number. dev has {dev} clips.
- Robot is spoken through an effect. The source is Ogg Vorbis, so the clips are coded twice.""",
    "asterisk": """\
- English and Spanish are one woman (Allison Smith, by the copyright file): never two speakers.
- Recorded at 8 kHz: nothing above 4 kHz. There is no prompt "yes", "stop" or "go".
- Spanish texts are the package's: accents are often missing, a few words are misspelt, and a few are not what is
  said ("signo de exclamacion" is read "punto de exclamación"). Compare without accents.
- Prompts are phrases of one trade; many begin alike. Some are parts of sentences.
{dictionary}""",
    "tuxpaint_words": """\
- Nobody documents the readers. See the corpus tuxpaint for how they were checked with a GE2E speaker
  encoder; on 60 clips of each of be, bg, es and ru again, names of symbols are .95 to .99 like the other
  names (two readers: .57 to .72), and each of the clips here is nearest to its own reader. `sure` means
  this much.
- **Digits are read by others than the drawings are**: by the same encoder .72 (tux_digits_en) and .76
  (tux_digits_en_gb) like tux_en, and .75 like one another, halves of each .90 and .87. Ten clips each:
  `doubtful`. Spoken digits in bg, es and ru are .59 to .75 like their readers, hence no digits in
  `sid_symbols` but by the way.
- Speaker = language = microphone: a score over `sid` is language or channel identification as well.
- Many names begin with an article. `label` of `sid` is the top folder of the drawing, of `sid_symbols` the
  next.
- The source is Ogg Vorbis, so the clips are coded twice.
{dictionary}""",
    "engines_ks": """\
- Synthetic; nobody checked every word by ear. Six of eleven voices are formant variants of one engine
  (espeak-ng at 190 words a minute): settings, not people. They are the speakers of engines_asv.""",
    "people_ks": """\
- Three speakers, {count} clips: an impression, no measurement. One has telephone speech (8 kHz), two were
  coded before (Ogg Vorbis).
- The two readers of tuxpaint_words are `doubtful`, see there.
{dictionary}""",
    "librivox": """\
- {count} clips: an impression, no measurement. Transcripts are the package's, in lower case; one of them
  has "a more a amiable woman".
- The package documents no reader. By a GE2E speaker encoder the five sentences are .73 to .93 alike, the
  five of cards .62 to .84, across the groups .47 to .70: one reader each, `lv_command` a third (one clip:
  `doubtful`).
{dictionary}""",
    "festvox_ru": """\
- One speaker, read sentences of a novel; the times come from the package (made for unit selection) and were
  not checked by hand.""",
}


def write(folder: Path, corpus: str, scratch: Path) -> None:
    """Write LICENCE, SOURCE.md and SHA256SUMS of a corpus that has been made."""
    rows = read_manifest(folder)
    (folder / "LICENCE").write_text(_licence(corpus, scratch), encoding="utf-8")
    lines = [f"# {corpus}", "", ABOUT[corpus], "", f"Made by `python -m tasks.mini.make {corpus} --scratch DIR`:", ""]
    lines += ["| artefact | version | sha256 |", "|---|---|---|", *_artefacts(corpus, scratch), ""]
    lines += [_prepared(folder, corpus, sum(row.duration for row in rows)), ""]
    lines += ["| split | clips | minutes |", "|---|---|---|", *_splits(rows), ""]
    lines += ["| speaker | language | clips | minutes |", "|---|---|---|---|", *people_notes.counts(folder), ""]
    dev = sum(row.split == "dev" for row in rows)
    lines += [CAUTIONS[corpus].format(dictionary=DICTIONARY, count=len(rows), dev=dev), ""]
    (folder / "SOURCE.md").write_text("\n".join(lines), encoding="utf-8")
    checksums(folder)


def _licence(corpus: str, scratch: Path) -> str:
    if corpus == "engines_ks":
        return people_notes.engines_licence()
    texts = {debian.copyright_text(name, scratch): name for name in reversed(PACKAGES[corpus])}
    parts = [NOTES[corpus]] if corpus in NOTES else []
    parts += [f"Copyright file of the Debian package {name}\n\n{text}" for text, name in reversed(texts.items())]
    if corpus in COMMON:
        parts.append((Path("/usr/share/common-licenses") / COMMON[corpus]).read_text(encoding="utf-8"))
    if corpus in WITH_PHONES:
        parts.append("Licence of the dictionary that the column phones is taken from\n\n" + cmudict.licence(scratch))
    return ("\n" + "=" * 78 + "\n\n").join(part.rstrip() + "\n" for part in parts)


def _artefacts(corpus: str, scratch: Path) -> list[str]:
    if corpus == "engines_ks":
        return people_notes.engines_artefacts()
    facts = {name: debian.facts(scratch, name) for name in PACKAGES[corpus]}
    lines = [f"| Debian {name} | {version} | {digest} |" for name, (version, digest) in facts.items()]
    return [*lines, cmudict.artefact(scratch)] if corpus in WITH_PHONES else lines


def _prepared(folder: Path, corpus: str, seconds: float) -> str:
    kind = "words" if corpus.endswith("_ks") else "whole" if corpus == "festvox_ru" else ""
    below, keep = (40, 0.05) if corpus == "engines_ks" else (debian.BELOW_DB, debian.KEEP)
    rate = round(8e-3 * (folder / "audio.zip").stat().st_size / seconds)
    peak = tuxpaint_words.PEAK if corpus == "tuxpaint_words" else PEAK
    return PREPARED[kind].format(below=below, keep=keep, rate=rate, peak=peak)


def _splits(rows: list[Utterance]) -> list[str]:
    clips, seconds = Counter(row.split for row in rows), Counter[str]()
    for row in rows:
        seconds[row.split] += row.duration  # type: ignore[assignment]
    return [f"| {name} | {clips[name]} | {seconds[name] / 60:.2f} |" for name in sorted(clips)]
