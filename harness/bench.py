"""How long a SUPERB task takes here and in s3prl's own runner: the same upstream, the same clips, as many updates.

    python harness/bench.py --vs s3prl --tasks ks,sid
    python harness/bench.py --vs s3prl --upstream whisper_tiny --json bench.json
    python harness/bench.py --vs s3prl --tasks ks --updates 500 --micro-batches 5     # a trial run

Each side of each task runs in a process of its own. What was measured and what computed is said under the table.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python harness/bench.py` puts harness/ itself on the path, where config.py or results.py would shadow others
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import json  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from concurrent.futures import ProcessPoolExecutor  # noqa: E402
from concurrent.futures.process import BrokenProcessPool  # noqa: E402
from dataclasses import asdict, dataclass, replace  # noqa: E402
from typing import Any  # noqa: E402

from harness.errors import UserError  # noqa: E402
from harness.registry import resolve, unknown  # noqa: E402
from harness.shell import Parser, device, guarded  # noqa: E402

THEIRS = "upstreams.s3prl_bench:measure"
OURS = "harness.bench_ours:measure"
RATES = 5


@dataclass(frozen=True)
class Corpus:
    """The training set of SUPERB's task: clips and their mean length; `crop`: the longest piece that is trained on."""

    name: str
    clips: int
    seconds: float
    crop: float | None = None

    @property
    def used(self) -> float:
        """Mean seconds of a clip in a training batch; s3prl's pads to the longest, which is no less."""
        return min(self.seconds, self.crop or self.seconds)


CORPORA = {
    "ks": Corpus("Speech Commands", 51_094, 1.0),
    "sid": Corpus("VoxCeleb1", 138_361, 8.2, 8.0),
    "er": Corpus("IEMOCAP, one fold", 4_290, 4.5),
    "pr": Corpus("train-clean-100", 28_539, 12.7),
    "asr": Corpus("train-clean-100", 28_539, 12.7),
    "asv": Corpus("VoxCeleb1", 138_361, 8.2, 8.0),
}


@dataclass(frozen=True)
class Row:
    """One line of the table, in seconds: s3prl's update and whole training of one learning rate, our features and
    training of one rate and of five. `measured`: ours of one rate was run whole."""

    task: str
    data: str
    their_update: float
    theirs: float
    ours: float
    ours_grid: float
    measured: bool

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours

    @property
    def ratio_grid(self) -> float:
        return RATES * self.theirs / self.ours_grid


def on_mini(theirs: Any, ours: Any) -> Row:
    """What was timed, on the mini suite's clips."""
    measured = ours.training is not None
    return Row(ours.task, "mini", theirs.update, theirs.whole, ours.whole, ours.whole_grid, measured)


def on_corpus(theirs: Any, ours: Any, corpus: Corpus) -> Row:
    """The same on SUPERB's corpus, computed: every time that depends on the audio grows in proportion to its seconds.

    s3prl: a micro-batch x updates. Ours: one pass of the encoder over the training set, then the updates. A pooled
    head's update is the same for any length. Scoring dev is left out of both.
    """
    update = theirs.update * theirs.batch * corpus.used / theirs.padded
    grows = corpus.used / min(ours.audio / ours.clips, corpus.crop or ours.audio) if ours.reads == "frames" else 1.0
    encode = ours.encode / ours.audio * corpus.clips * corpus.seconds
    one, grid = (encode + ours.updates * timed.update * grows for timed in (ours.one, ours.grid))
    return Row(ours.task, corpus.name, update, update * theirs.updates, one, grid, False)


def by_processor(theirs: Any, ours: Any) -> tuple[Any, Any]:
    """The same pair in the processor's seconds, which other work on the machine hardly changes."""
    one, grid = (replace(timed, update=timed.cpu / timed.updates) for timed in (ours.one, ours.grid))
    training = None if ours.training is None else ours.one.cpu
    features = {"encode": ours.encode_cpu, "encode_dev": ours.encode_dev_cpu}
    mine = replace(ours, **features, one=one, grid=grid, scoring=ours.scoring_cpu, training=training)
    return replace(theirs, median=theirs.cpu), mine


