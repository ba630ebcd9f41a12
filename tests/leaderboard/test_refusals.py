"""What the leaderboard refuses: altered, partial, failed or doubled results, each in one line."""

import json
import shutil

import pytest
from made_up_runs import SPLITS, write_run

from harness.errors import UserError
from harness.metrics import score
from harness.results import read_predictions, read_references, write_predictions
from leaderboard import build, cells

FILES = ["leaderboard.csv", "ood.csv", "heads.csv", "README.md", "asv.md", "index.html"]


def edit(folder, change):
    path = folder / "result.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def published(results, head="cosine", upstream="icl_utt"):
    return results / "mini" / "asv" / upstream / f"{head}-mini-s0-r0"


def _set_metric(data):
    data["splits"]["test"]["metrics"]["eer"] += 0.01


def _add_metric(data):
    data["splits"]["test"]["metrics"]["min_dcf_0.01"] = 0.5


def _zero(data):
    data["splits"]["test"]["metrics"]["eer"] = 0.0


def _fewer(data):
    data["splits"]["test"].update(expected=100, scored=100)


def _no_in_domain(data):
    data["splits"]["test"]["kind"] = "Z"


def _partial(data):
    del data["splits"]["telephone"]


def _all_diverged(data):
    data["selection"]["trials"] = [{"lr": 0.1, "status": "diverged"}]


def _direction(data):
    data["higher_is_better"] = True


def _outside(data):
    data["splits"]["../../test"] = data["splits"].pop("test")


def _speakers(data):
    data["splits"]["test"]["speakers"] = 99


@pytest.mark.parametrize(
    "change,message",
    [
        (_set_metric, "eer is stored as"),
        (_add_metric, "min_dcf_0.01 is stored as 0.5 but its predictions give nan"),
        (_zero, "eer is stored as 0.0"),
        (_fewer, "100 predictions expected"),
        (_no_in_domain, "one in-domain split wanted, found 0"),
        (_partial, "icl_utt/cosine-mini-s0-r0 is a partial cell, telephone of "),
        (_all_diverged, "every learning rate diverged"),
        (_direction, "higher_is_better is True"),
        (_outside, "split ../../test name of letters"),
        (_speakers, "99 speakers stored"),
        (lambda data: data.update(task="ReadMe"), "the name of another page"),
        (lambda data: data.pop("seed"), "seed: Field required"),
        (lambda data: data.update(extra=1), "extra: Extra inputs"),
        (lambda data: data.update(schema_version=2), "schema_version"),
        (lambda data: data["identity"].update(seed=5), "does not match `identity`"),
        (lambda data: data["splits"]["test"].update(scored=3), "scored: Value error"),
        (lambda data: data.update(metric="err"), "unknown metric 'err'"),
    ],
)
def test_a_result_that_is_not_right_is_refused(results, capsys, change, message):
    before = {name: (results.parent / name).read_bytes() for name in FILES}
    edit(published(results), change)
    assert build.main([], results) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert {name: (results.parent / name).read_bytes() for name in FILES} == before


def test_lost_predictions_are_refused(results, capsys):
    folder = published(results)
    shutil.rmtree(folder / "predictions")
    assert build.main([], results) == 2
    error = capsys.readouterr().err
    assert f"{folder}: the first seed's predictions wanted, found none" in error and error.count("\n") == 1


def test_altered_predictions_are_refused(results):
    path = published(results) / "predictions" / "test.jsonl.gz"
    rows = read_predictions(path)
    next(iter(rows.values()))["score"] += 1e-3
    write_predictions(path, rows.values())
    with pytest.raises(UserError, match="predictions are not those that were scored"):
        build.build([results], results.parent)
    path.unlink()
    with pytest.raises(UserError, match="predictions of every split wanted, none for test"):
        build.build([results], results.parent)


def test_damaged_tables_are_refused(results):
    path = published(results) / "predictions" / "test.jsonl.gz"
    whole = path.read_bytes()
    for data in (whole[:200], b"not gzip", whole[:100] + bytes(200) + whole[300:]):
        path.write_bytes(data)
        with pytest.raises(UserError, match="not a readable|not those"):
            build.build([results], results.parent)
    path.write_bytes(whole)
    for path in (results.parent / "references").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="references .* are missing"):
        build.build([results], results.parent)


def test_a_cell_twice_with_other_figures_is_refused(results, make_run):
    copy = published(results).with_name("copy")
    shutil.copytree(published(results), copy)
    build.build([results], results.parent)
    write_run(copy, "icl_utt", head="cosine", base="whisper_tiny", level="utterance", strength=0.6)
    with pytest.raises(UserError, match="one result a cell wanted"):
        build.build([results], results.parent)


def test_constant_scores_are_a_failure(tmp_path):
    """Every embedding the same: 50 % is not a measurement."""
    folder = tmp_path / "run"
    write_run(folder, splits={"test": SPLITS["test"]})
    path = folder / "predictions" / "test.jsonl.gz"
    rows = {key: {"id": key, "score": 0.0} for key in read_predictions(path)}
    sha = write_predictions(path, rows.values())
    figures = score("verification", rows, read_references(folder / "references" / "test.csv.gz"))
    edit(folder, lambda data: data["splits"]["test"].update(predictions_sha256=sha, metrics=figures))
    with pytest.raises(UserError, match="the head failed"):
        cells.read_cell(folder, cells.YOURS)


def test_seeds_of_one_row_are_of_one_upstream(results):
    edit(published(results, "xvector", "icl_speaker").with_name("xvector-mini-s1-r0"),
         lambda data: data["upstream"].update(fingerprint="other"))  # fmt: skip
    with pytest.raises(UserError, match="different weights"):
        build.build([results], results.parent)
