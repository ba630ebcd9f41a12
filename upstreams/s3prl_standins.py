"""What the experts of s3prl 0.4.18 cannot find today, for the time of a run; for every import it is in `s3prl_shims`.

None of the stand-ins makes s3prl slower:

- packages that an expert imports and a timed training does not call are empty;
- the effects of SoX (gain, silence trimming) are left out: clips come with the task's front end applied;
- `ctc/corpus` is not in the pip package: its list of phone transcripts, sorted by their length, is restated;
- paths and lengths that s3prl keeps inside its own package are kept in the temporary folder of the run.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from upstreams import s3prl_shims


@contextmanager
def stand_ins() -> Iterator[None]:
    """For packages that s3prl's experts import and an evaluation of ours does not need; none where the real one is."""
    wanted: dict[str, dict[str, Any]] = {
        "catalyst.data.sampler": {"DistributedSamplerWrapper": None},
        "editdistance": {"eval": None},
        "joblib.parallel": {"Parallel": _sequential, "delayed": _delayed},
        "librosa.util": {"find_files": _find_files},
        "sklearn.metrics": {"roc_curve": None, "auc": None},
        "sox": {"Transformer": None},
        "tensorboardX": {"SummaryWriter": lambda folder: None},
    }
    s3prl_shims.install()
    added = [_stand_in(name, attributes) for name, attributes in wanted.items() if not find_spec(name.split(".")[0])]
    if find_spec("s3prl.downstream.ctc.corpus") is None:
        added.append(_stand_in("s3prl.downstream.ctc.corpus.libriphone", {"LibriPhoneDataset": PhoneTranscripts}))
    try:
        yield
    finally:
        for name in (name for names in added for name in names):
            del sys.modules[name]


def _stand_in(name: str, attributes: dict[str, Any]) -> list[str]:
    """The module and the packages above it that are not there, entered in sys.modules; their names."""
    parts = name.split(".")
    names = [".".join(parts[: n + 1]) for n in range(len(parts))]
    missing = [one for one in names if one not in sys.modules]
    for one in missing:
        sys.modules[one] = ModuleType(one)
        sys.modules[one].__path__ = []
    sys.modules[name].__dict__.update(attributes)
    return missing


def _delayed(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: (function, arguments)


def _sequential(n_jobs: int) -> Callable[..., list[Any]]:
    """joblib's Parallel without processes, in which the mends would be missing."""
    return lambda calls: [call[0](*call[1]) for call in calls]


def _find_files(folder: Path) -> list[str]:
    return sorted(str(path) for path in Path(folder).rglob("*.wav"))


def _read(path: str, effects: Any) -> tuple[Tensor, int]:
    """In place of torchaudio.sox_effects.apply_effects_file: the clip as it is, its front end applied already."""
    return s3prl_shims.load(path)


class PhoneTranscripts(torch.utils.data.Dataset[Any]):
    """The data set of s3prl's phone recognition: item i is the `bucket_size` clips from i on, longest targets first.

    `lines` is a file of path and phones apart by a tab.
    """

    def __init__(self, lines: str, tokenizer: Any, bucket_size: int, **_: Any):
        rows = (line.split("\t") for line in Path(lines).read_text().splitlines())
        items = [(path, tokenizer.encode(phones)) for path, phones in rows]
        self.items = sorted(items, key=lambda item: len(item[1]), reverse=True)
        self.bucket = bucket_size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> list[tuple[str, list[int]]]:
        first = min(index, max(0, len(self.items) - self.bucket))
        return self.items[first : first + self.bucket]


def keep_out_of_the_package(downstream: str, root: Path, device: str, stack: ExitStack) -> None:
    """While `stack` is open, lists that s3prl keeps beside its code, under names that a second corpus shares, go to
    `root`, and a call for CUDA does nothing on a CPU."""
    if downstream in ("speech_commands", "sv_voxceleb1"):
        dataset = importlib.import_module(f"s3prl.downstream.{downstream}.dataset")
        stack.enter_context(_replaced(dataset, "apply_effects_file", _read))
    if downstream == "sv_voxceleb1":
        stack.enter_context(_replaced(dataset, "Parallel", _sequential))
        stack.enter_context(_replaced(dataset, "delayed", _delayed))
        stack.enter_context(_replaced(dataset, "__file__", str(root / "dataset.py")))
        if device == "cpu":
            stack.enter_context(_replaced(torch.Tensor, "cuda", lambda tensor: tensor))
    if downstream == "voxceleb1":
        dataset = importlib.import_module("s3prl.downstream.voxceleb1.dataset")
        stack.enter_context(_replaced(dataset, "CACHE_PATH", str(root / "lists")))


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)
