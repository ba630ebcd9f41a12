"""Make a mini corpus again: `python -m tasks.mini.make CORPUS --scratch DIR`. Users never need to.

DIR holds what was fetched and what was synthesised so far; the module of the corpus (below) says what to fetch.
The corpus is written to tasks/mini/data/CORPUS, with its checksums; its LICENCE and SOURCE.md are kept.
`voices` writes the Kokoro rows of tasks/mini/voices.csv; `kokoro_trials` the trial lists of kokoro_asv;
`people_trials` the other lists and the engines' rows of voices.csv; `words` the words of kokoro_read; `lexicon`
tasks/mini/lexicon.csv, the phones of every English word of the suite.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from tasks.mini.make.pack import checksums

MINI = Path(__file__).resolve().parents[1]
CORPORA = {
    "engines_asv": "tasks.mini.make.engines:make",
    "kajongg": "tasks.mini.make.kajongg:make",
    "klettres": "tasks.mini.make.klettres:make",
    "tuxpaint": "tasks.mini.make.tuxpaint:make",
    "rooms": "tasks.mini.make.rooms:make",
    "kokoro_crossed": "tasks.mini.make.kokoro:make_crossed",
    "kokoro_asv": "tasks.mini.make.kokoro:make_asv",
    "kokoro_read": "tasks.mini.make.kokoro_tasks:make_read",
    "kokoro_ks": "tasks.mini.make.kokoro_tasks:make_ks",
}
TASK_CORPORA = {
    "taunts": "tasks.mini.make.taunts:make",
    "asterisk": "tasks.mini.make.asterisk:make",
    "tuxpaint_words": "tasks.mini.make.tuxpaint_words:make",
    "engines_ks": "tasks.mini.make.keyword_clips:make_engines",
    "people_ks": "tasks.mini.make.keyword_clips:make_people",
    "librivox": "tasks.mini.make.librivox:make",
    "festvox_ru": "tasks.mini.make.festvox_ru:make",
}
CORPORA |= TASK_CORPORA
"""Corpus -> function of (folder, scratch)."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tasks.mini.make", description=__doc__)
    others = ("voices", "kokoro_trials", "people_trials", "words", "lexicon", "sid_lists")
    parser.add_argument("corpus", choices=[*CORPORA, *others])
    parser.add_argument("--scratch", type=Path, default=Path("scratch"))
    given = parser.parse_args()
    if given.corpus == "voices":
        import_module("tasks.mini.make.deal").write(MINI / "voices.csv")
    elif given.corpus == "kokoro_trials":
        print(import_module("tasks.mini.make.trials").kokoro(MINI / "data", MINI / "trials"))
    elif given.corpus == "people_trials":
        import_module("tasks.mini.make.engines").write_voices(MINI / "voices.csv")
        print(import_module("tasks.mini.make.people_trials").write(MINI / "data", MINI / "trials"))
    elif given.corpus == "words":
        import_module("tasks.mini.make.wordlist").write(given.scratch)
    elif given.corpus == "lexicon":
        print(import_module("tasks.mini.make.cmudict").write_lexicon(MINI, given.scratch))
    elif given.corpus == "sid_lists":
        print(import_module("tasks.mini.make.sid_lists").write(MINI / "data", MINI / "lists"))
    else:
        module, name = CORPORA[given.corpus].split(":")
        folder = MINI / "data" / given.corpus
        getattr(import_module(module), name)(folder, given.scratch)
        if not given.corpus.startswith("kokoro"):
            notes = "people_notes_tasks" if given.corpus in TASK_CORPORA else "people_notes"
            import_module(f"tasks.mini.make.{notes}").write(folder, given.corpus, given.scratch)
        checksums(folder)


if __name__ == "__main__":
    main()
