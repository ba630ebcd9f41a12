"""The command line that measures what an upstream costs, and counts what its training shares with the tasks.

    python harness/cost.py -u icl_speaker
    python harness/cost.py -u whisper_tiny,vib_text --device cuda

Writes leaderboard/costs/NAME.json (--out another folder), which leaderboard/build.py reads: parameters, multiply-adds
a second of audio, real-time factor and its ratio to the backbone's, peak memory, the data of the post-training,
how many speakers, sentences and recordings of each task's test they hold, and its time, computed from a few updates
that are made again (--updates). Each upstream is measured in a process of its own, since the peak of memory is a
process's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# `python harness/cost.py` puts harness/ itself on the path, where config.py or results.py would shadow others
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import shlex  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from typing import Any  # noqa: E402

from harness.cost_record import Encoding, Record, Training, save  # noqa: E402
from harness.errors import UserError  # noqa: E402
from harness.paths import ROOT  # noqa: E402
from harness.registry import NAME  # noqa: E402
from harness.shell import Parser, device, guarded, without_out  # noqa: E402

COSTS = ROOT / "leaderboard" / "costs"
SECONDS = 10.0
REPEATS = 7
WARM_UP = 2
UPDATES = 10


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 2 a line to read, 130 interrupted."""
    return guarded(_main, argv)


def _main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    names = [name for name in args.upstreams.split(",") if name]
    if not names or not all(NAME.match(name) for name in names):
        raise UserError(f"-u: names of upstreams with commas wanted, found {args.upstreams!r}")
    if len(names) == 1:
        print(f"written: {save(args.out, measure(names[0], args, argv))}")
        return 0
    if args.checkpoint:
        raise UserError(f"--checkpoint is of one upstream, found {len(names)}; give one a call")
    own = [part for at, part in enumerate(argv) if not _is_names(argv, at)]
    failed = [
        name for name in names
        if subprocess.run([sys.executable, __file__, "-u", name, *own], check=False).returncode
    ]  # fmt: skip
    if failed:
        raise UserError(f"{len(failed)} of {len(names)} not measured: {', '.join(failed)}; the lines above say why")
    return 0


def _is_names(argv: Sequence[str], at: int) -> bool:
    """Whether an argument is `-u` in one of its spellings, or what stands after it."""
    return argv[at].startswith(("-u", "--upstream")) or (at > 0 and argv[at - 1] in ("-u", "--upstream"))


