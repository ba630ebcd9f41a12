"""s3prl's own training of a SUPERB task, timed on clips of ours: the other side of `python harness/bench.py`.

    measure("sid", "a/hubert_folder", clips)   # -> Measured: seconds a micro-batch, memory

Its Runner trains with its expert, its data sets and its settings for SUPERB; only the clock is ours, and on a CPU data
are read in the process that trains, where worker processes would take its cores.
"""

from __future__ import annotations

import importlib
import io
import logging
import statistics
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from harness.contracts import SAMPLE_RATE
from harness.errors import UserError
from harness.progress import progress
from harness.provenance import peak_memory_mb
from harness.registry import unknown
from upstreams import torchaudio_shim, weights
from upstreams.s3prl_corpora import LAYOUTS, RECIPES, Clip, settings
from upstreams.s3prl_standins import keep_out_of_the_package, stand_ins

THEIR_KINDS = {"hubert": "hf_hubert_custom", "wav2vec2": "hf_wav2vec2_custom"}
"""Model type of a Hugging Face folder -> s3prl's entry that takes it."""


@dataclass(frozen=True)
class Measured:
    """s3prl on one task. `median`, `mean` and `total` are seconds of whole micro-batches: reading, upstream, head,
    backward, and the update where one is due; `reading` is the data loader's part of the mean, `cpu` the processor's
    seconds of the mean, all threads together. `audio` is the mean audio of a micro-batch in seconds, `padded` the same
    once every clip is as long as the longest."""

    task: str
    upstream: str
    median: float
    mean: float
    total: float
    reading: float
    cpu: float
    micro_batches: int
    warmup: int
    accumulate: int
    batch: float
    audio: float
    padded: float
    updates: int
    memory_mb: float
    threads: int
    device: str
    what: str

    @property
    def update(self) -> float:
        """Seconds of an optimiser update, from the median micro-batch."""
        return self.median * self.accumulate

    @property
    def whole(self) -> float:
        """Seconds of the whole training at SUPERB's number of updates. Computed, not run."""
        return self.update * self.updates


def measure(
    task: str,
    upstream: str,
    clips: Sequence[Sequence[Any]],
    micro_batches: int = 30,
    warmup: int = 3,
    threads: int | None = None,
    device: str = "cpu",
) -> Measured:
    """Time s3prl's Runner on `clips`, tuples (wave, speaker, label, text, phones) as in `s3prl_corpora.Clip`.

    `upstream` is a folder with a HuBERT or wav2vec 2.0 of transformers, which s3prl's own wrapper loads, or a name in
    s3prl.hub, ours included. `threads` is torch's number for the time of the call. Raises UserError for an unknown task
    or upstream, for clips that the task cannot use, and for whatever ends s3prl's run.
    """
    if task not in RECIPES:
        raise unknown("task of s3prl", task, RECIPES)
    entry, checkpoint = _entry(upstream)
    kept = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    bar = progress(range(warmup + micro_batches), f"s3prl, {task}: micro-batches")
    next(bar)  # on the terminal before s3prl's own output is turned away
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            runner = _runner(task, entry, checkpoint, [Clip(*clip) for clip in clips], Path(folder), device, stack)
            loader = runner.downstream.model.get_dataloader("train")
            clock = _Clock(loader, warmup, micro_batches, bar, device)
            runner.downstream.model.get_dataloader = lambda split, epoch=0: clock
            with suppress(_Enough):
                runner.train()
            return _measured(task, upstream, clock, device)
    except UserError:
        raise
    except Exception as error:  # s3prl raises whatever it likes
        raise UserError(f"s3prl's {task} ended with {type(error).__name__}: {error}"[:400]) from error
    finally:
        bar.close()  # type: ignore[attr-defined]
        torch.set_num_threads(kept)


