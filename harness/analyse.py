"""The command line of an upstream family's analyses: what its parts hold, each as a table and a figure.

    python harness/analyse.py vib layers --backbone whisper_tiny
    python harness/analyse.py vib salience --target speaker --id UTTERANCE
    python harness/analyse.py vib probe --help

A table, a figure and a JSON that says where they came from go to runs/analyses/FAMILY (POST_SUPERB_RUNS, --out). The
libraries for it come with pip install -e '.[analysis]'.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

# `python harness/analyse.py` puts harness/ itself on the path, where config.py or results.py would shadow others
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from collections.abc import Mapping, Sequence  # noqa: E402
from typing import TYPE_CHECKING, Any, Protocol  # noqa: E402

from harness.errors import UserError  # noqa: E402
from harness.paths import ROOT, runs_dir  # noqa: E402
from harness.registry import resolve, unknown  # noqa: E402
from harness.shell import Parser, device, guarded, without_out  # noqa: E402

if TYPE_CHECKING:
    from harness.recipe import Job


class Analysis(Protocol):
    """One analysis of a family `x`: named, as "module:class", in `ANALYSES` of `upstreams/x/analysis.py`."""

    data: str
    """The YAML of the data that it reads, from the repository's root; empty for none."""

    @staticmethod
    def options(parser: Any) -> None:
        """Add its own options."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Raises UserError for options that do not go together."""

    def run(self, job: Job, command: str) -> list[Path]:
        """Write its files to `job.out` and return them. `command` is what was called."""
        ...


def families() -> list[str]:
    """The upstream families that have analyses."""
    return sorted(path.parent.name for path in (ROOT / "upstreams").glob("*/analysis.py"))


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 2 a line to read, 130 interrupted."""
    return guarded(_main, argv)


def _main(argv: list[str]) -> int:
    asked_help = bool({"-h", "--help"} & set(argv))
    family = _named(argv, 0, "family", families(), "analyse.py vib", asked_help)
    analyses: Mapping[str, str] = resolve(f"upstreams.{family}.analysis:ANALYSES") if family else {}
    name = _named(argv, 1, "analysis", sorted(analyses), f"analyse.py {family} layers", asked_help) if family else ""
    made: type[Analysis] | None = resolve(analyses[name]) if name else None
    parser = _parser(family, name, sorted(analyses))
    if made is not None:
        made.options(parser.add_argument_group(f"options of {family} {name}"))
    args = parser.parse_args(argv)

    from harness.recipe import Job

    assert made is not None
    analysis = made(args)
    job = Job(
        family,
        args.backbone,
        args.data or ROOT / analysis.data,
        [args.recipe_seed],
        device=device(args.device),
        folder=args.folder,
        out=args.out or runs_dir() / "analyses" / family,
    )
    for path in analysis.run(job, shlex.join(["python", "harness/analyse.py", *without_out(argv)])):
        print(f"written: {path}")
    return 0


def _named(argv: Sequence[str], place: int, what: str, known: Sequence[str], example: str, optional: bool) -> str:
    """The argument at a place. Raises UserError where it is missing (unless `optional`) or unknown."""
    given = argv[place] if len(argv) > place and not argv[place].startswith("-") else ""
    if not given and not optional:
        raise UserError(f"{what} wanted, such as `{example}`; there are {', '.join(known)}")
    if given and given not in known:
        raise unknown(what, given, known)
    return given


def _parser(family: str, name: str, analyses: Sequence[str]) -> Parser:
    assert __doc__ is not None
    parser = Parser(prog=f"analyse.py {family} {name}".strip(), description=__doc__)
    parser.add_argument("family", metavar="FAMILY", help=f"whose analyses: {', '.join(families())}")
    parser.add_argument(
        "analysis", metavar="ANALYSIS", help=f"{', '.join(analyses) or 'one of it'} (--help after it: its options)"
    )
    parser.add_argument("--backbone", default="whisper_tiny", help="the frozen model underneath (default whisper_tiny)")
    parser.add_argument("-k", "--folder", type=Path, help="a local folder with the backbone's weights")
    parser.add_argument("--recipe-seed", type=int, default=0, help="which of a recipe's checkpoints (default 0)")
    parser.add_argument("--data", type=Path, help="the YAML of other data than the analysis's own")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where files go (default runs/analyses/FAMILY)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
