"""What a finished run prints, and its rows among the published ones."""

import csv

import pytest
from made_up_runs import SPLITS, write_run

from harness.errors import UserError
from harness.results import load_result
from leaderboard import build, show
from leaderboard.cells import PUBLISHED, YOURS, read_cell, read_root
from leaderboard.intervals import interval_of
from leaderboard.show import cell_table

ICL = {"base": "whisper_tiny", "strength": 0.8}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_cell_table(results, make_run):
    mine = read_cell(make_run("icl_speaker", **ICL), YOURS)
    table = cell_table(mine, [*read_root(results, PUBLISHED), mine]).set_index("split")
    assert table.index.tolist() == ["test", "four_people", "new_head", "real_people", "telephone"]
    assert table.columns[-2:].tolist() == ["whisper_tiny", "whisper_tiny+dev"]
    result = mine.result
    assert table.loc["telephone", "value"] == result.splits["telephone"].metrics["eer"]
    assert table.loc["telephone", "drop"] == table.loc["telephone", "value"] - table.loc["test", "value"]
    assert (table.loc["telephone", "low"], table.loc["telephone", "high"]) == interval_of(mine, "telephone")
    assert table.loc["four_people", "low"] == table.loc["four_people", "drop_low"] == "n/a"
    assert table.loc["new_head", "drop"] is None and table.loc["test", "drop"] is None
    assert table.loc["test", "trials"] == result.splits["test"].expected
    seeds = [load_result(results / "mini" / "asv" / "whisper_tiny" / f"xvector-mini-s{seed}-r0") for seed in (0, 1)]
    mean = sum(seed.splits["test"].metrics["eer"] for seed in seeds) / 2
    assert table.loc["test", "whisper_tiny"] == pytest.approx(mean)


def test_printed_table(results, make_run):
    run = make_run("icl_speaker", **ICL)
    text = show.cell(run, load_result(run), results=results)
    for part in ("icl_speaker on asv (mini)", "EER %", "four_people *", "n/a", "+dev", "supervised backbone"):
        assert part in text
    only = show.cell(run, load_result(run), only_id=True, results=results)
    assert "telephone" not in only and "test" in only and "* speaker" not in only


def test_printed_table_of_classes_and_words(three_kinds, make_run):
    run = make_run("icl_speaker", task="ks", head="linear", base="whisper_tiny", strength=-0.6)
    result = load_result(run)
    text = show.cell(run, result, results=three_kinds)
    for part in ("head linear, preset mini", "accuracy %", "UAR %", "macro F1 %", "ID, same classes", "clips"):
        assert part in text
    assert "trials" not in text and "CER" not in text and "its drop is from there" in text
    (line,) = [line for line in text.splitlines() if line.startswith("people ")]
    split = result.splits["people"]
    for value in (split.metrics["uar"], split.metrics["macro_f1"], split.id_shared["accuracy"]):
        assert f" {value:.2f} " in line
    assert f" {split.id_shared['accuracy'] - split.metrics['accuracy']:+.2f} " in line
    assert split.id_shared["accuracy"] != result.splits["test"].metrics["accuracy"]
    words = make_run("icl_speaker", task="asr", head="ctc", base="whisper_tiny", strength=1.2)
    text = show.cell(words, load_result(words), results=three_kinds)
    assert "WER %" in text and "CER %" in text and "UAR" not in text and "same classes" not in text


def test_several_seeds_have_their_mean_beside_each(results, tmp_path, make_run):
    found = [make_run("my_model", seed=seed) for seed in (0, 1, 2)]
    make_run("my_model", seed=3, recipe_seed=1)
    make_run("other_model", seed=4)
    score = [load_result(folder).splits["telephone"].metrics["eer"] for folder in found]
    for folder in found:
        text = show.cell(folder, load_result(folder), results=results)
        (line,) = [line for line in text.splitlines() if line.startswith("telephone ")]
        assert f" {sum(score) / 3:.2f} " in line and "mean of 3 seeds: 0, 1, 2, finished" in text
    (found[1] / "result.json").write_text("{")
    text = show.cell(found[0], load_result(found[0]), results=results)
    assert "mean of 2 seeds: 0, 2, finished" in text
    alone = make_run("lonely_model")
    assert "seeds" not in show.cell(alone, load_result(alone), results=results)


