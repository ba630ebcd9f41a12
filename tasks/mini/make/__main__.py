"""Make a mini corpus again: `python -m tasks.mini.make CORPUS --scratch DIR`. Users never need to.

DIR holds what was fetched and what was synthesised so far; the module of the corpus (below) says what to fetch.
The corpus is written to tasks/mini/data/CORPUS, with its checksums; its LICENCE and SOURCE.md are kept.
`voices` writes the Kokoro rows of tasks/mini/voices.csv; `kokoro_trials` the trial lists of kokoro_asv;
`people_trials` the other lists and the engines' rows of voices.csv.
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
}
"""Corpus -> function of (folder, scratch)."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tasks.mini.make", description=__doc__)
    parser.add_argument("corpus", choices=[*CORPORA, "voices", "kokoro_trials", "people_trials"])
    parser.add_argument("--scratch", type=Path, default=Path("scratch"))
    given = parser.parse_args()
    if given.corpus == "voices":
        import_module("tasks.mini.make.deal").write(MINI / "voices.csv")
    elif given.corpus == "kokoro_trials":
        print(import_module("tasks.mini.make.trials").kokoro(MINI / "data", MINI / "trials"))
    elif given.corpus == "people_trials":
        import_module("tasks.mini.make.engines").write_voices(MINI / "voices.csv")
        print(import_module("tasks.mini.make.people_trials").write(MINI / "data", MINI / "trials"))
    else:
        module, name = CORPORA[given.corpus].split(":")
        folder = MINI / "data" / given.corpus
        getattr(import_module(module), name)(folder, given.scratch)
        if not given.corpus.startswith("kokoro"):
            import_module("tasks.mini.make.people_notes").write(folder, given.corpus, given.scratch)
        checksums(folder)


if __name__ == "__main__":
    main()
