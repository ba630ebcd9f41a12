"""The command line that merges fine-tuned checkpoints with the one they were fine-tuned from, without training.

    python harness/merge.py PRETRAINED FINETUNED --out FOLDER
    python harness/merge.py PRETRAINED FINETUNED FINETUNED --method ties --alpha 1 --density 0.2 --out FOLDER
    python harness/merge.py PRETRAINED FINETUNED FINETUNED --method arithmetic --coefficients=1,-1 --out FOLDER

The default is Speech-FT's: a quarter of the way from the pre-trained to the fine-tuned, of several along the mean of
their ways. PRETRAINED is a Hugging Face folder, or a file of weights (of shards, their index) with its config.json
beside it. FINETUNED is the same, or a HuBERT or wav2vec 2.0 checkpoint of fairseq or s3prl. Files of DeCoAR 2.0 need no
config.json. Two large models in safetensors are streamed, not held in memory.

    python harness/run.py check -u speech_ft --checkpoint FOLDER
    python harness/run.py check -u decoar2 -k FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python harness/merge.py` puts harness/ itself on the path, where config.py or results.py would shadow others
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from collections.abc import Sequence  # noqa: E402

from harness.errors import UserError  # noqa: E402
from harness.registry import resolve  # noqa: E402
from harness.shell import Parser, guarded  # noqa: E402


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 2 a line to read, 130 interrupted."""
    return guarded(_main, argv)


def _main(argv: list[str]) -> int:
    args = _parser().parse_args(_joined(argv))
    how = resolve("upstreams.speech_ft.files:How")(args.method, args.alpha, args.density, args.coefficients)
    try:
        path = resolve("upstreams.speech_ft.files:merge_folders")(
            args.pretrained, args.finetuned, args.out, how, encoder_only=args.encoder_only, again=args.again
        )
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    print(f"written: {path}")
    return 0


def _joined(argv: Sequence[str]) -> list[str]:
    """With --coefficients and its numbers in one argument: else argparse takes '-1,1' for an option."""
    joined: list[str] = []
    for part in argv:
        if joined and joined[-1] == "--coefficients":
            joined[-1] += f"={part}"
        else:
            joined.append(part)
    return joined


def _folder(text: str) -> Path:
    if not text:
        raise UserError("--out: a folder for the merged model wanted, found an empty name")
    return Path(text)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"coefficients: numbers with commas wanted, found {text!r}") from None


def _parser() -> Parser:
    methods, usual = resolve("upstreams.speech_ft.merge:METHODS"), resolve("upstreams.speech_ft.files:How")()
    parser = Parser(prog="merge.py", description=__doc__)
    parser.add_argument("pretrained", type=Path, metavar="PRETRAINED", help="what the others were fine-tuned from")
    parser.add_argument("finetuned", type=Path, metavar="FINETUNED", nargs="+", help="a folder or a file of weights")
    parser.add_argument(
        "--alpha",
        type=float,
        default=usual.alpha,
        help="how far to go. linear, sequential: from 0, pre-trained, to 1, fine-tuned; ties, arithmetic: any finite "
        "number, times which their delta is added; the authors of ties take 1 (default %(default)s)",
    )
    parser.add_argument(
        "--method",
        choices=methods,
        default=usual.method,
        help="linear: the mean of the ways; sequential: one after the other, for models that were each fine-tuned from "
        "the merge before; ties: trimmed, signs elected; arithmetic: their sum by --coefficients (default %(default)s)",
    )
    parser.add_argument(
        "--density", type=float, help=f"ties: the share of each way kept (default {usual.kept})"
    )
    parser.add_argument(
        "--coefficients", type=_numbers, default=(), metavar="C,C", help="arithmetic: one a FINETUNED, times alpha"
    )
    parser.add_argument(
        "--encoder-only", action="store_true", help="heads need not agree and are PRETRAINED's; the encoder is merged"
    )
    parser.add_argument("--out", type=_folder, required=True, metavar="FOLDER", help="where the merged model goes")
    parser.add_argument("--again", action="store_true", help="write anew over a model that is there already")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