def test_printed_table_with_nothing_published(tmp_path, make_run):
    run = make_run("icl_speaker", **ICL)
    text = show.cell(run, load_result(run), results=tmp_path / "results")
    assert "test" in text and "published rows" not in text


def test_your_rows_among_the_published_ones(results, tmp_path, make_run):
    make_run("icl_speaker", **ICL)
    make_run("my_model", base="whisper_tiny", strength=9.0)
    written = show.user_tables(tmp_path / "runs", results)
    assert [path.name for path in written] == ["leaderboard.csv", "ood.csv"]
    table = [row for row in rows(written[0]) if row["head"] == "xvector"]
    found = {(row["upstream"], row["source"]): row for row in table}
    assert set(found) == {("my_model", "yours"), ("icl_speaker", "yours"), ("icl_speaker", "published"),
                          ("whisper_tiny", "published"), ("whisper_tiny+dev", "published")}  # fmt: skip
    # an upstream counts once in a rank, though its row is there twice
    assert found["my_model", "yours"]["rank"] == "1"
    assert {row["rank"] for key, row in found.items() if key[0] == "icl_speaker"} == {"2"}
    assert found["whisper_tiny+dev", "published"]["rank"] in ("3", "4")
    assert found["my_model", "yours"]["backbone"] == "whisper_tiny"
    assert float(found["my_model", "yours"]["difference_high"]) < 0
    for row in rows(written[1]):
        assert row["source"] in ("published", "yours")
    # the published tables are untouched
    assert build.main(["--check"], results) == 0


def test_a_trial_is_marked_as_no_result(results, tmp_path, make_run):
    make_run("my_model", change=lambda data: data.update(preset="trial"))
    for path in show.user_tables(tmp_path / "runs", results):
        found = {row["upstream"]: row["marks"] for row in rows(path) if row["source"] == "yours"}
        assert found == {"my_model": "a trial: a few updates, no result"}


def test_published_rows_keep_their_figures(results, tmp_path, make_run):
    make_run("my_model", base="whisper_tiny", strength=-9.0)
    show.user_tables(tmp_path / "runs", results)
    for name in ("leaderboard.csv", "ood.csv"):
        mixed = [row for row in rows(tmp_path / "runs" / name) if row["source"] == "published"]
        assert mixed == rows(results.parent / name)


def test_of_your_own_runs_the_latest_counts(results, tmp_path, make_run):
    def later(data):
        data["provenance"]["started"] = "2026-02-01T00:00:00Z"

    new = make_run("my_model", strength=2.0, change=later)
    make_run("my_model", strength=1.0)
    show.user_tables(tmp_path / "runs", results)
    (row,) = [row for row in rows(tmp_path / "runs" / "leaderboard.csv") if row["upstream"] == "my_model"]
    assert row["value"] == f"{load_result(new).splits['test'].metrics['eer']:.4f}"


def test_a_run_on_other_lists_is_left_out_and_said_so(results, tmp_path, make_run, capsys):
    run = make_run("my_model", splits=SPLITS | {"test": ("ID", 13, 1.6, "")})
    show.user_tables(tmp_path / "runs", results)
    assert "different lists of test" in capsys.readouterr().err
    assert "my_model" not in (tmp_path / "runs" / "leaderboard.csv").read_text()
    assert "different lists of test" in show.cell(run, load_result(run), results=results)


def test_a_run_with_a_split_of_its_own_is_ranked_on_the_others(results, tmp_path, make_run):
    make_run("my_model", splits=SPLITS | {"my_split": ("Z", 9, 1.0, "")})
    show.user_tables(tmp_path / "runs", results)
    found = [row for row in rows(tmp_path / "runs" / "ood.csv") if row["upstream"] == "my_model"]
    assert {row["split"] for row in found} == {*SPLITS, "my_split"} - {"test"}
    (alone,) = [row for row in found if row["split"] == "my_split"]
    assert alone["rank_ood"] == "1" and alone["difference"] == ""


def test_an_unfinished_run_is_passed_over(results, tmp_path, make_run):
    run = make_run("my_model")
    (run / "result.json").unlink()
    show.user_tables(tmp_path / "runs", results)
    assert "my_model" not in (tmp_path / "runs" / "leaderboard.csv").read_text()


def test_runs_do_not_go_where_the_published_results_are(results, tmp_path):
    write_run(results.parent / "run")
    for folder in (results, results.parent, tmp_path):
        with pytest.raises(UserError, match="choose another folder"):
            show.user_tables(folder, results)
