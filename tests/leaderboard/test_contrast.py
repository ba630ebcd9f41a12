"""Selectivity, the change on every split, chance, and what a cell shares with an upstream's training."""

import csv
import shutil
from statistics import mean

import numpy as np
import pytest
from made_up_runs import write_run

from harness import uncertainty
from harness.cost_record import Encoding, Overlap, Record, Training, key, save
from harness.errors import UserError
from harness.results import load_result, read_predictions, read_references
from leaderboard import build, cells, contrast, costs
from leaderboard.exposure import exposure

ENCODING = {"seconds": 10.0, "repeats": 7, "parameters": 1000, "macs_per_second": 4_000_000, "real_time_factor": 0.5,
            "time_ratio": 1.25, "peak_memory_mb": 500.0, "idle_memory_mb": 300.0}  # fmt: skip


def record(upstream, overlaps=None, dirty=False, fingerprint="f", **encoding):
    trained = Training(data=["d"], checkpoints=["c"], clips=9, hours=0.25, speakers=3, sentences=4)
    provenance = {"commit": "abc", "dirty": dirty, "packages": {}, "python": "3", "platform": "p", "device": "cpu",
                  "threads": 1, "started": "2026-01-01T00:00:00Z", "seconds": {}, "peak_memory_mb": 1.0}  # fmt: skip
    return Record(upstream=upstream, fingerprint=fingerprint, encoding=Encoding(**ENCODING | encoding),
                  training=trained if overlaps is not None else None, overlaps=overlaps,
                  provenance=provenance)  # fmt: skip


@pytest.fixture(scope="module")
def families(tmp_path_factory, shared_cache):
    """A backbone, a stream trained on the tests' corpus and one that was not, and a random projection."""
    folder = tmp_path_factory.mktemp("families") / "leaderboard" / "results"
    web, icl = {"trained_on": ["web (text)"]}, {"family": "icl", "base": "whisper_tiny"}
    runs = [("whisper_tiny", web, 0.0), ("icl_speaker", icl | {"trained_on": ["web (text)", "crossed (speaker)"]}, 0.3),
            ("icl_content", icl | {"trained_on": ["web (text)", "corpus of test (text)"]}, -0.6),
            ("randproj_speaker", icl | web, -0.2), ("whisper_tiny+last", web, 0.1)]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POST_SUPERB_CACHE", str(shared_cache))
        for name, fields, strength in runs:
            for task in ("asv", "ks", "asr"):
                for seed in (0, 1) if task == "ks" else (0,):
                    write_run(folder / f"{task}-{name}-{seed}", name, task=task, head="h", seed=seed,
                              strength=strength, **fields)  # fmt: skip
        below = record("whisper_tiny", fingerprint="whisper_tiny 0", macs_per_second=4_000_000, time_ratio=None)
        save(folder.parent / "costs", below)
        save(folder.parent / "costs", record("icl_speaker", {}, macs_per_second=5_000_000))
        build.build([folder], folder.parent)
    return folder


def rows(folder, name, **wanted):
    with open(folder.parent / name, newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]


def errors(folder, task, name, seed=0):
    result = load_result(folder / f"{task}-{name}-{seed}")
    value = result.splits["test"].metrics[result.metric]
    return 100 - value if result.higher_is_better else value


def test_a_cell_of_selectivity(families):
    (found,) = rows(families, "selectivity.csv", task="ks", upstream="icl_speaker")
    names = ("icl_speaker", "whisper_tiny")
    own, below = (mean(errors(families, "ks", name, seed) for seed in (0, 1)) for name in names)
    assert found["selectivity"] == f"{(below - own) / below:.4f}"
    assert (found["error"], found["backbone_error"]) == (f"{own:.4f}", f"{below:.4f}")
    drawn = []
    for name, moved_to in (("icl_speaker", own), ("whisper_tiny", below)):
        folder = families / f"ks-{name}-0"
        tables = (read_predictions(folder / "predictions" / "test.jsonl.gz"),
                  read_references(folder / "references" / "test.csv.gz"))  # fmt: skip
        first_seed = 100 - uncertainty.replicates("accuracy", *tables).values
        drawn.append(first_seed + moved_to - errors(families, "ks", name))
    low, high = np.percentile((drawn[1] - drawn[0]) / drawn[1], [2.5, 97.5])
    assert (found["low"], found["high"]) == (f"{low:.4f}", f"{high:.4f}")
    assert float(found["low"]) < float(found["selectivity"]) < float(found["high"])
    roles = {row["upstream"]: row["role"] for row in rows(families, "selectivity.csv", task="asv")}
    assert roles == {"whisper_tiny": "backbone", "icl_speaker": "stream", "icl_content": "stream",
                     "randproj_speaker": "random projection", "whisper_tiny+last": "baseline"}  # fmt: skip
    (same,) = rows(families, "selectivity.csv", task="ks", upstream="whisper_tiny")
    assert same["selectivity"] == "0.0000" and same["low"] == ""