# -- words ------------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """'1.2 ms', '3.4 s', '5.6 min', '7.8 h', '9.1 d'."""
    for limit, unit, size in ((0.1, "ms", 1e-3), (120, "s", 1), (7_200, "min", 60), (172_800, "h", 3_600)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def _times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def table(rows: Sequence[Row], upstream: str) -> str:
    from tabulate import tabulate

    headers = ["task", "clips", "upstream", "s3prl, an update", "s3prl, whole", "ours, whole", "1 rate"]
    cells = [
        [
            row.task,
            row.data,
            upstream,
            f"{duration(row.their_update)} {'measured' if row.data == 'mini' else 'computed'}",
            f"{duration(row.theirs)} computed",
            f"{duration(row.ours)} {'measured' if row.measured else 'computed'}",
            _times(row.ratio),
            _times(row.ratio_grid),
        ]
        for row in rows
    ]
    return tabulate(cells, headers=[*headers, f"{RATES} rates"], tablefmt="simple", disable_numparse=True)


def words(results: Sequence[tuple[Any, Any]], upstream: str, precision: str) -> str:
    """What the table rests on, task by task."""
    theirs, ours = results[0]
    lines = [
        f"Upstream: {upstream} on both sides, frozen. Whole: the training of one learning rate at SUPERB's number of"
        f" updates; {RATES} rates: s3prl trains anew for each, here they share features and batches.",
        f"s3prl {_version()}: its own Runner, experts and data sets; an update is the median micro-batch x their number"
        " in it. Its scoring of dev, its logs and checkpoints are not in its figures.",
        "Ours: features of train and dev from an empty store, then updates and every scoring of dev. Every clip is"
        " encoded once, where s3prl encodes every draw: the few clips of mini make its ratios larger than a corpus's.",
        "Rows of SUPERB's corpora are computed, the times that depend on the audio in proportion to its seconds: s3prl"
        " micro-batch x updates; ours one pass of the encoder over the training set + updates; dev on neither side.",
    ]
    lines += [_of_task(*pair) for pair in results]
    lines.append(
        f"Machine: {_machine(ours.device)}; threads: {theirs.threads} for s3prl, {ours.threads} for ours."
        f" s3prl in fp32, our encoder in {precision}."
    )
    busy = max(max(t.mean / t.cpu * t.threads, o.encode / o.encode_cpu * o.threads) for t, o in results)
    if ours.device == "cpu" and busy > 1.5:
        rows = [on_mini(*by_processor(*pair)) for pair in results]
        lines.append(
            f"The machine did other work meanwhile, up to {busy:.1f} s for a second's: time it again when idle. In the"
            f" processor's seconds, 1 rate and {RATES} rates on mini: "
            + ", ".join(f"{row.task} {_times(row.ratio)} and {_times(row.ratio_grid)}" for row in rows)
        )
    return "\n".join(lines)


def _of_task(theirs: Any, ours: Any) -> str:
    ran = (
        f"all {ours.updates:,} updates run, dev scored {ours.scorings} times ({duration(ours.training)})"
        if ours.training is not None
        else f"{ours.one.updates} updates timed ({duration(ours.one.update)} each), {ours.updates:,} computed"
    )
    corpus = CORPORA[ours.task]
    disk = ours.bytes_a_second * corpus.clips * corpus.seconds / 1e9
    return (
        f"{ours.task}: s3prl {theirs.micro_batches} micro-batches of {theirs.batch:.1f} clips ({theirs.audio:.1f} s of"
        f" audio, {theirs.padded:.1f} padded) after {theirs.warmup} of warm-up, median {duration(theirs.median)}, mean"
        f" {duration(theirs.mean)}; {theirs.accumulate} an update, {theirs.updates:,} updates;"
        f" {theirs.memory_mb:,.0f} MB."
        f" Ours, {ours.head}: {ours.clips} clips ({duration(ours.audio)} of audio) encoded in {duration(ours.encode)},"
        f" dev's {ours.dev_clips} in {duration(ours.encode_dev)}; {ran}; {RATES} rates: {ours.grid.updates} updates"
        f" timed ({duration(ours.grid.update)} each), the rest computed; {ours.memory_mb:,.0f} MB."
        + (f" On {corpus.name} its frames take {disk:,.0f} GB of disk." if disk else "")
    )


def _version() -> str:
    from importlib.metadata import version

    return version("s3prl")


def _machine(name: str) -> str:
    import torch

    if name.startswith("cuda"):
        return torch.cuda.get_device_name(name)
    info = Path("/proc/cpuinfo")
    models = {line.partition(":")[2].strip() for line in _lines(info) if line.startswith("model name")}
    return f"{', '.join(sorted(models)) or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


# -- the command line -------------------------------------------------------------------------------------------------


def _apart(target: str, *arguments: Any) -> Any:
    """The function behind `target` in a new process: its memory is its own, and s3prl's mends stay there."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_call, target, *arguments).result()
        except BrokenProcessPool as error:
            raise UserError(f"{target} was killed, most likely for want of memory; give it fewer --clips") from error


def _call(target: str, *arguments: Any) -> Any:
    function: Callable[..., Any] = resolve(target)
    return function(*arguments)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"a whole number from 1 wanted, found {text!r}")
    return int(text)


def _arguments(argv: Sequence[str]) -> Any:
    parser = Parser("bench.py", __doc__)
    parser.add_argument("--vs", choices=["s3prl"], required=True, help="the other side")
    parser.add_argument("--tasks", default=",".join(CORPORA), help=f"with commas (default: {','.join(CORPORA)})")
    parser.add_argument("-u", "--upstream", default="hubert_base", help="a name of `run.py list upstreams`")
    parser.add_argument("-k", "--folder", type=Path, help="its weights; hubert_base has random ones without")
    parser.add_argument("--micro-batches", type=_positive, default=30, help="of s3prl, timed after 3 of warm-up")
    parser.add_argument("--updates", type=_positive, help="ours stops there and the rest is computed (a trial run)")
    parser.add_argument("--clips", type=_positive, help="training clips of each task (default: the mini suite's)")
    parser.add_argument("--threads", type=_positive, help="of torch, on both sides (default: torch's own)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, … (default: cpu)")
    parser.add_argument(
        "--precision", default="fp32", choices=["fp32", "bf16", "fp16"], help="of our encoder (autocast)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures to a file")
    args = parser.parse_args(argv)
    args.tasks = [task for task in args.tasks.split(",") if task]
    for task in args.tasks:
        if task not in CORPORA:
            raise unknown("task", task, CORPORA)
    if not args.tasks:
        raise UserError(f"a task wanted, one of {', '.join(CORPORA)}")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UserError(f"--json {args.json}: the folder does not exist")
    args.device = device(args.device)
    return args


def run(args: Any) -> int:
    """Time the tasks one after another; one that fails is said and leaves the others."""
    from harness.bench_ours import Settings, clips
    from harness.progress import progress

    results: list[tuple[Any, Any]] = []
    with tempfile.TemporaryDirectory() as kept:
        folder = str(args.folder) if args.folder else None
        if args.upstream == "hubert_base" and folder is None:
            folder = _apart("upstreams.s3prl_bench:random_hubert", Path(kept))
        for task in progress(args.tasks, "tasks", len(args.tasks)):
            settings = Settings(
                task, args.upstream, folder, args.updates, args.clips, args.device, args.precision, args.threads
            )
            try:
                given = clips(settings)
                count, at = args.micro_batches, folder or args.upstream
                theirs = _apart(THEIRS, task, at, given, count, 3, args.threads, args.device)
                results.append((theirs, _apart(OURS, settings)))
            except UserError as error:
                print(f"error: {task}: {error}", file=sys.stderr)
    if not results:
        raise UserError(f"none of {len(args.tasks)} tasks could be timed; the lines above say why")
    rows = [row(*pair) for pair in results for row in (on_mini, _on_its_corpus)]
    name = args.upstream + (" (random weights)" if folder and not args.folder else "")
    print(table(rows, args.upstream))
    print(words(results, name, args.precision))
    if args.json:
        args.json.write_text(_as_json(args, results, rows) + "\n")
    if len(results) < len(args.tasks):
        raise UserError(f"{len(args.tasks) - len(results)} of {len(args.tasks)} tasks failed; the lines above say why")
    return 0


def _on_its_corpus(theirs: Any, ours: Any) -> Row:
    return on_corpus(theirs, ours, CORPORA[ours.task])


def _as_json(args: Any, results: Sequence[tuple[Any, Any]], rows: Sequence[Row]) -> str:
    figures = {
        "upstream": args.upstream,
        "precision": args.precision,
        "machine": _machine(args.device),
        "rows": [asdict(row) | {"ratio": row.ratio, "ratio_grid": row.ratio_grid} for row in rows],
        "s3prl": [asdict(theirs) | {"version": _version()} for theirs, _ in results],
        "ours": [asdict(ours) for _, ours in results],
    }
    return json.dumps(figures, indent=1)


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 2 a line to read, 130 interrupted."""
    return guarded(lambda given: run(_arguments(given)), argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
