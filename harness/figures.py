"""What an analysis leaves: a table, a figure and a JSON that says where both came from, under one name.

Tables and figures are the same bytes at every run on one machine; what differs (time, commit) stands in the JSON. The
libraries that only analyses need are imported here, when they are first used.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UserError
from harness.provenance import Stopwatch, provenance
from harness.results import atomic_write

PACKAGES = {"matplotlib": "matplotlib", "parselmouth": "praat-parselmouth", "captum": "captum"}
"""By module, the package that has it: those of the extra `analysis`."""
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Told apart by colour-blind people too (Paul Tol's "bright")."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
"""Beside the colours, for more series than there are of those; one more or less, so that the pairs do not repeat."""
DPI = 120


def library(module: str) -> Any:
    """A module of the extra `analysis`. Raises UserError with the way to install it where it is missing."""
    name = module.partition(".")[0]
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{PACKAGES[name]} wanted for this analysis, not installed ({error}): pip install -e '.[analysis]'"
        ) from error
    return importlib.import_module(module)


def canvas(rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure and its axes, as `Figure.subplots` gives them; drawn without a display. `size` in inches."""
    figure = library("matplotlib.figure").Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for one in axes.ravel() if hasattr(axes, "ravel") else [axes]:  # one alone is no array, unless that was asked for
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def sha256_of(path: Path) -> str:
    """Of a file's bytes. Raises UserError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the path") from None


@dataclass
class Outputs:
    """Files of one analysis in `folder`, named `stem` and written whole or not at all. `close` writes the JSON last."""

    folder: Path
    stem: str
    command: str
    device: str = "cpu"
    watch: Stopwatch = field(default_factory=Stopwatch)
    written: list[Path] = field(default_factory=list)

    def table(self, rows: pd.DataFrame, part: str = "") -> None:
        """A CSV; numbers to six digits, what is missing as n/a."""
        text = rows.to_csv(index=False, lineterminator="\n", float_format="%.6g", na_rep="n/a")
        self._write(f"{self.stem}{part}.csv", text.encode())

    def figure(self, figure: Any, part: str = "") -> None:
        """A PNG of 256 colours at most: a third of the bytes, with nothing lost that one sees in lines and bars."""
        from PIL import Image  # matplotlib's own dependency

        drawn, buffer = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
        few = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(buffer, "png", optimize=True)
        self._write(f"{self.stem}{part}.png", buffer.getvalue())

    def close(
        self, settings: Mapping[str, Any], inputs: Mapping[str, Any], more: Mapping[str, Any] | None = None
    ) -> list[Path]:
        """The JSON: `settings`, `inputs` (sha256 of checkpoints and data by name), the files' sums, and where and when.

        Returns all paths, in the order of writing."""
        files = {path.name: sha256_of(path) for path in self.written}
        found = {
            "files": files,
            "settings": dict(settings),
            "inputs": dict(inputs),
            **(more or {}),
            "provenance": provenance(self.watch, self.device, self.command).model_dump(mode="json"),
        }
        self._write(f"{self.stem}.json", (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
        return self.written

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        atomic_write(path, data)
        self.written.append(path)


def bars(axes: Any, labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """Groups of bars on `axes`: a group a label, a bar a series, with a legend."""
    width = 0.8 / len(series)
    for at, (name, heights) in enumerate(series.items()):
        places = [x + (at - (len(series) - 1) / 2) * width for x in range(len(labels))]
        axes.bar(places, heights, width * 0.95, label=name, color=COLOURS[at % len(COLOURS)])
    axes.set_xticks(range(len(labels)), labels)
    legend_beside(axes)


def curve(
    axes: Any,
    x: Sequence[float],
    y: Sequence[float],
    at: int,
    label: str,
    *,
    spans: tuple[Sequence[float], Sequence[float]] | None = None,
    colour: str | None = None,
    dashes: str = "-",
    emphasised: bool = False,
) -> None:
    """A line with markers, the `at`-th of its axes. `spans`: the low and the high ends of its intervals, NaN for
    none; the interval is of one seed where the line is a mean of several, so it need not hold the marker."""
    shade = colour or COLOURS[at % len(COLOURS)]
    axes.plot(
        list(x), list(y), color=shade, marker=MARKERS[at % len(MARKERS)], linestyle=dashes, label=label,
        markersize=5 if emphasised else 4, linewidth=2.4 if emphasised else 1.1, zorder=3 if emphasised else 2,
    )  # fmt: skip
    if spans is not None:
        axes.vlines(list(x), list(spans[0]), list(spans[1]), color=shade, linewidth=0.7, alpha=0.7)


def legend_beside(axes: Any, size: float = 8) -> None:
    """A legend to the right of the axes, where it hides nothing."""
    axes.legend(frameon=False, fontsize=size, loc="upper left", bbox_to_anchor=(1, 1))
