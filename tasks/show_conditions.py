"""A page of spectrograms: an utterance clean and under every standard condition, and what each measures.

    python tasks/show_conditions.py OUT.png
    python tasks/show_conditions.py OUT.png --only babble,room --id librivox-librivox-0880

OUT.csv has the ops and the figures: the mean over a few embedded recordings of real people of the log-spectral distance
and of the SNR, and how much of the length is left. OUT.json says where both came from. A condition whose library is not
installed is named in its place.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# `python tasks/show_conditions.py` puts tasks/ itself on the path
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.signal import stft  # noqa: E402

from harness import audio  # noqa: E402
from harness.contracts import SAMPLE_RATE, Utterance  # noqa: E402
from harness.errors import UserError  # noqa: E402
from harness.figures import Outputs, canvas  # noqa: E402
from harness.progress import progress  # noqa: E402
from harness.registry import suggest  # noqa: E402
from harness.shell import Parser, guarded  # noqa: E402
from tasks.condition_list import LADDERS, STRENGTHS, distance, snr  # noqa: E402
from tasks.condition_noise import RecordedNoise  # noqa: E402
from tasks.conditions import DATA, build  # noqa: E402
from tasks.manifest import read_manifest  # noqa: E402
from tasks.rooms import known  # noqa: E402

CORPUS, SHOWN = "librivox", "librivox-librivox-0880"
SECONDS = 3.0
LONGEST = 4.0
"""Seconds of the utterances that are measured."""
FLOOR, TOP = -85.0, -25.0
"""dB re full scale, a sine: the ends of the colour scale, the same in every panel so that level can be seen."""
PER_ROW = 2
NARROW = frozenset({"hum", "low_pitch", "high_pitch"})
"""Kinds drawn up to 2 kHz with windows of 64 ms, in which harmonics are seen apart."""


def measured(names: Sequence[str], rows: Sequence[Utterance]) -> pd.DataFrame:
    """A line a condition: name, strength, ops, and the means over the rows' waves. Unmeasured where a library lacks."""
    waves = {row.id: audio.read(row) for row in rows}
    lines = []
    for name in progress(names, "conditions", len(names)):
        for strength, label, ops in zip(STRENGTHS, LADDERS[name].labels, LADDERS[name].ops, strict=True):
            line: dict[str, Any] = {"condition": name, "strength": strength, "of": LADDERS[name].unit, "value": label}
            try:
                condition = build(ops)
                changed = {key: condition.apply(wave, key) for key, wave in waves.items()}
            except UserError as error:
                lines.append(line | {"note": str(error)})
                continue
            line["distance_db"] = np.mean([distance(waves[key], out) for key, out in changed.items()])
            line["snr_db"] = np.mean([snr(waves[key], out) for key, out in changed.items()])
            line["length"] = np.mean([len(out) / len(waves[key]) for key, out in changed.items()])
            lines.append(line | {"version": condition.version, "ops": json.dumps(ops), "note": stands_in(ops)})
    columns = ["condition", "strength", "of", "value", "distance_db", "snr_db", "length", "version", "ops", "note"]
    return pd.DataFrame(lines).reindex(columns=columns)


def stands_in(ops: Sequence[dict[str, Any]]) -> str:
    """What takes the place of a corpus that the user does not have."""
    for entry in ops:
        if entry["op"] == "recorded_noise":
            op = RecordedNoise.model_validate(entry)
            if not known(DATA, op.corpus):
                return f"{op.otherwise} for {op.corpus}"
    return ""


