"""--add: whole or not at all, and only what can stand in public."""

import errno
import os
import shutil

import pytest
from made_up_runs import SPLITS, write_run

from harness.errors import UserError
from harness.results import load_result
from leaderboard import build, publish
from leaderboard.cells import collect

ICL = {"base": "whisper_tiny", "strength": 0.8, "note": "Our extension."}


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_predictions_for_the_first_seed_only_and_references_once(results):
    files = set(everything(results.parent))
    first = "results/mini/asv/icl_speaker/xvector-mini-s0-r0"
    assert {name for name in files if name.startswith(first)} == {
        f"{first}/result.json",
        *(f"{first}/predictions/{split}.jsonl.gz" for split in SPLITS),
    }
    second = "results/mini/asv/icl_speaker/xvector-mini-s1-r0"
    assert {name for name in files if name.startswith(second)} == {f"{second}/result.json"}
    assert len([name for name in files if name.startswith("references/")]) == len(SPLITS)


def test_a_second_recipe_seed_goes_without_predictions(results, make_run):
    publish.add(make_run("icl_utt", head="cosine", base="whisper_tiny", level="utterance", recipe_seed=1), results)
    folder = results / "mini" / "asv" / "icl_utt" / "cosine-mini-s0-r1"
    assert [path.name for path in folder.iterdir()] == ["result.json"]
    build.build([results], results.parent)
    assert ",1,2," in next(
        line for line in (results.parent / "leaderboard.csv").read_text().splitlines() if "icl_utt" in line
    )


def test_add_then_check(results, make_run, capsys):
    run = make_run("new_model", base="whisper_tiny")
    assert build.main(["--add", str(run)], results) == 0
    assert "published: results/mini/asv/new_model/xvector-mini-s0-r0" in capsys.readouterr().out
    assert build.main(["--check"], results) == 0
    assert "new_model" in (results.parent / "index.html").read_text()


def test_adding_the_same_again_changes_nothing(results, make_run):
    before = everything(results.parent)
    line = publish.add(make_run("icl_speaker", **ICL), results)
    assert line == "already published, with the same figures: results/mini/asv/icl_speaker/xvector-mini-s0-r0"
    assert everything(results.parent) == before


def two_in_domain(data):
    data["splits"]["real_people"]["kind"] = "ID"


@pytest.mark.parametrize(
    "options,message",
    [
        ({"dirty": True}, "uncommitted changes"),
        ({"upstream": "other", "change": lambda data: data.update(preset="trial")}, "`trial`, whose scores are no"),
        ({"strength": 0.7}, "published with other figures"),
        ({"upstream": "other", "splits": dict(list(SPLITS.items())[:3])}, "partial cell"),
        ({"splits": dict(list(SPLITS.items())[:3])}, "partial cell, four_people, new_head of "),
        (
            {"upstream": "other", "splits": SPLITS | {"real_people": ("Z", 11, 1.0, "")}},
            "different lists of real_people",
        ),
        ({"upstream": "other", "change": two_in_domain}, "one in-domain split wanted, found 2"),
        ({"upstream": "../../other"}, "a upstream name of letters"),
        ({"upstream": "other", "change": lambda data: data.update(suite="..")}, "a suite name of letters"),
        ({"upstream": "icl_speaker", "seed": 2, "fingerprint": "x"}, "different weights"),
    ],
)
def test_what_cannot_be_published(results, make_run, capsys, options, message):
    before = everything(results.parent)
    options = ICL | options
    run = make_run(options.pop("upstream", "icl_speaker"), **options)
    assert build.main(["--add", str(run)], results) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert everything(results.parent) == before


@pytest.mark.parametrize(
    "missing", ["result.json", "predictions/test.jsonl.gz", "references/test.csv.gz", "predictions"]
)
def test_an_unfinished_run_is_refused(results, make_run, missing):
    before = everything(results.parent)
    run = make_run("other")
    if missing == "predictions":
        shutil.rmtree(run / missing)
    else:
        (run / missing).unlink()
    with pytest.raises(UserError, match="run the cell again|run it"):
        publish.add(run, results)
    assert everything(results.parent) == before


@pytest.mark.parametrize("function", ["fsync", "replace", "rename"])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_full_disk_leaves_everything_as_it_was(results, make_run, monkeypatch, function, after):
    run = make_run("other", splits=SPLITS)
    collect([results])  # fills the cache of replicates, which may stay
    publish.read_cell(run, "published")
    if after:
        shutil.rmtree(results.parent / "references")
        shutil.rmtree(results)
        results.mkdir()
    before = everything(results.parent)
    real, calls = getattr(os, function), []

    def full(*arguments, **options):
        calls.append(arguments)
        if len(calls) > (0 if function == "rename" else after):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(os, function, full)
    with pytest.raises(UserError, match="No space left on device"):
        publish.add(run, results)
    monkeypatch.undo()
    assert calls and everything(results.parent) == before
    assert not list(results.parent.rglob(".*"))


def test_colons_of_foreign_names_do_not_become_paths(tmp_path):
    results = tmp_path / "leaderboard" / "results"
    write_run(tmp_path / "run", "s3prl:fbank")
    publish.add(tmp_path / "run", results)
    assert load_result(results / "mini" / "asv" / "s3prl_fbank" / "xvector-mini-s0-r0").upstream.name == "s3prl:fbank"
