"""Trials that are made: balanced, of one gender, across sessions, the same every time; and nobody of train in them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import miniature_rows
import pytest
import yaml

from harness.cell import CellName, run_cell
from harness.config import Runtime
from harness.contracts import Utterance
from harness.errors import UserError
from tasks import catalogue
from tasks.trial_making import balanced, made, unheard

GENDER = {"a": "f", "b": "f", "c": "m", "d": "m", "e": "m"}


def rows(sessions: int = 2, clips: int = 4, **fields: object) -> list[Utterance]:
    return [miniature_rows.row(f"{who}-{s}-{n}", speaker=who, channel=f"s{s}", text=f"{who} {s} {n}", **fields)
            for who in GENDER for s in range(sessions) for n in range(clips)]  # fmt: skip


def test_balanced_of_one_gender_and_across_sessions() -> None:
    trials = list(balanced(rows(), gender=GENDER, a_speaker=12))
    by_id = {u.id: u for u in rows()}
    count = Counter((by_id[t.enrol].speaker, t.target) for t in trials)
    assert set(count.values()) == {12} and len(count) == 10
    for trial in trials:
        a, b = by_id[trial.enrol], by_id[trial.test]
        assert trial.target == (a.speaker == b.speaker) and GENDER[a.speaker] == GENDER[b.speaker]
        assert trial.same["gender"] is True
        assert not trial.target or (a.channel != b.channel and trial.same["channel"] is False)
    pairs = [frozenset((t.enrol, t.test)) for t in trials]
    assert len(pairs) == len(set(pairs)) and len({t.id for t in trials}) == len(trials)


def test_non_targets_across_sessions_too() -> None:
    every = [u for u in rows() if u.id[:3] not in ("e-1",)]  # e has one session
    by_id = {u.id: u for u in every}
    trials = list(balanced(every, a_speaker=12, across=True))
    assert all(by_id[t.enrol].channel != by_id[t.test].channel for t in trials)
    count = Counter((by_id[t.enrol].speaker, t.target) for t in trials)
    assert count == {(who, target): 12 for who in "abcd" for target in (True, False)}
    few = list(balanced(rows(clips=1), across=True))
    count = Counter((t.enrol[0], t.target) for t in few)
    assert set(count.values()) == {1}, "a speaker with one target has one non-target"


def test_the_same_whatever_the_order_and_another_with_another_seed() -> None:
    first = list(balanced(rows(), gender=GENDER))
    assert list(balanced(rows()[::-1], gender=GENDER)) == first
    assert list(balanced(rows(), gender=GENDER, seed=2)) != first


def test_one_session_still_gives_targets() -> None:
    assert {t.target for t in made(rows(sessions=1))} == {True, False}


def test_no_pair_says_the_same_and_no_clip_is_too_short() -> None:
    every = [u for u in rows() if u.id != "a-0-0"] + [miniature_rows.row("a-0-0", speaker="a", duration=0.9)]
    trials = list(balanced(every))
    assert all("a-0-0" not in (t.enrol, t.test) for t in trials)
    same = [miniature_rows.row(f"{who}-{n}", speaker=who, text="one text") for who in "ab" for n in range(5)]
    with pytest.raises(UserError, match="trials balanced: two speakers wanted .* found 10 clips of 2 speakers"):
        made(same)


def test_a_nameless_speaker_is_in_no_trial() -> None:
    nobody = [miniature_rows.row(f"x-{n}", speaker="-") for n in range(9)]
    assert list(balanced([*rows(), *nobody])) == list(balanced(rows()))


def test_a_training_speaker_in_a_trial_stops_it() -> None:
    unheard("test", rows(), [miniature_rows.row("z", speaker="z"), miniature_rows.row("y", speaker="-")])
    with pytest.raises(UserError, match="split test: 1 speaker of its trials in train, first a; .* leave the split"):
        unheard("test", rows(), [miniature_rows.row("z", speaker="a")])


def test_a_run_is_stopped_whatever_the_yaml_says(tiny: Path, tmp_path: Path) -> None:
    task = yaml.safe_load((tiny / "asv.yaml").read_text()) | {"disjoint": {}}
    heard = {"name": "heard", "kind": "Z", "shift": "none", "rows": task["train"]["rows"], "trials": "balanced"}
    (tiny / "asv.yaml").write_text(json.dumps({**task, "ood": [*task["ood"], heard]}))
    manifest = tiny / "data" / "tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",0.600,", ",1.2,"))  # long enough for a trial, were it read
    with pytest.raises(UserError, match="split heard: 3 speakers of its trials in train, first p00"):
        run_cell(CellName("tiny", "asv", "fbank"), Runtime(out=tmp_path / "runs", cache=tmp_path / "cache"))


def test_a_yaml_asks_for_them_by_name(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import trial_making

    monkeypatch.setattr(trial_making, "SHORTEST", 0.1)
    monkeypatch.setitem(trial_making.balanced.__kwdefaults__, "shortest", 0.1)
    task = yaml.safe_load((tiny / "asv.yaml").read_text())
    task["test"]["trials"] = "balanced"
    (tiny / "asv.yaml").write_text(json.dumps(task))
    split = catalogue.Data(catalogue.load("asv", "tiny")[0]).named("test")
    assert Counter(t.target for t in split.trials)[True] == 9 * 3 and split.utterances
