"""The separation number on constructed streams: who it calls separate, mixed and swapped, and what its interval is."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_up_runs import write_run

from leaderboard import build, cells, separation
from leaderboard.aspects import side, trained_for
from leaderboard.separation import MISSING, separate, skill

TASKS = ["asv", "ks", "pr", "sid"]
WHO, WHAT = ("asv", "sid"), ("ks", "pr")


def stream(who, what, draws=None):
    """The same skill in every task of an aspect; `draws` moves it in each draw."""
    moved = 0.0 if draws is None else draws
    return {task: (value, np.full(4, value) + moved) for task, value in zip(TASKS, (who, what, what, who), strict=True)}


@pytest.mark.parametrize(
    ("speaker", "content", "expected"),
    [
        (stream(1, 0), stream(0, 1), 1.0),
        (stream(0.6, 0.6), stream(0.6, 0.6), 0.0),
        (stream(0, 0), stream(0, 0), 0.0),
        (stream(1, 1), stream(0, 0), 0.0),  # one stream knows everything: nothing is separated
        (stream(0, 1), stream(1, 0), -1.0),
        (stream(0.8, 0.5), stream(0.2, 0.7), 0.4),
    ],
)
def test_perfect_none_and_swapped(speaker, content, expected):
    found = separate(speaker, content, TASKS)
    assert found.value == pytest.approx(expected)
    assert found.range == (pytest.approx(expected), pytest.approx(expected))
    assert separate(content, speaker, TASKS).value == pytest.approx(-expected)


def test_an_aspect_counts_once_however_many_tasks_it_has():
    speaker, content = stream(1, 0), stream(0, 0)
    assert separate(speaker, content, TASKS).value == separate(speaker, content, ["asv", "ks"]).value == 0.5
    assert separate(speaker, content, ["asv", "sid"]) is None
    assert separate(speaker, content, ["ks"]) is None


def test_the_interval_is_of_the_draws():
    draws = np.array([-0.1, 0.0, 0.0, 0.1])
    found = separate(stream(0.5, 0.5, draws), stream(0.5, 0.5, -draws), TASKS)
    # who rises where what falls, by as much
    assert found.range == (pytest.approx(0), pytest.approx(0)) and found.who == found.what == 0
    few = stream(0.5, 0.1) | {"pr": (0.1, None)}
    assert separate(few, stream(0.1, 0.5), TASKS).range == ("n/a", "n/a")
    gone = few | {"sid": (0.5, MISSING)}
    assert separate(gone, stream(0.1, 0.5), TASKS).range == (None, None)


def test_skill():
    assert skill(0.0, 50.0) == 1 and skill(50.0, 50.0) == 0 and skill(25.0, 50.0) == 0.5
    assert list(skill([60.0, 130.0], 50.0)) == [0, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("icl_speaker", "who"), ("icl_content_utt", "what"), ("vib_text@hubert_base", "what"), ("icl_joint", None),
     ("vib_both_speaker", None), ("vib_acoustic_emotion", None), ("speech_ft_sid", "who"), ("speech_ft_pr", "what"),
     ("whisper_tiny+last", None)],
)  # fmt: skip
def test_sides(name, expected):
    assert side(name) == expected


def test_what_a_stream_was_trained_for():
    crossed, taunts = [("kokoro_crossed", "speaker")], [("kokoro_read", "text"), ("taunts", "unknown")]
    both, sid = "vib_both_speaker", "speech_ft_sid"
    assert trained_for("icl_speaker", crossed, "asv", ["a"]) and not trained_for("icl_speaker", crossed, "ks", ["a"])
    # the name, not the label: the sentence is a label too
    assert trained_for("icl_content", crossed, "ks", ["a"]) and not trained_for("icl_content", crossed, "sid", ["a"])
    assert trained_for("vib_acoustic_emotion", taunts, "er", ["taunts"])
    assert not trained_for("vib_acoustic_emotion", taunts, "pr", ["kokoro_read"])
    assert trained_for(both, taunts, "pr", ["a"]) and trained_for(both, taunts, "sid", ["a"])
    assert trained_for(sid, crossed, "sid", ["a"]) and not trained_for(sid, crossed, "asv", ["a"])
    assert trained_for("mine", taunts, "er", ["taunts"]) and trained_for("mine", taunts, "asr", ["a"])
    assert not trained_for("mine", [("taunts", "none")], "er", ["taunts"])
    assert not trained_for("mine", taunts, "asv", ["a"]) and not trained_for("icl_speaker", [], "asv", ["a"])


def pair(folder, family, names, dim, trained_on, strengths):
    for name, (who, what) in zip(names, strengths, strict=True):
        for task, strength in (("asv", who), ("ks", what)):
            write_run(folder / f"{task}-{name}", name, task=task, head="h", strength=strength, family=family, dim=dim,
                      base="whisper_tiny", trained_on=["web (text)", *trained_on])  # fmt: skip


@pytest.fixture(scope="module")
def families(tmp_path_factory, shared_cache):
    folder = tmp_path_factory.mktemp("families") / "leaderboard" / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POST_SUPERB_CACHE", str(shared_cache))
        for task in ("asv", "ks"):
            write_run(folder / f"{task}-w", task=task, head="h", trained_on=["web (text)"])
        icl = ("icl_speaker", "icl_content")
        pair(folder, "icl", icl, 192, ["crossed (speaker)"], [(9.0, -9.0), (-9.0, 9.0)])
        pair(folder, "icl", ("randproj_speaker", "randproj_content"), 192, [], [(0.1, 0.1), (0.1, 0.1)])
        pair(folder, "vib", ("vib_acoustic_speaker", "vib_text"), 128, ["corpus of test (text)"], [(1, 1), (1, 1)])
        draws = ("randproj128_a", "randproj128_b")
        pair(folder, "random_projection", draws, 128, [], [(-0.8, 0.9), (0.8, -0.3)])
        pair(folder, "mine", ("mine_speaker", "mine_text"), 64, ["crossed (speaker)"], [(1, 1), (1, 1)])
        build.build([folder], folder.parent)
    return folder


def test_pairs_and_their_control(families):
    table = separation.table(cells.collect([families])[0])
    lines = {row["speaker_stream"]: row for row in table.to_dict("records")}
    assert set(lines) == {"icl_speaker", "randproj_speaker", "vib_acoustic_speaker", "randproj128_a", "mine_speaker"}
    icl, vib, control = (lines[name] for name in ("icl_speaker", "vib_acoustic_speaker", "randproj_speaker"))
    # a target far on the wrong side of every other is an EER above chance's, so no skill
    assert icl["separation"] == pytest.approx(1.0, abs=0.02) and icl["tasks"] == "asv ks"
    assert abs(control["separation"]) < 0.15 and control["control"] is None
    assert control["role"] == "random projection"
    assert icl["control"] == "randproj_speaker randproj_content" and icl["control_tasks"] == "asv ks"
    assert icl["above_control"] == pytest.approx(icl["separation"] - control["separation"])
    assert icl["above_low"] <= icl["above_control"] <= icl["above_high"] + 1e-9 and icl["above_low"] > 0.5
    assert abs(vib["separation"]) < 0.2 and vib["low"] < vib["high"]
    assert lines["mine_speaker"]["control"] == separation.NO_CONTROL
    assert lines["mine_speaker"]["above_control"] is None


def test_two_draws_are_the_control_of_pairs_of_their_size(families):
    table = separation.table(cells.collect([families])[0])
    lines = {row["speaker_stream"]: row for row in table.to_dict("records")}
    draws, vib = lines["randproj128_a"], lines["vib_acoustic_speaker"]
    assert (draws["content_stream"], draws["role"], draws["dims"]) == ("randproj128_b", "random projection", "128+128")
    assert -0.6 < draws["separation"] < -0.1 and draws["low"] < draws["high"] and draws["control"] is None
    assert (vib["control"], vib["control_tasks"]) == ("randproj128_a randproj128_b", "asv ks")
    # which of two draws stands for the speaker stream is a matter of their names: no pair stands higher for it
    assert vib["control_separation"] == pytest.approx(-draws["separation"])
    assert (vib["control_low"], vib["control_high"]) == pytest.approx((-draws["high"], -draws["low"]))
    assert vib["above_control"] == pytest.approx(vib["separation"] + draws["separation"])


def made(name, *, family="icl", dim=128, role="random projection", base="w", level="frame"):
    upstream = SimpleNamespace(family=family, base=base, level=level, dim=dim)
    first = SimpleNamespace(result=SimpleNamespace(upstream=upstream))
    skills = {task: (0.5, np.full(4, 0.5)) for task in ("asv", "ks")}
    return separation.Stream(SimpleNamespace(name=name, first=first), role, skills)


def test_which_random_projections_are_a_pair():
    def names(*streams):
        return [(a.name, b.name) for a, b in separation.couples(streams)]

    three = [made(f"draw_{letter}") for letter in "abc"]
    assert names(*three) == [("draw_a", "draw_b"), ("draw_a", "draw_c"), ("draw_b", "draw_c")]
    # another name, size, backbone, family or form; trained; named for something
    others = [made("draws_b"), made("draw_b", dim=64), made("draw_b", base="v"), made("draw_b", family="vib"),
              made("draw_b", level="utterance"), made("draw_b", role="stream"), made("draw_joint")]  # fmt: skip
    assert all(names(three[0], other) == [] for other in others)
    assert names(made("draw_a@v"), made("draw_b@v")) == [("draw_a@v", "draw_b@v")]
    assert names(made("draw_content"), made("draw_speaker")) == [("draw_speaker", "draw_content")]


def test_the_control_of_its_own_family_comes_first():
    pair = made("vib_speaker", family="vib", role="stream"), made("vib_text", family="vib", role="stream")
    general = made("draw_a", family="random_projection"), made("draw_b", family="random_projection")
    own = made("randproj_speaker", family="vib"), made("randproj_text", family="vib")
    other = made("randproj_speaker", family="vib", base="v"), made("randproj_text", family="vib", base="v")
    for controls, found in (
        ([general, own], "randproj_speaker randproj_text"), ([other, general], "draw_a draw_b"),
        ([other], separation.NO_CONTROL),
    ):  # fmt: skip
        assert separation._against(pair, controls)["control"] == found