def _parser() -> Parser:
    parser = Parser(prog="cost.py", description=__doc__)
    parser.add_argument(
        "-u", "--upstream", dest="upstreams", required=True, metavar="NAMES", help="upstreams, with commas"
    )
    parser.add_argument("-k", "--folder", type=Path, help="a local folder with the backbone's weights")
    parser.add_argument("--checkpoint", type=Path, help="of a post-trained upstream: a file in place of its recipe's")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help=f"of audio a wave (default {SECONDS:g})")
    parser.add_argument(
        "--updates", type=_count, default=UPDATES, metavar="N",
        help=f"of each training to time, of the post-training (default {UPDATES}; 0: its time is not measured)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=COSTS, metavar="FOLDER", help="default leaderboard/costs")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise UserError(f"--seconds: a number from 0.1 to 3600 wanted, found {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 10_000:
        raise UserError(f"--updates: a whole number from 0 to 10000 wanted, found {text!r}")
    return int(text)


def measure(name: str, args: argparse.Namespace, argv: Sequence[str]) -> Record:
    """The record of one upstream. Raises UserError as building it does."""
    import torch

    from harness.cell_upstream import Resolved
    from harness.config import Runtime
    from harness.cost_data import overlaps, training
    from harness.encode import encode
    from harness.paths import cache_dir, runs_dir
    from harness.provenance import Stopwatch, peak_memory_mb, provenance

    watch, where = Stopwatch(), device(args.device)
    on_gpu = where.startswith("cuda")
    torch.set_num_threads(1)
    idle = 0.0 if on_gpu else peak_memory_mb()
    runtime = Runtime(device=where, folder=args.folder, checkpoint=args.checkpoint, cache=cache_dir(), out=runs_dir())
    resolved = Resolved(name, 0, runtime)
    info = resolved.info()
    samples = round(args.seconds * 16_000)
    wave = (0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))).to(where)

    def whole() -> Any:
        return encode(resolved.upstream, [wave], resolved.base)

    with watch.phase("encoding"):
        whole()
        peak = torch.cuda.max_memory_allocated(where) / 2**20 if on_gpu else peak_memory_mb()
        operations = _multiply_adds(whole)
        seconds, ratio = _times(whole, _alone(resolved, wave), on_gpu)
    encoding = Encoding(
        seconds=args.seconds,
        repeats=REPEATS,
        parameters=info.parameters,
        macs_per_second=round(operations / args.seconds),
        real_time_factor=round(seconds / args.seconds, 6),
        time_ratio=None if ratio is None else round(ratio, 4),
        peak_memory_mb=round(peak, 1),
        idle_memory_mb=round(idle, 1),
    )
    with watch.phase("data"):
        data = training(resolved.upstream, resolved.card)
        shared = overlaps(data) if data is not None else None
    trained = None if data is None else data.described()
    if data is not None and trained is not None and args.updates:
        with watch.phase("training"):
            # encoding is by the backbone alone, whatever stands on it
            alone = encoding.real_time_factor / (encoding.time_ratio or 1)
            trained = _trained(trained, resolved, data.stages, args.updates, alone)
    return Record(
        upstream=name,
        fingerprint=info.fingerprint,
        encoding=encoding,
        training=trained,
        overlaps=shared,
        provenance=provenance(watch, where, shlex.join(["python", "harness/cost.py", *without_out(argv)])),
    )


def _trained(trained: Training, resolved: Any, stages: Sequence[Any], count: int, encoding: float) -> Training:
    """With the time of the training; without, and a line that says why, where its recipe cannot be run again."""
    from harness.cost_training import clock_of, time_training
    from harness.progress import note

    where, family = resolved.runtime.device, resolved.card["family"]
    try:
        took = time_training(
            family, stages, count, clock_of(where), encoding, folder=resolved.runtime.folder, device=where
        )
    except UserError as error:
        note(f"{resolved.name}: the time of its post-training is not measured: {error}")
        return trained
    said = {"seconds": round(took.seconds, 1), "updates": took.updates, "timed_updates": took.timed}
    return trained.model_copy(update=said)


def _alone(resolved: Any, wave: Any) -> Callable[[], Any] | None:
    """Encoding by the backbone that the upstream stands on, or that it is with other weights; None for a backbone."""
    from harness.encode import encode
    from harness.registry import resolve

    below = resolved.base
    if below is None and resolved.derived_from:
        runtime = resolved.runtime
        below = resolve("upstreams.catalogue:build")(
            resolved.derived_from, folder=runtime.folder, device=runtime.device
        )
    return None if below is None else lambda: encode(below, [wave])


def _multiply_adds(work: Callable[[], Any]) -> float:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # the counter does not know the fused attention of a CPU; the plain one is two products of matrices
    with counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops() / 2


def _times(whole: Callable[[], Any], alone: Callable[[], Any] | None, on_gpu: bool) -> tuple[float, float | None]:
    """Smallest seconds of `whole`, and their ratio to those of `alone`, the two taking turns. On a CPU these are
    seconds of one core in this process, which others on the machine do not add to."""
    import torch

    clock = time.perf_counter if on_gpu else time.process_time
    works = [whole, alone] if alone else [whole]
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(WARM_UP + REPEATS):
        for work, seconds in zip(works, taken, strict=True):
            start = clock()
            work()
            if on_gpu:
                torch.cuda.synchronize()
            if turn >= WARM_UP:
                seconds.append(clock() - start)
    best = [min(seconds) for seconds in taken]
    return best[0], best[0] / best[1] if alone else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