def page(names: Sequence[str], row: Utterance, table: pd.DataFrame) -> Any:
    """The figure: `PER_ROW` kinds a line, each clean and in three strengths."""
    clean = audio.read(row)[: int(SECONDS * SAMPLE_RATE)]
    lines, width = -(-len(names) // PER_ROW), 1 + len(STRENGTHS)
    columns = min(PER_ROW, len(names)) * width
    figure, axes = canvas(lines, columns, size=(2.05 * columns, 1.55 * lines + 0.5), squeeze=False)
    seconds = max(SECONDS, len(clean) / SAMPLE_RATE)
    for panel in axes.ravel():
        panel.set_visible(False)
    for at, name in enumerate(names):
        narrow = name in NARROW
        left = at % PER_ROW * width
        _panel(axes[at // PER_ROW, left], clean, seconds, f"{name}: clean", bold=True, narrow=narrow)
        axes[at // PER_ROW, left].set_ylabel("kHz", fontsize=7)
        for place, (label, ops) in enumerate(zip(LADDERS[name].labels, LADDERS[name].ops, strict=True), start=1):
            found = table[(table.condition == name) & (table.strength == STRENGTHS[place - 1])].iloc[0]
            panel = axes[at // PER_ROW, left + place]
            unit = LADDERS[name].unit if place == 1 else ""
            title = f"{label}" + (f" ({unit})" if unit else "")
            try:
                out = build(ops).apply(clean, row.id)
            except UserError as error:
                _panel(panel, np.zeros(0), seconds, title, bold=False, narrow=narrow)
                panel.text(0.5, 0.5, str(error).partition(":")[0], fontsize=6, ha="center", wrap=True,
                           transform=panel.transAxes)  # fmt: skip
                continue
            _panel(panel, out, seconds, title, bold=False, narrow=narrow)
            _say(panel, 0.98, _effect(found), "white")
            if found.note and place == 1:
                _say(panel, 0.02, found.note, "#ffdd55")
    figure.suptitle(f"Standard conditions on {row.id}, mild to strong; same colour scale everywhere", fontsize=10)
    return figure


def _effect(found: Any) -> str:
    if np.isnan(found.distance_db):
        return f"{found.length:.2f} of the length"
    return f"{found.distance_db:.1f} dB off" if found.distance_db >= 0.05 else "but for level the same"


def _say(axes: Any, at: float, text: str, colour: str) -> None:
    box = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    side = "left" if at < 0.5 else "right"
    axes.text(at, 0.94, text, fontsize=6.5, color=colour, ha=side, va="top", transform=axes.transAxes, bbox=box)


def _panel(axes: Any, wave: NDArray[np.floating], seconds: float, title: str, *, bold: bool, narrow: bool) -> None:
    top = 2 if narrow else SAMPLE_RATE // 2_000
    axes.set_visible(True)
    axes.set_title(title, fontsize=7.5, fontweight="bold" if bold else "normal", loc="left", pad=2)
    axes.set(xlim=(0, seconds), ylim=(0, top), facecolor="#000004")
    axes.set_xticks(range(int(seconds) + 1))
    axes.set_yticks([0, top // 2, top])
    axes.tick_params(labelsize=6, length=2, pad=1)
    if not len(wave):
        axes.set_facecolor("#eeeeee")
        return
    window = 1_024 if narrow else 400
    padded = np.pad(np.asarray(wave, dtype=np.float64), (0, max(0, 1_024 - len(wave))))
    hertz, times, spectrum = stft(
        padded, SAMPLE_RATE, nperseg=window, noverlap=window - 160, nfft=2_048 if narrow else 512, boundary=None,
        padded=False,
    )  # fmt: skip
    levels = 20 * np.log10(2 * np.abs(spectrum) + 1e-9)
    axes.imshow(
        levels, origin="lower", aspect="auto", cmap="magma", vmin=FLOOR, vmax=TOP, interpolation="nearest",
        extent=(times[0] - 0.005, times[-1] + 0.005, 0, hertz[-1] / 1_000), rasterized=True,
    )  # fmt: skip
    axes.set(xlim=(0, seconds), ylim=(0, top))


def _chosen(text: str | None) -> list[str]:
    names = list(LADDERS) if text is None else text.split(",")
    for name in names:
        if name not in LADDERS:
            raise UserError(f"condition {name!r}: one of the list wanted{suggest(name, LADDERS)}")
    return names


def _main(argv: list[str]) -> int:
    parser = Parser("python tasks/show_conditions.py", __doc__)
    parser.add_argument("out", type=Path, help="a PNG; a CSV and a JSON are written beside it")
    parser.add_argument("--only", help="names with commas; all by default")
    parser.add_argument("--id", default=SHOWN, help=f"the utterance shown, of corpus {CORPUS}")
    args = parser.parse_args(argv)
    if args.out.suffix != ".png":
        raise UserError(f"{args.out}: a name that ends in .png wanted")
    names = _chosen(args.only)
    rows = {row.id: row for row in read_manifest(DATA / CORPUS)}
    if args.id not in rows:
        raise UserError(f"utterance {args.id!r}: one of {CORPUS} wanted{suggest(args.id, rows)}")
    table = measured(names, [row for row in rows.values() if row.duration <= LONGEST])
    outputs = Outputs(args.out.parent, args.out.stem, f"python tasks/show_conditions.py {' '.join(argv)}")
    outputs.table(table)
    outputs.figure(page(names, rows[args.id], table))
    for path in outputs.close({"only": names, "id": args.id, "corpus": CORPUS}, {}):
        print(path)
    return 0


def main(argv: Sequence[str]) -> int:
    """Exit status as in `harness.shell.guarded`."""
    return guarded(_main, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
