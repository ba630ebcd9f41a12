"""The column of s3prl's practice: where a row has it, beside all that was; a figure that cannot be is refused."""

import csv
import io
import json
import re

import pytest

from harness.errors import UserError
from harness.results import load_result
from leaderboard import build, publish, show
from leaderboard.cells import YOURS, collect, read_cell
from leaderboard.s3prl_practice import COLUMN, HEADING, NOTE

LRS, STEPS = (0.001, 0.0001), (20, 40)
NEW = {"base": "whisper_tiny", "strength": 0.3}


def trained(data):
    """A selection as training leaves it: dev picked the learning rate 0.001, step 20."""
    curve = [{"step": step, "metric": 20.0, "loss": 1.0} for step in STEPS]
    trials = [{"lr": lr, "status": "ok", "best": curve[0], "curve": curve} for lr in LRS]
    data["selection"] |= {"lr": LRS[0], "step": STEPS[0], "trials": trials}


def practised(lower=1.5, lr=LRS[1], step=STEPS[1], checkpoints=4, split="test"):
    """A run's `change`: the figure, so much below the test EER."""

    def change(data):
        trained(data)
        value = data["splits"][split]["metrics"]["eer"] - lower
        best = {COLUMN: value, "lr": lr, "step": step, "checkpoints": checkpoints}
        data["splits"][split]["as_s3prl"] = best

    return change


def tables(results):
    return {name: data.decode() for name, data in build.outputs(collect([results])[0]).items()}


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_without_a_figure_there_is_no_column_and_no_word(results):
    for name, text in tables(results).items():
        assert COLUMN not in text and "s3prl" not in text, name
    assert build.main(["--check"], results) == 0


def test_the_column_stands_beside_everything_as_it_was(results, make_run):
    run = make_run("new_model", change=trained, **NEW)
    publish.add(run, results)
    without = tables(results)
    (other,) = (results / "mini" / "asv" / "new_model").iterdir()
    data = json.loads((other / "result.json").read_text())
    practised(40.0, step=20)(data)  # far below every other score: were it ranked, it would be first
    data["splits"]["test"]["as_s3prl"][COLUMN] = 0.25
    (other / "result.json").write_text(json.dumps(data))
    found = tables(results)
    same = {name for name in without if found[name] == without[name]}
    assert same == set(without) - {"leaderboard.csv", "asv.md", "columns.md", "index.html"} and "ood.csv" in same
    table = rows(found["leaderboard.csv"])
    figures = {row["upstream"]: row.pop(COLUMN) for row in table if row["head"] == "xvector"}
    assert figures["new_model"] == "0.2500" and set(figures.values()) == {"0.2500", ""}
    assert [{k: v for k, v in row.items() if k != COLUMN} for row in table] == rows(without["leaderboard.csv"])
    page = found["asv.md"]
    assert page.count(f" {HEADING} |") == 1 and page.count(NOTE) == 1  # under the x-vector, not under the cosine
    lines = [line for line in page.split("## asv, head xvector")[1].splitlines() if line.startswith("|")]
    header, line = lines[0], next(line for line in lines if "| new_model |" in line)
    assert line.count("|") == header.count("|")
    column = [part.strip() for part in header.split("|")].index(HEADING)
    assert line.split("|")[column].strip() == "0.25"
    html = found["index.html"]
    assert html.count(HEADING.replace("'", "&#39;") + "</button>") == 1
    assert html.count("<td>0.25</td>") == without["index.html"].count("<td>0.25</td>") + 1


def test_the_mean_is_over_all_seeds_or_there_is_none(results, make_run):
    for seed in (0, 1):
        publish.add(make_run("new_model", seed=seed, change=practised(1 + seed), **NEW), results)
    (row,) = (row for row in rows(tables(results)["leaderboard.csv"]) if row["upstream"] == "new_model")
    assert float(row[COLUMN]) == pytest.approx(float(row["value"]) - 1.5, abs=2e-4) and row["seeds"] == "2"
    publish.add(make_run("new_model", seed=2, change=trained, **NEW), results)
    table = rows(tables(results)["leaderboard.csv"])
    assert COLUMN not in table[0] and {row["seeds"] for row in table if row["upstream"] == "new_model"} == {"3"}


