"""Speech-FT's analyses: the formulas on cases worked out by hand, and the files on a tiny suite."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from speech_ft_toys import SMALL, job, recipe, write_data

from harness import analyse
from harness.errors import UserError
from harness.uncertainty import speaker_counts
from upstreams.speech_ft import analysis_lines as lines
from upstreams.speech_ft import analysis_measures as measures
from upstreams.speech_ft import settings
from upstreams.speech_ft.analysis import ANALYSES, Tradeoff
from upstreams.speech_ft.analysis_lines import Lines, Point
from upstreams.speech_ft.sweep import name_at

Folder = Callable[..., Path]


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_similarity_is_the_mean_over_frames_of_each_layers_cosine() -> None:
    before = torch.tensor([[[1.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 2.0]]])  # (T=2, L=2, D=2)
    after = torch.tensor([[[2.0, 0.0], [4.0, 3.0]], [[0.0, 1.0], [0.0, -1.0]]])
    # layer 0: cosines 1 and 0; layer 1: 24/25 and -1
    assert measures.similarity(after, before).tolist() == pytest.approx([0.5, (0.96 - 1) / 2])
    assert measures.similarity(before, before).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)


def test_a_linear_model_has_no_gap_and_another_has_the_one_worked_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, 4, generator=generator, dtype=torch.float64)
    theta0, theta1 = (torch.randn(4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    for alpha in (0.0, 0.25, 0.5, 1.0):
        merged = x @ (theta0 + alpha * (theta1 - theta0))
        assert measures.connectivity_gap(merged, x @ theta0, x @ theta1, alpha).abs().max() < 1e-12
    # h = (theta^2, 1), theta from 0 to 2, alpha 0.5: merged (1, 1), in between (2, 1), cos 3 / sqrt(10)
    merged, before, after = (torch.tensor([[[t**2, 1.0]]]) for t in (1.0, 0.0, 2.0))
    assert float(measures.connectivity_gap(merged, before, after, 0.5)) == pytest.approx(1 - 3 / 10**0.5)


def test_distortion_has_both_normalisers_by_part() -> None:
    theta0 = {"layers.0.w": torch.zeros(2, 2), "layers.10.w": torch.ones(3), "conv.w": torch.zeros(2)}
    theta = {"layers.0.w": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "layers.10.w": torch.ones(3),
             "conv.w": torch.tensor([0.0, 4.0])}  # fmt: skip
    found = measures.distortion(theta, theta0)
    assert list(found) == ["all", "0", "10", "other"]
    assert (found["all"].parameters, found["all"].l2) == (9, 5.0)
    assert found["all"].l2_per_parameter == pytest.approx(5 / 9)
    assert found["all"].rms == pytest.approx((25 / 9) ** 0.5)
    assert (found["0"].l2, found["0"].rms) == (3.0, 1.5) and found["10"].rms == 0.0
    with pytest.raises(ValueError, match="conv.w"):
        measures.distortion({"layers.0.w": theta["layers.0.w"], "layers.10.w": theta["layers.10.w"]}, theta0)


def test_half_of_the_way_is_half_of_the_distortion() -> None:
    theta0, theta = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([2.0, 4.0])}
    half = {"w": theta0["w"] + 0.5 * (theta["w"] - theta0["w"])}
    assert measures.distortion(half, theta0)["all"].l2 == measures.distortion(theta, theta0)["all"].l2 / 2


def test_means_are_over_frames_and_intervals_over_speakers() -> None:
    one = measures.judged([(torch.tensor([1.0, 0.5]), 1, "a"), (torch.tensor([0.0, 0.1]), 3, "b")])
    assert one.mean() == pytest.approx([0.25, 0.2]) and one.mean([0, 1]) == pytest.approx([0.225])
    assert one.interval([0]) is None  # two speakers
    names = [f"p{i}" for i in range(8)]
    many = measures.judged([(torch.tensor([float(i)]), 1 + i, name) for i, name in enumerate(names)])
    drawn = many.replicates([0])
    counts = speaker_counts(names, 1000)
    frames = torch.arange(1, 9).numpy()
    assert drawn is not None
    assert drawn[5] == pytest.approx((counts[5] * frames * (frames - 1)).sum() / (counts[5] * frames).sum())
    more, span = measures.difference(many, many, [0])
    assert more == 0 and span is not None and span.low == span.high == 0


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "name"),
    [(0, "whisper_tiny"), (0.25, "speech_ft_asr"), (0.5, "speech_ft_asr+alpha0.5"), (1, "speech_ft_asr+plain")],
)
def test_names_over_alpha(alpha: float, name: str) -> None:
    assert name_at("speech_ft_asr", alpha) == name
    there = {"whisper_tiny": "hubert_base"}.get(name, f"{name}@hubert_base")
    assert name_at("speech_ft_asr@hubert_base", alpha) == there


def test_where_alpha_0_is_not_the_backbone_and_names_without_alpha() -> None:
    assert name_at("speech_ft_multi_rounds", 0) == "speech_ft_multi_rounds+alpha0"
    assert name_at("speech_ft_multi_linear", 0) == "whisper_tiny"
    for name in ("speech_ft", "speech_ft_asr+lora"):
        with pytest.raises(UserError, match="a card with a recipe and no \\+suffix wanted"):
            name_at(name, 0.5)


def test_points_are_called_as_their_upstreams() -> None:
    assert [Point("stable", a).suffix for a in (0.1, 0.25, 1.0)] == ["+alpha0.1", "", "+plain"]
    assert Point("unstable", 0.25).suffix == "+unstable" and Point("lora", 1.0).label == "lora"
    assert Point("lora", 0.25).suffix == "?" and Point("lora", 0.25).label == "lora, alpha 0.25"


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tuned(tmp_path: Path, hf_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A fine-tuned random HuBERT in the cache, with one baseline; returns the data and the backbone's folder."""
    monkeypatch.setitem(settings.PRESETS, "mini", SMALL)
    monkeypatch.setenv("POST_SUPERB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(Lines, "seen", lambda self: 0)  # the recipes' own data are not the tiny suite's
    folder, data = hf_folder("hubert"), write_data(tmp_path / "suite")
    for options in ({}, {"baseline": "l2"}):
        recipe(**options).run(job(data, folder))
    return data, folder


def args(**more: object) -> argparse.Namespace:
    given = {"task": "asr", "alphas": (0.5,), "baselines": ("plain", "l2", "lora"), "preset": "mini", "split": "val"}
    return argparse.Namespace(**given | more)


def test_ends_and_lines_of_a_fine_tuned_model(tuned: tuple[Path, Path]) -> None:
    data, folder = tuned
    said: list[str] = []
    call = job(data, folder)
    call.say = said.append
    found = Lines(call, args())
    assert found.there == ["stable", "l2"] and list(found.missing) == ["lora"]
    assert len(said) == 1 and "--adapter lora" in said[0]
    points = [Point("stable", alpha) for alpha in (0.0, 0.5, 1.0)]
    measured = found.measure(points)
    start, half, end = (measured[point] for point in points)
    assert start.similarity.mean() == pytest.approx([1.0] * 3, abs=1e-9)
    for model in (start, end):  # h(theta) is h(theta) at both ends
        assert model.gap.mean() == pytest.approx([0.0] * 3, abs=1e-9)
    assert end.similarity.mean()[-1] < half.similarity.mean()[-1] < 1 and half.gap.mean()[-1] > 1e-9
    whole = [found.distortion(point)["all"].rms for point in points]
    assert whole[0] == 0 and whole[1] == pytest.approx(whole[2] / 2, rel=1e-4) and whole[2] > 0


def test_what_was_measured_is_kept(tuned: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data, folder = tuned
    point = Point("stable", 0.5)
    first = Lines(job(data, folder), args()).measure([point])

    def forbidden(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(lines, "similarity", forbidden)
    assert Lines(job(data, folder), args()).measure([point]) == first
    with pytest.raises(AssertionError, match="measured again"):
        Lines(job(data, folder), args(split="train")).measure([point])
    with pytest.raises(UserError, match="unknown split of crossed.yaml 'vall'; did you mean val"):
        Lines(job(data, folder), args(split="vall")).measure([point])


def test_all_four_write_their_files(
    tuned: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    data, folder = tuned
    argv = ["speech_ft", "all", "--task", "asr", "--backbone", "hubert_base", "-k", str(folder), "--data", str(data),
            "--split", "val", "--alphas", "0.5", "--baselines", "plain,l2,lora", "--device", "cpu"]  # fmt: skip
    assert analyse.main(argv) == 0
    out = tmp_path / "runs" / "analyses" / "speech_ft" / "hubert_base"
    stems = ["similarity", "distortion", "llfc", "tradeoff"]
    assert {p.name for p in out.iterdir()} == {f"{s}-asr.{end}" for s in stems for end in ("csv", "png", "json")}
    printed = capsys.readouterr().out
    assert "left out: speech_ft_asr+lora: no Speech-FT checkpoint" in printed
    assert "Speech-FT against l2: similarity " in printed
    rows = list(csv.DictReader((out / "tradeoff-asr.csv").open()))
    assert [row["model"] for row in rows] == ["Speech-FT", "alpha 0.5", "plain", "l2"]
    assert [row["upstream"] for row in rows] == [
        f"speech_ft_asr{suffix}@hubert_base" for suffix in ("", "+alpha0.5", "+plain", "+l2")
    ]
    rms = [float(row["rms"]) for row in rows]
    assert rms[0] == pytest.approx(rms[2] / 4, rel=1e-3) and rms[1] == pytest.approx(rms[2] / 2, rel=1e-3)
    assert {row["last_low"] for row in rows} == {"n/a"}  # four speakers
    said = json.loads((out / "tradeoff-asr.json").read_text())
    claim = said["result"]["against"]["l2"]
    assert claim["weight_change_over_baseline"] == pytest.approx(rms[0] / rms[3], rel=1e-4)
    assert said["left_out"].keys() == {"lora"} and said["inputs"]["data"]["utterances"] == 8
    assert len(said["inputs"]["checkpoints"]["l2"]) == 1 and said["provenance"]["commit"]
    llfc = list(csv.DictReader((out / "llfc-asr.csv").open()))
    assert {(row["line"], row["alpha"]) for row in llfc} >= {("stable", "0.5"), ("l2", "0.25")}


def test_the_claim_needs_both_more_likeness_and_more_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up task: like 0.9 at distance 2; l2 is less alike and nearer, features less alike but further."""
    told: list[str] = []

    class MadeUp:
        there = ["stable", "l2", "features"]
        job = argparse.Namespace(backbone=argparse.Namespace(num_layers=2), say=told.append)
        values = {"stable": (0.9, 2.0), "l2": (0.8, 1.0), "features": (0.7, 3.0)}

        def name_of(self, point: Point) -> str:
            return f"u{point.suffix}"

        def measure(self, points: list[Point]) -> dict[Point, lines.Measured]:
            made = {p: measures.judged([(torch.tensor([1.0, self.values[p.line][0]]), 1, "a")]) for p in points}
            return {p: lines.Measured(one, one) for p, one in made.items()}

        def distortion(self, point: Point) -> dict[str, measures.Distortion]:
            return {"all": measures.Distortion(4, 2 * self.values[point.line][1])}

    class Nowhere:
        def table(self, rows: object) -> None: ...
        def figure(self, figure: object) -> None: ...

    monkeypatch.setattr("upstreams.speech_ft.analysis_figures.tradeoff", lambda table: None)
    found = Tradeoff(args(alphas=(0.25,), baselines=("l2", "features"))).write(MadeUp(), Nowhere())["against"]  # type: ignore[arg-type]
    assert found["l2"]["holds"] and not found["features"]["holds"]
    assert found["l2"]["similarity_minus_baseline"] == pytest.approx(0.1)
    assert found["l2"]["weight_change_over_baseline"] == pytest.approx(2.0)
    assert "holds" in told[1] and "does not hold" in told[2]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--task", "aser"), "unknown --task 'aser'; did you mean"),
        (("--alphas", "0.5,2"), "--alphas: numbers from 0 to 1"),
        (("--baselines", "loar"), "did you mean lora"),
        (("--task", "pr"), "make it with python harness/posttrain.py speech_ft --backbone whisper_tiny --task pr"),
    ],
)
def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: str) -> None:
    assert analyse.main(["speech_ft", "tradeoff", *argv, "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and words in line


def test_the_data_has_the_split_and_the_analyses_resolve() -> None:
    from harness.paths import ROOT
    from harness.registry import resolve

    assert "read_test" in yaml.safe_load((ROOT / Tradeoff.data).read_text())["splits"]
    assert all(callable(resolve(target)) for target in ANALYSES.values())
