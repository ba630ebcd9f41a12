"""Intervals of rows of several seeds: the first seed's, moved to the mean that they stand beside."""

import csv

import pytest
from made_up_runs import write_run

from leaderboard import build
from leaderboard.cells import PUBLISHED, read_root
from leaderboard.intervals import difference_interval, drop_range, interval_of
from leaderboard.tables import Row

STRENGTHS = {"whisper_tiny": (-1.2, -1.1), "icl_speaker": (-0.6, -1.5)}
"""Of seeds 0 and 1: the stream's mean lies far from its first seed."""


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory, shared_cache):
    folder = tmp_path_factory.mktemp("two_seeds") / "leaderboard" / "results"
    icl = {"family": "icl", "base": "whisper_tiny", "trained_on": ["crossed (speaker)"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POST_SUPERB_CACHE", str(shared_cache))
        for name, strengths in STRENGTHS.items():
            for seed, strength in enumerate(strengths):
                fields = icl if name != "whisper_tiny" else {}
                write_run(folder / f"{name}-{seed}", name, task="ks", head="h", seed=seed, strength=strength, **fields)
        build.build([folder], folder.parent)
    return folder


def rows(folder, name, **wanted):
    with open(folder.parent / name, newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]


def of(folder, name):
    return Row([cell for cell in read_root(folder, PUBLISHED) if cell.result.upstream.name == name])


def test_a_score_lies_in_its_interval(two_seeds):
    row = of(two_seeds, "icl_speaker")
    low, high = interval_of(row.first, "test")
    first, second = row.scores("test")
    assert low < first < high and not low < row.score("test") < high, "the mean is far from the first seed"
    by = (second - first) / 2
    assert row.offset("test") == pytest.approx(by)
    assert row.interval("test") == pytest.approx((low + by, high + by))
    assert row.interval("four_people") == ("n/a", "n/a")
    (found,) = rows(two_seeds, "leaderboard.csv", upstream="icl_speaker")
    assert [float(found[name]) for name in ("low", "high")] == pytest.approx([low + by, high + by], abs=1e-4)


def test_it_stays_a_percentage(two_seeds):
    row = of(two_seeds, "icl_speaker")
    assert interval_of(row.first, "test", 90.0)[1] == 100.0
    assert interval_of(row.first, "test", -99.0)[0] == 0.0


def test_a_drop_and_a_difference_are_moved_alike(two_seeds):
    row, backbone = of(two_seeds, "icl_speaker"), of(two_seeds, "whisper_tiny")
    alone = [Row([cell]) for cell in row.cells]
    by = (alone[1].drop("noise") - alone[0].drop("noise")) / 2
    assert abs(by) > 1
    assert row.drop_interval("noise") == pytest.approx(drop_range(row.first, "noise", by))
    low, high = difference_interval(row.first, backbone.first, "test")
    by = row.offset("test") - backbone.offset("test")
    (found,) = rows(two_seeds, "leaderboard.csv", upstream="icl_speaker")
    wanted = [low + by, high + by, row.score("test") - backbone.score("test")]
    names = ("difference_low", "difference_high", "difference")
    assert [float(found[name]) for name in names] == pytest.approx(wanted, abs=1e-4)
    changes = rows(two_seeds, "delta.csv", upstream="icl_speaker")
    inside = [float(one["low"]) < float(one["fewer_errors"]) < float(one["high"])
              for one in changes if one["low"] not in ("", "n/a")]  # fmt: skip
    assert len(inside) == 4 and all(inside)
    (test,) = [one for one in changes if one["split"] == "test"]
    assert [float(test[name]) for name in ("low", "high")] == pytest.approx([low + by, high + by], abs=1e-4)
    assert test["verdict"] == "", "the first seed alone was better, the mean is not"


def test_one_seed_is_not_moved(two_seeds):
    row = Row([of(two_seeds, "icl_speaker").first])
    assert row.offset("test") == 0.0 and row.interval("test") == interval_of(row.first, "test")
    assert row.drop_interval("noise") == drop_range(row.first, "noise")