def _untrained(data):
    practised()(data)
    data["selection"] |= {"lr": None, "step": None}


def _another_training(data):
    practised()(data)
    data["selection"]["trials"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (practised(-0.01), r"split test: eer_best_checkpoint of at most the test EER, .* wanted, found"),
        (practised(1.5, 0.001, 20), r"eer_best_checkpoint at dev's own choice, so .* wanted, found"),
        (practised(step=60), r"the 4 checkpoints of the training wanted, found one over 4 at .* 0.0001, step 60"),
        (practised(lr=0.01), r"found one over 4 at learning rate 0.01, step 40"),
        (practised(checkpoints=5), r"the 4 checkpoints of the training wanted, found one over 5"),
        (_another_training, r"the 0 checkpoints of the training wanted, found one over 4"),
        (practised(split="telephone"), r"split telephone: as_s3prl is for the in-domain split under a trained head"),
        (_untrained, r"split test: as_s3prl is for the in-domain split under a trained head of verification"),
    ],
)
def test_a_figure_that_cannot_be_is_refused(make_run, change, message):
    run = make_run("new_model", change=change, **NEW)
    with pytest.raises(UserError, match=message) as error:
        read_cell(run, YOURS)
    assert "\n" not in str(error.value)


def test_another_kind_of_task_has_none(make_run):
    def change(data):
        trained(data)
        best = {COLUMN: 1.0, "lr": LRS[0], "step": STEPS[0], "checkpoints": 4}
        data["splits"]["test"]["as_s3prl"] = best

    with pytest.raises(UserError, match="as_s3prl is for the in-domain split under a trained head of verification"):
        read_cell(make_run("fbank", task="ks", head="linear", change=change), YOURS)


@pytest.mark.parametrize("wrong", [{COLUMN: -1}, {COLUMN: 101}, {"checkpoints": 0}, {"epoch": 3}])
def test_a_malformed_figure_is_not_a_result(make_run, wrong):
    run = make_run("new_model", change=practised(), **NEW)
    data = json.loads((run / "result.json").read_text())
    data["splits"]["test"]["as_s3prl"] |= wrong
    (run / "result.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="not a valid result: splits.test.as_s3prl"):
        load_result(run)


def test_dev_may_have_picked_the_best(make_run):
    cell = read_cell(make_run("new_model", change=practised(0.0, LRS[0], STEPS[0]), **NEW), YOURS)
    assert cell.as_s3prl is not None
    assert cell.as_s3prl.eer_best_checkpoint == cell.result.splits["test"].metrics["eer"]


def test_it_comes_to_a_published_cell(results, make_run):
    publish.add(make_run("new_model", change=trained, **NEW), results)
    (folder,) = (results / "mini" / "asv" / "new_model").iterdir()
    before = {path.name: path.read_bytes() for path in folder.rglob("*.gz")}
    with_it = make_run("new_model", change=practised(), **NEW)
    line = publish.add(with_it, results)
    assert line == "published: eer_best_checkpoint of results/mini/asv/new_model/xvector-mini-s0-r0"
    assert load_result(folder) == load_result(with_it)
    assert {path.name: path.read_bytes() for path in folder.rglob("*.gz")} == before
    same = "already published, with the same figures"
    kept = (folder / "result.json").read_bytes()
    assert publish.add(with_it, results).startswith(same)
    assert publish.add(make_run("new_model", change=trained, **NEW), results).startswith(same)
    with pytest.raises(UserError, match="published with other figures"):
        publish.add(make_run("new_model", change=practised(2.5), **NEW), results)
    assert (folder / "result.json").read_bytes() == kept


def test_a_finished_run_prints_it_below_its_table(make_run, results):
    run = make_run("new_model", change=practised(), **NEW)
    result = load_result(run)
    text = show.cell(run, result, results=results)
    (line,) = (line for line in text.splitlines() if "s3prl" in line)
    best = result.splits["test"].as_s3prl
    assert f": {best.eer_best_checkpoint:.2f}, the smallest of 4 (learning rate 0.0001, step 40)" in line
    assert "trained again" not in line
    plain = make_run("new_model", change=trained, **NEW)
    assert not re.search("s3prl", show.cell(plain, load_result(plain), results=results))
