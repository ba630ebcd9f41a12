"""The leaderboard from results on disk: reproducible, checked, refusing, and without torch."""

import csv
import gzip
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from made_up_runs import write_run

from harness.metrics import eer, verification_trials
from harness.results import load_result, read_predictions, read_references
from harness.uncertainty import drop_interval, paired_difference
from leaderboard import build, cells, contrast, costs, overview, publish, separation, tables

ROOT = Path(build.__file__).resolve().parent.parent
FAMILIES = ["selectivity.csv", "separation.csv", "delta.csv", "cost.csv"]
PAGES = ["README.md", "asv.md", "columns.md", "index.html"]
FILES = ["leaderboard.csv", "ood.csv", "heads.csv", *FAMILIES, *PAGES]
COLUMNS = {"selectivity.csv": contrast.SELECTIVITY, "separation.csv": separation.SEPARATION,
           "delta.csv": contrast.DELTA, "cost.csv": costs.COST}  # fmt: skip


def lines(path, **wanted):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def one(path, **wanted):
    (found,) = lines(path, **wanted)
    return found


def tables_of(folder, split):
    return (
        read_predictions(folder / "predictions" / f"{split}.jsonl.gz"),
        read_references(folder / "references" / f"{split}.csv.gz"),
    )


def test_nothing_published(tmp_path):
    written, notices = build.build([tmp_path / "results"], tmp_path)
    assert [path.name for path in written] == [name for name in FILES if name != "asv.md"] and notices == []
    assert (tmp_path / "ood.csv").read_text() == ",".join(tables.OOD) + "\n"
    assert (tmp_path / "leaderboard.csv").read_text() == ",".join(tables.LEADERBOARD) + "\n"
    assert (tmp_path / "heads.csv").read_text() == ",".join(overview.HEADS) + "\n"
    for name, columns in COLUMNS.items():
        assert (tmp_path / name).read_text() == ",".join(columns) + "\n"
    for name in ("index.html", "README.md"):
        assert "No results are published yet." in (tmp_path / name).read_text()


def test_a_row(results, make_run):
    row = one(results.parent / "leaderboard.csv", head="xvector", upstream="icl_speaker")
    icl = make_run("icl_speaker", base="whisper_tiny", strength=0.8)
    values = {
        (name, seed): load_result(results / "mini" / "asv" / name / f"xvector-mini-s{seed}-r0").splits["test"]
        for name in ("icl_speaker", "whisper_tiny")
        for seed in (0, 1)
    }
    scores = [values["icl_speaker", seed].metrics["eer"] for seed in (0, 1)]
    first = values["icl_speaker", 0]
    assert row["value"] == f"{sum(scores) / 2:.4f}"
    stored, by = first.intervals["eer"], sum(scores) / 2 - scores[0]
    assert (row["low"], row["high"]) == (f"{stored.low + by:.4f}", f"{stored.high + by:.4f}")
    assert row["std"] == f"{abs(scores[0] - scores[1]) / 2**0.5:.4f}"
    assert (row["seeds"], row["recipe_seeds"], row["rank"]) == ("2", "1", "1")
    assert (row["speakers"], row["trials"]) == ("12", str(first.expected))
    assert (row["contaminated"], row["supervised"], row["marks"]) == ("unknown", "yes", "our extension")
    assert row["min_dcf_0.01"] == "" and float(row["min_dcf_0.05"]) > 0
    backbone = [values["whisper_tiny", seed].metrics["eer"] for seed in (0, 1)]
    assert row["backbone"] == "whisper_tiny" and row["difference"] == f"{(sum(scores) - sum(backbone)) / 2:.4f}"
    a, references = tables_of(icl, "test")
    b, _ = tables_of(make_run("whisper_tiny"), "test")
    _, paired = paired_difference("eer", a, b, references)
    by -= sum(backbone) / 2 - backbone[0]
    assert (row["difference_low"], row["difference_high"]) == (f"{paired.low + by:.4f}", f"{paired.high + by:.4f}")


def test_the_difference_is_against_the_learned_mix_or_the_layer_dev_picks(results):
    table = results.parent / "leaderboard.csv"
    assert one(table, head="cosine", upstream="icl_utt")["backbone"] == "whisper_tiny+dev"
    assert one(table, head="cosine", upstream="whisper_tiny+dev")["backbone"] == ""
    assert one(table, head="xvector", upstream="whisper_tiny+dev")["backbone"] == "whisper_tiny"
    assert one(table, head="xvector", upstream="whisper_tiny")["difference"] == ""


def test_ood_rows(results, make_run):
    table = results.parent / "ood.csv"
    run = make_run("icl_utt", head="cosine", base="whisper_tiny", level="utterance", strength=0.5)
    inside, outside = tables_of(run, "test"), tables_of(run, "telephone")
    row = one(table, upstream="icl_utt", split="telephone")
    id_score, ood_score = (eer(*verification_trials(*part)) for part in (inside, outside))
    assert (row["kind"], row["condition"], row["corpus"]) == ("C", "telephone-1", "corpus of telephone")
    assert (row["id"], row["ood"]) == (f"{id_score:.4f}", f"{ood_score:.4f}")
    assert row["drop"] == f"{ood_score - id_score:.4f}"
    assert row["relative_drop"] == f"{(ood_score - id_score) / id_score:.4f}"
    paired = drop_interval("eer", *inside, *outside)
    assert (row["drop_low"], row["drop_high"]) == (f"{paired.low:.4f}", f"{paired.high:.4f}")
    apart = drop_interval("eer", *inside, *tables_of(run, "real_people"))
    assert one(table, upstream="icl_utt", split="real_people")["drop_low"] == f"{apart.low:.4f}"


