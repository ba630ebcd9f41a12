"""A split with fewer classes: its drop is from the in-domain score on those classes, and that score is verified."""

import csv
import json
from statistics import mean

import pytest
from made_up_runs import CLASSES, FEWER, KS_SPLITS

from harness.errors import UserError
from harness.metrics import restricted, score
from harness.results import load_result, read_predictions, read_references
from harness.uncertainty import drop_interval
from leaderboard import build
from leaderboard.cells import YOURS, read_cell


def tables_of(folder, split):
    return (
        read_predictions(folder / "predictions" / f"{split}.jsonl.gz"),
        read_references(folder / "references" / f"{split}.csv.gz"),
    )


def lines(path, **wanted):
    with open(path, newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]


@pytest.mark.parametrize("split", FEWER)
def test_a_drop_is_from_the_same_classes(three_kinds, split):
    """By hand from the tables: `people` are others than in-domain, `same_people` are paired."""
    folder = three_kinds / "ks-linear-whisper_tiny"
    (row,) = lines(three_kinds.parent / "ood.csv", task="ks", head="linear", upstream="whisper_tiny", split=split)
    predictions, references = tables_of(folder, "test")
    kept = references[references["reference"].isin(FEWER[split])]
    right = [predictions[name]["label"] == label for name, label in zip(kept["id"], kept["reference"], strict=True)]
    same = 100 * mean(right)
    outside = load_result(folder).splits[split].metrics["accuracy"]
    assert len(kept) == len(references) * 3 // len(CLASSES) and row["id_shared"] == f"{same:.4f}"
    assert row["id"] == f"{load_result(folder).splits['test'].metrics['accuracy']:.4f}" != row["id_shared"]
    assert row["drop"] == f"{same - outside:.4f}" and row["relative_drop"] == f"{(same - outside) / same:.4f}"
    some = {name: predictions[name] for name in kept["id"]}
    wanted = drop_interval("accuracy", some, kept, *tables_of(folder, split))
    assert (row["drop_low"], row["drop_high"]) == (f"{-wanted.high:.4f}", f"{-wanted.low:.4f}")


def test_other_splits_have_none(three_kinds):
    found = lines(three_kinds.parent / "ood.csv", task="ks")
    assert {row["split"] for row in found if row["id_shared"]} == set(FEWER)
    for row in found:
        base = row["id_shared"] or row["id"]
        assert float(row["drop"]) == pytest.approx(float(base) - float(row["ood"]), abs=2e-4)
    others = [row for row in lines(three_kinds.parent / "ood.csv") if row["task"] != "ks"]
    assert others and all(row["id_shared"] == "" for row in others)


def test_further_metrics_by_kind(three_kinds):
    (ks,) = lines(three_kinds.parent / "leaderboard.csv", task="ks", head="linear", upstream="fbank")
    (asr,) = lines(three_kinds.parent / "leaderboard.csv", task="asr", upstream="icl_content")
    (asv,) = lines(three_kinds.parent / "leaderboard.csv", task="asv", head="cosine", upstream="fbank")
    filled = [{name for name in ("min_dcf_0.05", "uar", "macro_f1", "cer") if row[name]} for row in (ks, asr, asv)]
    assert filled == [{"uar", "macro_f1"}, {"cer"}, {"min_dcf_0.05"}]
    stored = load_result(three_kinds / "asr-ctc-icl_content").splits["test"].metrics
    assert (asr["metric"], asr["value"], asr["cer"]) == ("wer", f"{stored['wer']:.4f}", f"{stored['cer']:.4f}")


def _wrong(splits):
    splits["people"]["id_shared"]["accuracy"] += 0.01


def _lacking(splits):
    splits["people"]["id_shared"] = {}


def _needless(splits):
    splits["noise"]["id_shared"] = dict(splits["test"]["metrics"])


def _other_metric(splits):
    del splits["people"]["id_shared"]["accuracy"]


def _on_all_classes(splits):
    splits["people"]["id_shared"] = dict(splits["test"]["metrics"])


def _more(splits):
    splits["people"]["id_shared"]["cer"] = 1.0


@pytest.mark.parametrize(
    "change,message",
    [
        (_wrong, "split people: in-domain, same classes, accuracy is stored as"),
        (_on_all_classes, "in-domain, same classes, .* is stored as"),
        (_more, "in-domain, same classes, cer is stored as 1.0 but its predictions give nan"),
        (_lacking, "split people: the in-domain score on this split's classes .* wanted, found none"),
        (_needless, "split noise: no in-domain score on fewer classes"),
        (_other_metric, "id_shared with accuracy wanted, found uar, macro_f1"),
    ],
)
def test_a_wrong_score_on_the_same_classes_is_refused(three_kinds_copy, change, message):
    path = three_kinds_copy / "ks-linear-fbank" / "result.json"
    data = json.loads(path.read_text())
    change(data["splits"])
    path.write_text(json.dumps(data))
    before = (three_kinds_copy.parent / "ood.csv").read_bytes()
    with pytest.raises(UserError, match=message) as error:
        build.build([three_kinds_copy], three_kinds_copy.parent)
    assert "\n" not in str(error.value) and (three_kinds_copy.parent / "ood.csv").read_bytes() == before


def test_presence_is_checked_without_predictions_too(make_run):
    """A later seed is published without them, but its references tell which splits have fewer classes."""
    run = make_run("fbank", task="ks", change=lambda data: _lacking(data["splits"]))
    for path in (run / "predictions").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="this split's classes"):
        read_cell(run, YOURS)


def test_a_class_that_the_in_domain_test_lacks_is_refused(make_run, monkeypatch):
    monkeypatch.setitem(FEWER, "test", CLASSES[:2])
    run = make_run("fbank", task="ks", splits={name: KS_SPLITS[name] for name in ("test", "noise")})
    with pytest.raises(UserError, match="classes of the in-domain test wanted, found 'stop' too"):
        read_cell(run, YOURS)


def test_restricted_figures_are_those_of_the_harness(three_kinds):
    folder = three_kinds / "ks-linear-fbank"
    predictions, references = tables_of(folder, "test")
    kept = restricted(references, FEWER["people"])
    cell = read_cell(folder, YOURS)
    rows, table = cell.inside_of("people")
    assert set(rows) == set(kept["id"]) == set(table["id"])
    assert cell.result.splits["people"].id_shared == score("classification", rows, kept)
    assert set(cell.inside_of("noise")[0]) == set(predictions)
