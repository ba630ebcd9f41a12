"""Merges checkpoints file to file, one tensor of each in memory at a time.

Names, shapes and types have to agree, and what is not floating point has to be equal. Of HuBERT's `final_proj` and
`label_embs_concat`, which no feature depends on, the pre-trained values are kept whatever the fine-tuned ones are;
where a fine-tuned file is fairseq's or s3prl's, or on request, that goes for all that is not of the encoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from harness.errors import UserError
from harness.progress import note, progress
from harness.results import atomic_file, atomic_write
from upstreams import weights
from upstreams.speech_ft import merge
from upstreams.speech_ft.sources import KEY, Weights, read_settings, same_settings, same_tensors, stored

BESIDE = ("config.json", "preprocessor_config.json")
"""Files that say how the weights are used: the merge's are the pre-trained model's."""

DENSITY = 0.2
"""The authors' of TIES (Yadav et al. 2023, section 4): the top 20 %."""


@dataclass(frozen=True)
class How:
    """A way to merge. Raises UserError for figures that do not go together."""

    method: str = "linear"
    alpha: float = 0.25
    """linear and sequential: from 0, the pre-trained model, to 1, the fine-tuned; ties and arithmetic: any finite
    number, times which their delta is added."""
    density: float | None = None
    """Of TIES: the share of each delta that is kept, `DENSITY` where none is given."""
    coefficients: tuple[float, ...] = ()
    """Of task arithmetic: one a fine-tuned model, 1 where none are given; alpha scales them."""

    def __post_init__(self) -> None:
        if self.method not in merge.METHODS:
            raise UserError(f"method: one of {', '.join(merge.METHODS)} wanted, found {self.method!r}")
        bounded = self.method in ("linear", "sequential")
        if not isfinite(self.alpha) or bounded and not 0 <= self.alpha <= 1:
            raise UserError(f"alpha: {'0 to 1' if bounded else 'a finite number'} wanted, found {self.alpha}")
        if self.density is not None and self.method != "ties":
            raise UserError(f"density belongs to the method ties, not to {self.method}; leave it out")
        if not 0 < self.kept <= 1:
            raise UserError(f"density: more than 0 and at most 1 wanted, found {self.density}")
        if self.coefficients and self.method != "arithmetic":
            raise UserError(f"coefficients belong to the method arithmetic, not to {self.method}; leave them out")
        if not all(map(isfinite, self.coefficients)):
            raise UserError(f"coefficients: finite numbers wanted, found {self.coefficients}")

    @property
    def kept(self) -> float:
        """The density that counts."""
        return DENSITY if self.density is None else self.density

    def combine(self, models: int, floors: Sequence[float] | None) -> merge.Combine:
        """The function for so many fine-tuned models; `floors` are those of TIES."""
        if self.coefficients and len(self.coefficients) != models:
            raise UserError(f"coefficients: one a fine-tuned model wanted, {models}, found {len(self.coefficients)}")
        scaled = [self.alpha * c for c in self.coefficients or (1.0,) * models]
        functions: dict[str, merge.Combine] = {
            "linear": partial(merge.interpolate, alpha=self.alpha),
            "sequential": partial(merge.sequential, alpha=self.alpha),
            "ties": partial(merge.ties, alpha=self.alpha, density=self.kept, floors=floors),
            "arithmetic": partial(merge.arithmetic, coefficients=scaled),
        }
        return functions[self.method]


def merge_folders(
    pretrained: Path,
    finetuned: Sequence[Path],
    out: Path,
    how: How,
    *,
    encoder_only: bool = False,
    again: bool = False,
) -> Path:
    """Merge checkpoints into the folder `out`: weights, and the settings beside the pre-trained ones. Returns the file.

    `encoder_only`: heads and the like need not agree; the pre-trained model's stay as they are. A fine-tuned model
    whose deltas are all 0 is named in a line on the standard error stream.

    The weights are written last, whole or not at all. Raises UserError: a checkpoint that is missing, unreadable, not
    of the pre-trained one's names, shapes, types or settings; a folder that holds a model (unless `again`); a full
    disk.
    """
    target = out / weights.WEIGHT_FILES[0]
    taken = next((out / name for name in (target.name, *BESIDE) if (out / name).exists()), None)
    source = pretrained if pretrained.is_dir() else pretrained.parent
    if out.resolve() in {(p if p.is_dir() else p.parent).resolve() for p in (pretrained, *finetuned)}:
        raise UserError(f"--out {out} holds one of the checkpoints to merge: choose another folder")
    if taken is not None and not again:
        raise UserError(f"{taken} is there already: choose another --out, or --again to write a new one in its place")
    config = read_settings(pretrained)
    for place in finetuned:
        same_settings(config, place)
    with ExitStack() as files:
        kind = config["model_type"]
        theta0 = Weights(pretrained, kind, files)
        thetas = [Weights(place, kind, files, encoder_only=encoder_only) for place in finetuned]
        for theta in thetas:
            same_tensors(theta0, theta)
        said = _said(theta0, thetas, how)
        moved: set[Path] = set()
        try:
            with atomic_file(target) as file:
                _write(file, theta0, said, _merged(theta0, thetas, how, moved))
                for name in BESIDE:
                    if (source / name).is_file():
                        atomic_write(out / name, (source / name).read_bytes())
                    elif name == "config.json":  # DeCoAR 2.0's, which has none
                        atomic_write(out / name, json.dumps(config).encode())
                    else:
                        (out / name).unlink(missing_ok=True)
        finally:
            with suppress(OSError):  # what is left of a failed merge: an empty folder, else nothing to remove
                out.rmdir()
        for path in dict.fromkeys(theta.path for theta in thetas if theta.path not in moved):
            note(f"{path}: nothing to merge, since its weights equal those of {theta0.path}: all deltas are 0")
    return target