def test_a_new_head_has_no_drop(results):
    row = one(results.parent / "ood.csv", upstream="icl_utt", split="new_head")
    assert row["kind"] == "R" and row["ood"] != "" and row["ood_low"] not in ("", "n/a")
    assert [row[name] for name in ("drop", "drop_low", "drop_high", "relative_drop")] == [""] * 4


def test_no_interval_below_eight_speakers(results):
    row = one(results.parent / "ood.csv", upstream="icl_utt", split="four_people")
    assert [row[name] for name in ("ood_low", "ood_high", "drop_low", "drop_high")] == ["n/a"] * 4
    assert (row["difference_low"], row["difference_high"], row["speakers"]) == ("n/a", "n/a", "4")
    assert row["difference"] != "" and row["id_low"] != "n/a"
    assert row["confounded"] == "one person, one language and one microphone each"


def test_ranks_stay_within_a_head_and_ties_share_one(results, make_run):
    publish.add(make_run("icl_utt_again", head="cosine", strength=9), results)
    publish.add(make_run("icl_utt_more", head="cosine", strength=9), results)
    build.build([results], results.parent)
    table = results.parent / "leaderboard.csv"
    assert [row["value"] for row in lines(table, head="cosine")][:2] == ["0.0000", "0.0000"]
    assert [row["rank"] for row in lines(table, head="cosine")] == ["1", "1", "3", "4"]
    assert [row["rank"] for row in lines(table, head="xvector")] == ["1", "2", "3"]
    for row in lines(results.parent / "ood.csv"):
        assert int(row["rank_change"]) == int(row["rank_id"]) - int(row["rank_ood"])
        same = lines(table, head=row["head"], upstream=row["upstream"])
        assert row["rank_id"] == same[0]["rank"]


def test_same_bytes_whatever_the_order_of_folders(results, tmp_path, make_run):
    first = {name: (results.parent / name).read_bytes() for name in FILES}
    shutil.copytree(results.parent, tmp_path / "copy" / "elsewhere")
    copied = tmp_path / "copy" / "elsewhere"
    build.build([copied / "results"], copied)
    assert {name: (copied / name).read_bytes() for name in FILES} == first
    reverse = list(reversed(cells.collect([results])[0]))
    assert build.outputs(reverse) == first
    for data in first.values():
        assert b"2026" not in data and b"abc" not in data and str(tmp_path).encode() not in data


def test_a_damaged_or_unwritable_cache_changes_nothing(results, tmp_path, monkeypatch):
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "cache"))
    first = build.outputs(cells.collect([results])[0])
    kept = sorted((tmp_path / "cache" / "replicates").glob("*.npy"))
    assert kept
    for path in kept:
        path.write_bytes(b"not an array")
    assert build.outputs(cells.collect([results])[0]) == first
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("POST_SUPERB_CACHE", str(tmp_path / "a_file"))
    assert build.outputs(cells.collect([results])[0]) == first


def test_check(results, capsys):
    assert build.main(["--check"], results) == 0
    for name in FILES:
        path = results.parent / name
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        assert build.main(["--check"], results) == 2
        assert f"stale: {name}" in capsys.readouterr().err
        path.unlink()
        assert build.main(["--check"], results) == 2
        path.write_bytes(before)
    (results.parent / "ks.md").write_text("# Leaderboard: ks\n")
    assert build.main(["--check"], results) == 2
    assert "stale: ks.md (no published task has this page: delete it)" in capsys.readouterr().err
    (results.parent / "ks.md").unlink()
    (results.parent / "references" / "unneeded.csv.gz").touch()
    assert build.main(["--check"], results) == 2
    assert "no result needs it: delete it" in capsys.readouterr().err
    assert build.main([], results) == 0


def test_runs_as_a_script_from_anywhere_without_torch(tmp_path):
    """A folder in front of the path holds packages of these names that fail on import."""
    blocked = tmp_path / "blocked"
    for name in ("torch", "torchaudio", "transformers", "s3prl"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise RuntimeError('{name} was imported')\n")
    environment = os.environ | {"PYTHONPATH": str(blocked), "POST_SUPERB_CACHE": str(tmp_path / "cache")}
    script = [sys.executable, str(ROOT / "leaderboard" / "build.py")]
    done = subprocess.run([*script, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    copy = tmp_path / "repository"
    made = shutil.ignore_patterns("results", "references", "figures", "__pycache__", "*.md")
    for room in ("harness", "leaderboard"):
        shutil.copytree(ROOT / room, copy / room, ignore=made)
    write_run(tmp_path / "run", "whisper_tiny")
    script[1] = str(copy / "leaderboard" / "build.py")
    for arguments in (["--add", str(tmp_path / "run")], ["--check"]):
        done = subprocess.run([*script, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert one(copy / "leaderboard" / "leaderboard.csv")["upstream"] == "whisper_tiny"


def test_the_bytes_of_the_compression_do_not_count(results):
    """Another zlib writes other bytes for the same table."""
    before = build.outputs(cells.collect([results])[0])
    for path in results.parent.rglob("*.gz"):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1))
    assert build.outputs(cells.collect([results])[0]) == before


def test_csv_parses_back(results):
    columns_of = {"leaderboard.csv": tables.LEADERBOARD, "ood.csv": tables.OOD, "heads.csv": overview.HEADS} | COLUMNS
    for name, columns in columns_of.items():
        text = (results.parent / name).read_text()
        rows = list(csv.reader(io.StringIO(text)))
        assert rows[0] == columns and all(len(row) == len(columns) for row in rows)
        assert text.endswith("\n") and "\r" not in text