def _measured(task: str, upstream: str, clock: _Clock, device: str) -> Measured:
    recipe, used = RECIPES[task], clock.batches[clock.warmup :]
    seconds = [end - start for start, end in pairwise(clock.starts[clock.warmup :])]
    samples = [[len(wave) for wave in waves] for waves in used]
    cuda = device.startswith("cuda")
    return Measured(
        task=task,
        upstream=upstream,
        median=statistics.median(seconds),
        mean=statistics.fmean(seconds),
        total=sum(seconds),
        reading=statistics.fmean(clock.reading[clock.warmup : clock.warmup + len(seconds)]),
        cpu=(clock.cpu[-1] - clock.cpu[clock.warmup]) / len(seconds),
        micro_batches=len(seconds),
        warmup=clock.warmup,
        accumulate=recipe.accumulate,
        batch=statistics.fmean(len(one) for one in samples),
        audio=statistics.fmean(sum(one) for one in samples) / SAMPLE_RATE,
        padded=statistics.fmean(max(one) * len(one) for one in samples) / SAMPLE_RATE,
        updates=recipe.updates,
        memory_mb=torch.cuda.max_memory_allocated() / 2**20 if cuda else peak_memory_mb(),
        threads=torch.get_num_threads(),
        device=device,
        what=f"s3prl's own Runner with downstream/{recipe.downstream}, micro-batches of {recipe.batch},"
        f" {recipe.accumulate} an update",
    )


def random_hubert(folder: Path) -> str:
    """The folder with a HuBERT base of random weights as transformers saves it: as fast as a trained one."""
    torchaudio_shim.install()
    import transformers as imported

    transformers: Any = imported
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.HubertModel(transformers.HubertConfig()).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return str(folder)


class _Enough(BaseException):
    """Ends the Runner's loop, which catches RuntimeError."""


class _Clock:
    """A data loader that notes when each micro-batch is asked for, and ends the run after the last one."""

    def __init__(self, loader: Any, warmup: int, micro_batches: int, bar: Iterator[int], device: str):
        self.loader, self.warmup, self.bar, self.device = loader, warmup, bar, device
        self.wanted = warmup + micro_batches
        self.starts: list[float] = []
        self.cpu: list[float] = []
        self.reading: list[float] = []
        self.batches: list[Sequence[Any]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def _now(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    def __iter__(self) -> Iterator[Any]:
        while True:  # a further epoch, should the clips not last
            batches, before = iter(self.loader), len(self.batches)
            while True:
                self.starts.append(self._now())
                self.cpu.append(time.process_time())
                if len(self.batches) == self.wanted:
                    raise _Enough
                batch = next(batches, None)
                if batch is None:
                    if len(self.batches) == before:
                        raise UserError("s3prl makes no batch of so few clips; more wanted, 32 for ks")
                    self.starts.pop()
                    self.cpu.pop()
                    break
                batch = list(batch)
                self.reading.append(self._now() - self.starts[-1])
                self.batches.append(batch[0])
                next(self.bar, None)
                yield batch


# -- building s3prl's run ---------------------------------------------------------------------------------------------


def _entry(upstream: str) -> tuple[str, str | None]:
    """(name in s3prl.hub, checkpoint)."""
    importlib.import_module("upstreams.s3prl_bridge")  # mends s3prl, and gives its hub our names
    from s3prl import hub

    if not Path(upstream).is_dir():
        if not hasattr(hub, upstream) or upstream.startswith("_"):
            raise unknown("s3prl upstream", upstream, hub.options())
        return upstream, None
    kind = weights.read_config(Path(upstream)).get("model_type")
    if kind not in THEIR_KINDS:
        raise UserError(f"{upstream}/config.json: model type hubert or wav2vec2 wanted for s3prl, found {kind!r}")
    if not (Path(upstream) / "preprocessor_config.json").is_file():
        raise UserError(f"{upstream} wants a preprocessor_config.json: without it s3prl looks for one on the network")
    return THEIR_KINDS[kind], upstream


def _runner(
    task: str, entry: str, checkpoint: str | None, clips: Sequence[Clip], root: Path, device: str, stack: ExitStack
) -> Any:
    recipe = RECIPES[task]
    stack.enter_context(stand_ins())
    logging.getLogger("s3prl").setLevel(logging.ERROR)
    from s3prl.downstream import runner

    keep_out_of_the_package(recipe.downstream, root, device, stack)
    places = LAYOUTS[task](clips, root / "corpus")
    (root / "run").mkdir()
    arguments = {
        "init_ckpt": None,
        "upstream": entry,
        "upstream_ckpt": checkpoint,
        "upstream_model_config": None,
        "upstream_refresh": False,
        "upstream_trainable": False,
        "upstream_feature_selection": "hidden_states",
        "upstream_layer_selection": None,
        "upstream_feature_normalize": False,
        "downstream": recipe.downstream,
        "downstream_variant": None,
        "expdir": str(root / "run"),
        "device": device,
        "local_rank": None,
    }
    torch.manual_seed(1337)
    return runner.Runner(Namespace(**arguments), settings(task, places, 0 if device == "cpu" else 4))
