"""LICENCE and SOURCE.md of the rooms, of the real people and of the other engines; counts from the manifests.

    write(folder, corpus, scratch)      # after the corpus was made; then its SHA256SUMS
"""

from __future__ import annotations

import subprocess
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from tasks.manifest import read_manifest
from tasks.mini.make import debian, kajongg, klettres, tuxpaint
from tasks.mini.make.pack import checksums

PACKAGES = {"kajongg": kajongg.PACKAGE, "klettres": klettres.PACKAGE, "tuxpaint": tuxpaint.PACKAGE}
ENGINES = ("flite", "festvox-kdlpc16k", "espeak-ng")
OUTPUT_NOTE = """The recordings in this folder are outputs of flite, Festival and espeak-ng. The copyright files of the
packages that made them follow, and the GNU General Public License, version 3, which is espeak-ng's.
"""
ROOMS_NOTE = """The impulse responses in this folder were computed for this project, from drawn rooms, by the program
pyroomacoustics (MIT licence; none of its code or data is here). They are given under the licence that follows.
"""
ABOUT = {
    "rooms": """Shoebox rooms of 3 x 2.8 x 2.4 m to 7 x 6 x 3.5 m by the image source method, image
positions shaken by up to 5 cm, source and microphone 0.6 to 1.8 m apart. FLAC of 24 bits, peak 0.9, at
most 1 s. **The direct path lies at sample 40 (counted from 0), which is also the peak.** `label` is the
T60 in seconds: a line through the backward-integrated energy from -5 to -25 dB, extrapolated to -60 dB.
Fitted down to -35 dB the T60 is 2 to 9 % longer, as in any box with even walls. `speaker` and
`language` are "-".""",
    "kajongg": """Spoken commands of a tile game by four people, each in a default set (taken to be
English: it is what the game plays when no other language fits) and in a German set. `channel` is the
set, `label` the command. The 15 commands that last longest are here. There is no transcript.""",
    "klettres": """Letters and syllables of a children's spelling game; one locale = one reader. The 10
longest clips of each locale, 0.35 to 1.8 s. `label` is the file in the package; there is no transcript.""",
    "tuxpaint": """Names of drawings, read aloud; one language = one reader. 15 clips of each, of 1.2 to
2 s (English from 0.8 s), drawn by seed, no text twice. `text` is the name as the package has it,
`label` the drawing.""",
    "engines_asv": """Eleven voices, ten sentences each of 8 or 9 words by a seeded grammar
(tasks/mini/make/engines.py); no sentence is read twice. `channel` is the engine. espeak-ng at 190 words
a minute.""",
}
CAUTIONS = {
    "rooms": """- Simulated: no furniture, no scattering, walls alike at all frequencies. Reverberation
  of real rooms differs.""",
    "kajongg": """- Checked with a GE2E speaker encoder: centroids of the two sets of one person have a
  cosine of .94 (female1), .97 (female2) and .93 (male1), of different people .57 to .77. male2's two
  sets have .67, so they may be two people: two speaker names, `doubtful`, and no part in trials across
  the sets. Within a set each is one person.
- Four people, clips of 0.6 to 2.7 s, and few words: read the interval, not the number.""",
    "klettres": """- Nobody documents the readers. Checked with a GE2E speaker encoder on the 40 longest
  clips of each locale: the locales kept fall into two halves no further apart than one person's clips
  do (cosine of the halves .86 or more; two people .63 to .74), and letters and syllables agree (.92 or
  more). `sure` means this much. The line was drawn after the 20 locales were seen; 12 are kept. Over
  the ten clips here kl_it and kl_nb are .85 alike, the next pair .81: a shared reader is unlikely, not
  excluded.
- The same GE2E encoder chose who is in here, so its own score on these trials is flattered: no fair
  reference row.
- Speaker = language = microphone: part of any score is language or channel identification.
- The source is Ogg Vorbis, so the clips are coded twice. Some have loud noise.""",
    "tuxpaint": """- Nobody documents the readers. Checked with a GE2E speaker encoder on 100 clips of
  be, bg, es, ru and 41 of en: halves .92 to .96 alike (two readers mixed: .57), readers .57 to .72
  alike. `sure` means this much.
- The same GE2E encoder chose who is in here, so its own score on these trials is flattered: no fair
  reference row.
- Speaker = language = microphone: part of any score is language or channel identification.
- The source is Ogg Vorbis, so the clips are coded twice.""",
    "engines_asv": """- Synthetic. A voice occurs once over the engines: Festival's kal and slt are
  flite's by a GE2E speaker encoder (.94, .85) and were left out. Six of eleven voices are formant
  variants of one engine: chosen for distance from one another and from the other voices among 77 (no
  pair above .64 on these clips), they are settings, not people. The nearest pairs are awb and rms
  (.74), kal16 and ked (.71).
- That choice was made by the same GE2E encoder, which then makes no error on these trials (EER 0.0 %):
  that says nothing of its quality, and the split is an easy one.
- Engine and voice type go together; a non-target across engines is the easier one: see `same_channel`.""",
}