def test_chance(families):
    by_task = {cell.result.task: cell for cell in cells.collect([families])[0]}
    assert contrast.chance_error(by_task["asv"], "test") == 50 and contrast.chance_error(by_task["asr"], "test") == 100
    # four classes of one size; three of them where the split has fewer
    assert contrast.chance_error(by_task["ks"], "test") == 75
    assert contrast.chance_error(by_task["ks"], "people") == pytest.approx(200 / 3)


def test_near_chance_is_flagged(tmp_path):
    folder = tmp_path / "leaderboard" / "results"
    icl = {"family": "icl", "base": "whisper_tiny", "trained_on": ["crossed (speaker)"]}
    for name, fields in (("whisper_tiny", {}), ("icl_speaker", icl)):
        write_run(folder / name, name, head="h", strength=-1.6, **fields)
        write_run(folder / f"{name}-asr", name, task="asr", head="h", **fields)
    build.build([folder], folder.parent)
    flags = {row["task"]: row["near_chance"] for row in rows(folder, "selectivity.csv", upstream="icl_speaker")}
    assert flags == {"asv": "yes", "asr": "no"}
    assert "near chance" in (folder.parent / "selectivity.md").read_text()


def test_delta(families):
    found = {row["split"]: row for row in rows(families, "delta.csv", task="ks", upstream="icl_speaker")}
    assert set(found) == {"test", "people", "same_people", "four_people", "noise"}
    test = found["test"]
    assert float(test["fewer_errors"]) == pytest.approx(float(test["backbone_error"]) - float(test["error"]), abs=2e-4)
    assert test["kind"] == "ID" and float(test["low"]) < float(test["fewer_errors"]) < float(test["high"])
    for row in found.values():
        assert (row["verdict"] == "better") == (row["low"] != "n/a" and float(row["low"]) > 0)
    assert found["four_people"]["low"] == "n/a" and found["four_people"]["verdict"] == ""
    worse = rows(families, "delta.csv", task="ks", upstream="icl_content", split="test")[0]
    assert worse["verdict"] == "worse" and float(worse["relative"]) < 0 and float(worse["high"]) < 0
    assert not rows(families, "delta.csv", upstream="whisper_tiny+last")


def test_the_three_columns(families):
    for name, trained in (("icl_speaker", {"asv"}), ("icl_content", {"ks", "asr"}), ("randproj_speaker", set())):
        lines = rows(families, "delta.csv", upstream=name, split="test")
        assert {row["task"] for row in lines if row["trained_for"] == "yes"} == trained
        relative = {row["task"]: float(row["relative"]) for row in lines}
        elsewhere = [value for task, value in relative.items() if task not in trained]
        expected = [mean(relative[task] for task in trained) if trained else None]
        expected += [mean(max(value, 0) for value in elsewhere), mean(min(value, 0) for value in elsewhere)]
        for row in lines:
            for column, value in zip(contrast.SUMMARY, expected, strict=True):
                assert row[column] == "" if value is None else float(row[column]) == pytest.approx(value, abs=1e-3)
    # out of domain: by task the mean over its splits that are not confounded
    lines = rows(families, "delta.csv", upstream="icl_speaker", task="asv")
    kept = [row for row in lines if row["kind"] in ("Z", "C") and not row["confounded"]]
    assert {row["split"] for row in kept} == {"real_people", "telephone"}
    gain = mean(float(row["relative"]) for row in kept)
    assert float(kept[0]["gain_trained"]) == pytest.approx(gain, abs=1e-3)


