"""`analyse.py vib salience`: which frames of an utterance the acoustic stage looks at, with the words that are said."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from harness.contracts import SAMPLE_RATE, Utterance
from harness.encode import rounded
from harness.errors import UserError
from harness.features import Features
from harness.figures import COLOURS, Outputs, canvas
from harness.paths import cache_dir
from harness.recipe import Job
from harness.registry import resolve, suggest
from harness.store import FeatureStore
from harness.text import normalise
from upstreams.vib.alignment import Word, forced_path, word_means, word_times, words_of_frames
from upstreams.vib.analysis import Stage, stage_options, stages, text_of
from upstreams.vib.attribution import STEPS, TwoStages, salience
from upstreams.vib.checkpoint import Checkpoint
from upstreams.vib.network import TextDecoder
from upstreams.vib.settings import TARGETS

CURVES = ("text_attention", "acoustic_attention", "integrated_gradients")
SEPARATOR, END = "|", ("</s>", "<eos>")
TOLERANCE = 0.05
"""Of the attributed difference: a larger miss of the quadrature is said."""


class SalienceOf:
    """Follows `harness.analyse.Analysis`. Its data is the folder of a suite: every corpus in it is looked through."""

    data = "tasks/mini/vib_probe.yaml"

    @staticmethod
    def options(parser: Any) -> None:
        parser.add_argument("--id", required=True, metavar="UTTERANCE", help="the utterance, by its manifest's id")
        parser.add_argument("--target", choices=TARGETS, default="speaker", help="whose stage (default speaker)")
        parser.add_argument("--class", dest="wanted", metavar="NAME", help="whom to explain (default: the likeliest)")
        parser.add_argument("--control", action="store_true", help="of the control without the bottleneck")
        stage_options(parser)

    def __init__(self, args: argparse.Namespace):
        self.args = args

    def run(self, job: Job, command: str) -> list[Path]:
        assert job.out is not None
        utterance = find_utterance(job.data_path.parent, self.args.id)
        acoustic, text = self._stages(job)
        stem = f"salience-{acoustic.name}-{utterance.id}"
        outputs = Outputs(job.out / job.backbone_name.replace(":", "_"), stem, command, job.device)
        store = FeatureStore(cache_dir() / "features")
        features = Features(job.backbone, None, [utterance], store, device=job.device)
        hidden, wave = features.frames(utterance.id).to(job.device), features.wave(utterance)
        with torch.no_grad():
            silent = job.backbone.layers([torch.zeros_like(wave).to(job.device)])[0]
        model = TwoStages(text.checkpoint.network, acoustic.checkpoint.network)
        wanted = class_index(acoustic, self.args.wanted)
        found = salience(model, hidden, rounded(silent, job.backbone.name).to(job.device), wanted)
        if abs(found.completeness) > TOLERANCE * abs(found.difference):
            job.say(f"the integral misses {found.completeness:.3g} of {found.difference:.3g}: read its curve with care")
        seconds = job.backbone.stride / SAMPLE_RATE
        words = aligned(text.checkpoint, model.streams(hidden)[0], utterance.text, seconds)
        belongs = words_of_frames(words, len(hidden) * seconds, len(hidden))
        curves = dict(zip(CURVES, (found.text.cpu(), found.acoustic.cpu(), found.gradients.cpu()), strict=True))
        names = [words[index].text if index >= 0 else "" for index in belongs]
        frames = pd.DataFrame({"frame": range(len(hidden)), "seconds": [t * seconds for t in range(len(hidden))]})
        outputs.table(frames.assign(**{name: curve.tolist() for name, curve in curves.items()}, word=names))
        spoken = pd.DataFrame([(w.text, w.start, w.end) for w in words], columns=["word", "start", "end"])
        means = {name: word_means(curve, belongs, len(words)) for name, curve in curves.items()}
        outputs.table(spoken.assign(**means), "-words")
        title = f"{utterance.id}, {acoustic.name}: {acoustic.checkpoint.meta.classes[found.explained]}"
        outputs.figure(drawn(wave, curves, words, seconds, title))
        classes = acoustic.checkpoint.meta.classes
        said = {
            "likeliest": classes[int(found.logits.argmax())],
            "explained": classes[found.explained],
            "logit_minus_silence": found.difference,
            "integral_misses": found.completeness,
            "text_stage_validation": text.checkpoint.meta.validation,  # the words' times are as good as this
        }
        inputs = {"text": text.sums, acoustic.name: acoustic.sums, "audio": {utterance.id: utterance.sha256}}
        return outputs.close({"target": self.args.target, "integral_steps": STEPS}, inputs, {"result": said})

    def _stages(self, job: Job) -> tuple[Stage, Stage]:
        """The acoustic stage of the target, and the text stage that it was conditioned on."""
        known = stages(job, self.args, job.backbone)
        name = f"acoustic_{self.args.target}" + ("_control" if self.args.control else "")
        if name not in known:
            raise UserError(
                f"stage {name} wanted, found {', '.join(known)}; make it with posttrain.py vib, or give --checkpoint"
            )
        text = text_of(known[name], list(known.values()))
        text.checkpoint.network.to(job.device)
        return known[name], text


def class_index(stage: Stage, name: str | None) -> int | None:
    """Raises UserError for a class that the stage does not know."""
    classes = stage.checkpoint.meta.classes
    if name is not None and name not in classes:
        near = suggest(name, classes) or f"; it has {', '.join(classes)}"
        raise UserError(f"a class of {stage.name} wanted, found {name!r}{near}")
    return None if name is None else classes.index(name)


def find_utterance(suite: Path, name: str) -> Utterance:
    """By id, in the corpora of a suite's folder; the one whose name the id begins with first. Raises UserError."""
    corpora = resolve("tasks.catalogue:Corpora")(suite)
    folders = [path.parent.name for path in (suite / "data").glob("*/manifest.csv")]
    for folder in sorted(folders, key=lambda folder: (not name.startswith(folder), folder)):
        for row in corpora.corpus(folder):
            if row.id == name:
                found: Utterance = row
                return found
    raise UserError(f"--id: an utterance of {suite / 'data'} wanted, found none named {name!r}; see its manifests")