def _said(theta0: Weights, thetas: Sequence[Weights], how: How) -> dict[str, str]:
    """A merged file's metadata: what transformers wants to see, and how it was made."""
    sums = [{"file": theta.path.name, "sha256": weights.sha256_file(theta.path)} for theta in (theta0, *thetas)]
    before = json.loads(theta0.metadata[KEY])["origin"] if KEY in theta0.metadata else sums[0]["sha256"]
    made = {"pretrained": sums[0], "finetuned": sums[1:], "origin": before, **asdict(how)}
    return {"format": "pt", KEY: json.dumps(made, sort_keys=True)}


def _merged(theta0: Weights, thetas: Sequence[Weights], how: How, moved: set[Path]) -> Callable[[str], Tensor]:
    """By name, the merged tensor. Files with a delta other than 0 are added to `moved`."""
    floors = [_floor(theta0, theta, how.kept) for theta in thetas] if how.method == "ties" else None
    combine = how.combine(len(thetas), floors)

    def one(name: str) -> Tensor:
        base = theta0.tensor(name)
        if all(theta.aside(name) for theta in thetas):
            return base
        others = [base if theta.aside(name) else theta.tensor(name) for theta in thetas]
        if not base.is_floating_point():
            if not all(torch.equal(base, other) for other in others):
                raise UserError(f"{name}, {base.dtype}, differs between the checkpoints: only floats can be merged")
            return base
        moved.update(theta.path for theta, other in zip(thetas, others, strict=True) if not torch.equal(base, other))
        made = combine(base, others)
        if not bool(torch.isfinite(made).all()):
            raise UserError(
                f"{name}: finite {made.dtype} wanted, the merge has NaN or infinity: a checkpoint has it, or alpha is"
                " too large"
            )
        return made

    return one


def _floor(theta0: Weights, theta: Weights, density: float) -> float:
    """The magnitude from which on TIES keeps a model's delta, over all the tensors that are merged."""
    names = [name for name in theta0.names if not theta.aside(name)]
    floating = [name for name in names if re.match("B?F", theta0.head(name)[0])]
    count = sum(torch.Size(theta0.head(name)[1]).numel() for name in floating)

    def deltas() -> Iterator[Tensor]:
        for name in progress(floating, f"deltas of {theta.path.parent.name}"):
            yield merge.delta_of(theta0.tensor(name), theta.tensor(name))

    return merge.magnitude_floor(deltas, merge.kept(density, count))


def _write(file: IO[bytes], theta0: Weights, said: dict[str, str], merged: Callable[[str], Tensor]) -> None:
    """The safetensors format by hand, since its writer wants all tensors at once: the header's length in 8 bytes, the
    header, the tensors one after the other. Wide types come first, so that every tensor is aligned."""
    heads = {name: theta0.head(name) for name in theta0.names}
    order = sorted(theta0.names, key=lambda name: (-_width(heads[name][0]), theta0.names[name]))
    header: dict[str, Any] = {"__metadata__": said}
    end = 0
    for name in order:
        dtype, shape = heads[name]
        start, end = end, end + torch.Size(shape).numel() * _width(dtype)
        header[theta0.names[name]] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in progress(order, "merging"):
        file.write(stored(merged(name))[1])


def _width(dtype: str) -> int:
    """Bytes of a type by its name in safetensors: F16, BF16, F8_E4M3, I64, BOOL."""
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) // 8 if bits else 1
