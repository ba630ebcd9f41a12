"""The command line that trains an upstream family's recipe and keeps its checkpoints.

    python harness/posttrain.py icl --backbone whisper_tiny
    python harness/posttrain.py vib --stage text
    python harness/posttrain.py vib --stage acoustic --target speaker     # on the stage text of the same seed
    python harness/posttrain.py speech_ft --task asr
    python harness/posttrain.py speech_ft --task sid --baseline lora --backbone hubert_base -k FOLDER --seeds 0,1,2
    python harness/posttrain.py speech_ft --help                          # a family's own options after its name

A checkpoint goes to ~/.cache/post-superb/checkpoints (POST_SUPERB_CACHE moves it), where the family's upstreams
look for it. Interrupted, the same command goes on from there and ends in the same numbers. Several GPUs:

    torchrun --nproc-per-node 4 harness/posttrain.py speech_ft --task asr --backbone hubert_base -k FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python harness/posttrain.py` puts harness/ itself on the path, where config.py or results.py would shadow others
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from collections.abc import Sequence  # noqa: E402

from harness.errors import UserError  # noqa: E402
from harness.paths import ROOT  # noqa: E402
from harness.registry import resolve, unknown  # noqa: E402
from harness.shell import Parser, device, guarded, seeds, writable  # noqa: E402


def families() -> list[str]:
    """The upstream families that have a recipe."""
    return sorted(path.parent.name for path in (ROOT / "upstreams").glob("*/posttrain.py"))


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 2 a line to read, 130 interrupted."""
    return guarded(_main, argv)


def _main(argv: list[str]) -> int:
    family = argv[0] if argv and not argv[0].startswith("-") else ""
    if not family and not {"-h", "--help"} & set(argv):
        raise UserError(f"a family wanted first, such as `posttrain.py icl`; there are {', '.join(families())}")
    if family and family not in families():
        raise unknown("family", family, families())
    recipe = resolve(f"upstreams.{family}.posttrain:Recipe") if family else None
    parser = _parser(family)
    if recipe is not None:
        recipe.options(parser.add_argument_group(f"options of {family}"))
    args = parser.parse_args(argv)

    from harness import distributed
    from harness.recipe import Job

    assert recipe is not None
    made = recipe(args)
    if args.out and len(args.seeds) > 1:
        raise UserError(f"--out names one file and --seeds {len(args.seeds)} seeds; give one seed a call")
    if args.out:
        writable(args.out, "--out")  # before features and training
    where = distributed.start(device(args.device))
    first = distributed.rank() == 0
    job = Job(
        family,
        args.backbone,
        args.data or ROOT / made.data,
        args.seeds,
        device=where,
        folder=args.folder,
        out=args.out,
        again=args.again,
        tensorboard=args.tensorboard,
        say=print if first else _silent,
    )
    try:
        for path in made.run(job):
            job.say(f"written: {path}")
    finally:
        distributed.stop()
    return 0


def _silent(line: str) -> None:
    """What the second process and those after it say."""


def _parser(family: str) -> Parser:
    assert __doc__ is not None
    parser = Parser(prog=f"posttrain.py {family}".strip(), description=__doc__)
    parser.add_argument(
        "family", metavar="FAMILY", help=f"whose recipe: {', '.join(families())} (--help after it: its options)"
    )
    parser.add_argument("--backbone", default="whisper_tiny", help="the frozen model underneath (default whisper_tiny)")
    parser.add_argument("-k", "--folder", type=Path, help="a local folder with the backbone's weights")
    parser.add_argument(
        "--seeds", "--seed", type=seeds, default=[0], help="seeds of the recipe, with commas (default 0)"
    )
    parser.add_argument("--data", type=Path, help="the YAML of other data than the recipe's own")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the checkpoint goes in place of the cache")
    parser.add_argument("--again", action="store_true", help="make a checkpoint anew that is there already")
    parser.add_argument("--tensorboard", action="store_true", help="the training's log to TensorBoard too")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