def write(folder: Path, corpus: str, scratch: Path) -> None:
    """Write LICENCE, SOURCE.md and SHA256SUMS of a corpus that has been made."""
    (folder / "LICENCE").write_text(_licence(corpus, scratch), encoding="utf-8")
    lines = [f"# {corpus}", "", ABOUT[corpus], "", f"Made by `python -m tasks.mini.make {corpus} --scratch DIR`:", ""]
    lines += ["| artefact | version | sha256 |", "|---|---|---|", *_artefacts(corpus, scratch), ""]
    if corpus != "rooms":
        below, keep = (40, 0.05) if corpus == "engines_asv" else (debian.BELOW_DB, debian.KEEP)
        lines += [f"16 kHz; ends more than {below:g} dB below the loudest 10 ms cut to {keep} s;"]
        lines += ["peak at 0.7 of full scale; Ogg/Opus, about 32 kbit/s with the headers.", ""]
    lines += ["| speaker | language | clips | minutes |", "|---|---|---|---|", *counts(folder), ""]
    left_out = {"klettres": klettres.LEFT_OUT, "tuxpaint": tuxpaint.LEFT_OUT}.get(corpus, {})
    lines += [f"- {name} is left out: {why}." for name, why in left_out.items()]
    lines += [CAUTIONS[corpus], ""]
    (folder / "SOURCE.md").write_text("\n".join(lines), encoding="utf-8")
    checksums(folder)


def _licence(corpus: str, scratch: Path) -> str:
    if corpus in PACKAGES:
        return debian.licence([PACKAGES[corpus]], scratch)
    common = Path("/usr/share/common-licenses")
    if corpus == "rooms":
        return ROOMS_NOTE + "\n" + (common / "Apache-2.0").read_text(encoding="utf-8")
    return engines_licence()


def engines_licence() -> str:
    """The LICENCE of what the engines speak: the copyright files of their installed packages, and GPL-3."""
    common = Path("/usr/share/common-licenses")
    texts = [(Path("/usr/share/doc") / name / "copyright").read_text(encoding="utf-8") for name in ENGINES]
    parts = [OUTPUT_NOTE, *(f"Package {name}\n\n{text}" for name, text in zip(ENGINES, texts, strict=True))]
    return ("\n" + "=" * 78 + "\n\n").join([*parts, (common / "GPL-3").read_text(encoding="utf-8")])


def _artefacts(corpus: str, scratch: Path) -> list[str]:
    if corpus in PACKAGES:
        found, digest = debian.facts(scratch, PACKAGES[corpus])
        return [f"| Debian {PACKAGES[corpus]} | {found} | {digest} |"]
    if corpus == "rooms":
        return [f"| PyPI pyroomacoustics | {version('pyroomacoustics')} | |"]
    return engines_artefacts()


def engines_artefacts() -> list[str]:
    """Lines of a table: the engines' packages and their versions, as installed."""
    rows = []
    for name in ("flite", "festival", "festvox-kdlpc16k", "espeak-ng", "espeak-ng-data"):
        query = ["dpkg-query", "-W", "-f", "${Version}", name]
        rows.append(f"| Debian {name} | {subprocess.run(query, check=True, capture_output=True, text=True).stdout} | |")
    return rows


def counts(folder: Path) -> list[str]:
    """Lines of a table: speaker, language, clips, minutes."""
    rows = read_manifest(folder)
    seconds: Counter[tuple[str, str]] = Counter()
    clips: Counter[tuple[str, str]] = Counter()
    for row in rows:
        seconds[row.speaker, row.language] += row.duration  # type: ignore[assignment]
        clips[row.speaker, row.language] += 1
    lines = [f"| {who} | {tongue} | {clips[who, tongue]} | {s / 60:.2f} |" for (who, tongue), s in seconds.items()]
    total = len({row.speaker for row in rows} - {"-"})
    return [*lines, f"| {total} in all | | {len(rows)} | {sum(row.duration for row in rows) / 60:.2f} |"]