def aligned(text: Checkpoint, mu: Tensor, said: str, frame_seconds: float) -> list[Word]:
    """The words of a text with their times, by the text stage's own CTC; `mu` (T, d). Raises UserError for a letter
    that it has not."""
    decoder = text.network.decoder
    assert isinstance(decoder, TextDecoder)
    with torch.no_grad():
        log_probs = decoder(mu).log_softmax(dim=-1)
    words = normalise(said).split()
    if not words:
        return []
    target, places = spelt(words, text.meta.symbols, ended=bool(text.meta.data))
    return word_times(forced_path(log_probs, target), words, places, frame_seconds)


def spelt(words: list[str], symbols: list[str], ended: bool) -> tuple[list[int], list[list[int]]]:
    """The CTC target of words, and each word's places in it; upper or lower case as the symbols are.

    What parts words stands between them. `ended`: also after the last, and the end-of-sentence special behind it, as
    this project's stages are trained (`harness.ctc.Symbols`); the authors' are not. Raises UserError for a letter that
    is no symbol."""
    index = {symbol: at for at, symbol in enumerate(symbols)}
    target: list[int] = []
    places = []
    for at, word in enumerate(words):
        own = word if set(word) <= set(index) else word.lower()
        lacking = sorted(set(own) - set(index))
        if lacking:
            raise UserError(f"letters of the text stage wanted, found {lacking[0]!r} in {word!r}; choose other audio")
        places.append(list(range(len(target), len(target) + len(own))))
        target += [index[letter] for letter in own]
        if SEPARATOR in index and (ended or at + 1 < len(words)):
            target.append(index[SEPARATOR])
    return [*target, *[index[special] for special in END if ended and special in index]], places


def drawn(wave: Tensor, curves: dict[str, Tensor], words: list[Word], frame_seconds: float, title: str) -> Any:
    """The waveform with the words above it, then the curves, on one axis of seconds."""
    length = len(wave) / SAMPLE_RATE
    figure, axes = canvas(
        1 + len(curves), size=(max(7.0, 3.0 * length), 6.0), sharex=True, gridspec_kw={"height_ratios": [1.6, 1, 1, 1]}
    )
    axes[0].plot([n / SAMPLE_RATE for n in range(len(wave))], wave.numpy(), color="black", linewidth=0.4)
    axes[0].set(title=title, xlim=(0, length), ylabel="wave")
    top = float(wave.abs().max()) or 1.0
    for word in words:
        axes[0].text((word.start + word.end) / 2, 1.25 * top, word.text, ha="center", va="bottom", fontsize=8)
    axes[0].set_ylim(-1.1 * top, 1.6 * top)
    for one, (name, curve), colour in zip(axes[1:], curves.items(), COLOURS, strict=False):
        at = [(frame + 0.5) * frame_seconds for frame in range(len(curve))]
        one.fill_between(at, curve.numpy(), color=colour, alpha=0.3, linewidth=0)
        one.plot(at, curve.numpy(), color=colour, linewidth=1)
        one.axhline(1 / len(curve), color="grey", linewidth=0.8, linestyle=":")
        one.set(ylabel=name.replace("_", "\n"), ylim=(0, None))
    for one in axes:
        for word in words:
            one.axvspan(word.start, word.end, color="black", alpha=0.04, linewidth=0)
            one.axvline(word.end, color="grey", linewidth=0.4)
    axes[-1].set_xlabel("seconds")
    return figure