def test_what_a_cell_shares(families):
    found = {cell.result.upstream.name: cell for cell in cells.collect([families])[0] if cell.result.task == "asv"}
    speaker, content = found["icl_speaker"], found["icl_content"]
    assert exposure(content, "test", None).answer == "yes"
    assert exposure(content, "test", None).text == "its only corpus corpus of test"
    assert exposure(content, "telephone", None).answer == "unknown"
    clean = speaker.result.upstream.model_copy(update={"contaminated": "no"})
    speaker.result = speaker.result.model_copy(update={"upstream": clean})
    # another corpus, but nobody has counted its speakers
    assert exposure(speaker, "test", None).answer == "unknown"
    name = key("mini", "asv", "test", speaker.result.splits["test"].data_sha256)
    assert exposure(speaker, "test", record("icl_speaker", {name: Overlap()})).answer == "no"
    shared = record("icl_speaker", {name: Overlap(speakers=(2, 12), sentences=(1, 9))})
    assert exposure(speaker, "test", shared).text == "2 of 12 speakers; 1 of 9 sentences"
    assert exposure(speaker, "test", shared).answer == "yes"
    # counted on other rows than those that were scored
    other = key("mini", "asv", "test", "1" * 64)
    assert exposure(speaker, "test", record("icl_speaker", {other: Overlap(speakers=(2, 12))})).answer == "unknown"
    untrained = speaker.result.upstream.model_copy(update={"trained_on": []})
    speaker.result = speaker.result.model_copy(update={"upstream": untrained})
    assert exposure(speaker, "test", None).answer == "no"
    # VoxCeleb1-E is made of VoxCeleb1
    heard = untrained.model_copy(update={"trained_on": ["voxceleb1 (speaker)"]})
    split = speaker.result.splits["test"].model_copy(update={"corpus": "voxceleb1_eh"})
    made_of = {"upstream": heard, "suite": "superb", "splits": {"e": split}}
    speaker.result = speaker.result.model_copy(update=made_of)
    assert exposure(speaker, "e", None).text == "its only corpus voxceleb1"
    marked = rows(families, "selectivity.csv", task="asv", upstream="icl_content")[0]
    assert (marked["contaminated"], marked["shares"]) == ("yes", "its only corpus corpus of test")
    cells._read_cell.cache_clear()


def test_cost(families):
    found = {row["upstream"]: row for row in rows(families, "cost.csv")}
    icl, backbone = found["icl_speaker"], found["whisper_tiny"]
    assert (icl["macs_per_second"], icl["added_macs_per_second"], icl["time_ratio"]) == ("5000000", "1000000", "1.2500")
    assert (icl["training_hours"], icl["training_speakers"], icl["training_seconds"]) == ("0.2500", "3", "")
    assert backbone["time_ratio"] == "" and backbone["training_hours"] == ""
    assert (backbone["as_scored"], icl["as_scored"], found["icl_content"]["as_scored"]) == ("yes", "no", "")
    page = (families.parent / "selectivity.md").read_text()
    assert "| icl_speaker ‡ | 1000 |" in page and "| whisper_tiny | 1000 |" in page
    # published but never measured: its row is there and empty
    assert found["icl_content"]["macs_per_second"] == "" and found["icl_content"]["parameters"] == "1000"


def test_a_record_that_is_none(families, tmp_path):
    copy = tmp_path / "leaderboard"
    shutil.copytree(families.parent, copy)
    (copy / "costs" / "icl_speaker.json").write_text("{}")
    with pytest.raises(UserError, match="icl_speaker.json is no record of harness/cost.py: .*; measure it again"):
        build.build([copy / "results"], copy)
    save(copy / "costs", record("icl_speaker", {}, dirty=True))
    with pytest.raises(UserError, match="icl_speaker.json was measured in a tree with uncommitted changes; commit"):
        build.build([copy / "results"], copy)
    (copy / "costs" / "icl_speaker.json").rename(copy / "costs" / "another.json")
    save(copy / "costs", record("icl_speaker", {})).rename(copy / "costs" / "another.json")
    with pytest.raises(UserError, match="its own record wanted, found that of icl_speaker"):
        costs.read(copy / "costs")


def test_figures_and_staleness(families, tmp_path, capsys):
    copy = tmp_path / "leaderboard"
    shutil.copytree(families.parent, copy)
    assert build.main(["--check"], copy / "results") == 0
    for name in ("selectivity", "out_of_domain", "cost"):
        path = copy / "figures" / f"{name}.svg"
        text = path.read_text()
        assert text.startswith("<svg ") and "icl_speaker" in text and "nan" not in text
        assert f"figures/{name}.svg" in (copy / "selectivity.md").read_text()
        assert text.strip() in (copy / "index.html").read_text()
        path.write_text(text + " ")
        assert build.main(["--check"], copy / "results") == 2
        assert f"stale: figures/{name}.svg" in capsys.readouterr().err
        path.write_text(text)
    for name in ("selectivity.csv", "separation.csv", "delta.csv", "cost.csv", "selectivity.md"):
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        assert build.main(["--check"], copy / "results") == 2
        assert f"stale: {name}" in capsys.readouterr().err
        build.main([], copy / "results")
    capsys.readouterr()
    save(copy / "costs", record("icl_content", {}))
    assert build.main(["--check"], copy / "results") == 2
    assert "cost.csv" in capsys.readouterr().err
    (copy / "figures" / "old.svg").touch()
    build.main([], copy / "results")
    assert build.main(["--check"], copy / "results") == 2
    assert "figures/old.svg (no published row is drawn there: delete it)" in capsys.readouterr().err
