"""All tasks at a glance: which head stands for a task, what is bold, which splits a mean drop counts, and how far
heads agree."""

import csv
import shutil
from statistics import mean

import pytest
from made_up_runs import SPLITS
from scipy.stats import kendalltau, spearmanr

from harness.results import load_result
from leaderboard import build, cells, overview


def suites_of(results):
    return overview.overview(cells.collect([results])[0])


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def value(folder, split="test"):
    result = load_result(folder)
    return result.splits[split].metrics[result.metric]


def columns(lines, task):
    return next(column for column in lines if column["task"] == task)


def test_the_head_of_a_task(three_kinds_copy):
    """A trained head before a training-free one with more upstreams; then the most upstreams, then the name."""
    (suite,) = suites_of(three_kinds_copy)
    assert [(column["task"], column["head"]) for column in suite["columns"]] == [
        ("asr", "ctc"), ("asv", "xvector"), ("ks", "linear")
    ]  # fmt: skip
    shutil.rmtree(three_kinds_copy / "ks-linear-icl_content")
    assert columns(suites_of(three_kinds_copy)[0]["columns"], "ks")["head"] == "mlp"


def test_the_matrix(three_kinds):
    (suite,) = suites_of(three_kinds)
    ks, asr, asv = (columns(suite["columns"], task) for task in ("ks", "asr", "asv"))
    for name, found in ks["values"].items():
        assert found == value(three_kinds / f"ks-linear-{name}")
    assert ks["best"] == [max(ks["values"], key=ks["values"].get)] == ["icl_speaker"]
    lowest = min(found for found in asr["values"].values() if found is not None)
    assert asr["best"] == [name for name, found in asr["values"].items() if found == lowest]
    # what is not published is empty, never 0
    assert asr["values"]["fbank"] is None and asv["values"]["icl_content"] is None
    assert (ks["upstreams"], asr["upstreams"], asv["upstreams"]) == (5, 4, 3)


def test_a_mean_drop_counts_what_is_not_confounded(three_kinds):
    (suite,) = suites_of(three_kinds)
    found = {(drop["task"], drop["kind"]): drop for drop in suite["drops"]}
    assert {key: drop["splits"] for key, drop in found.items()} == {
        ("asr", "Z"): ["engine"], ("asr", "C"): ["noise"], ("asv", "Z"): ["real_people"], ("asv", "C"): ["telephone"],
        ("ks", "Z"): ["people", "same_people"], ("ks", "C"): ["noise"],
    }  # fmt: skip
    assert columns(suite["columns"], "ks")["left_out"] == ["four_people"]
    result = load_result(three_kinds / "ks-linear-fbank")
    wanted = mean(
        result.splits[split].id_shared["accuracy"] - result.splits[split].metrics["accuracy"]
        for split in ("people", "same_people")
    )
    assert found["ks", "Z"]["values"]["fbank"] == pytest.approx(wanted)
    folder = three_kinds / "asv-xvector-fbank"
    assert found["asv", "C"]["values"]["fbank"] == pytest.approx(value(folder, "telephone") - value(folder))
    assert found["asv", "C"]["values"]["icl_content"] is None


def test_the_overview_as_markdown(three_kinds):
    text = (three_kinds.parent / "README.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| icl_speaker | ") and "**" in line]
    assert f"**{value(three_kinds / 'ks-linear-icl_speaker'):.2f}**" in line
    assert "[ks](./ks.md)<br>accuracy in % ↑ |" in text and "[asr](./asr.md)<br>WER in % ↓ |" in text
    assert "| people, same_people | noise | four_people |" in text
    drops = text.split("mean drop out of domain")[1]
    (line,) = [line for line in drops.splitlines() if line.startswith("| fbank | ")]
    cells_of_line = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells_of_line[1:3] == ["", ""] and all(cells_of_line[3:]) and len(cells_of_line) == 7
    assert "### " not in text and len(text.splitlines()) < 60


def test_a_page_a_task(three_kinds):
    names = {path.name for path in three_kinds.parent.glob("*.md")}
    assert names == {"README.md", "asr.md", "asv.md", "columns.md", "ks.md"}
    ks, asv = ((three_kinds.parent / name).read_text() for name in ("ks.md", "asv.md"))
    assert "## ks, head linear" in ks and "## ks, head mlp" in ks and "asv" not in ks
    assert "| UAR | macro F1 |" in ks and "in-domain, same classes" in ks
    assert "clips" in ks and "trials" not in ks.split("## ks", 1)[1]
    assert "trials" in asv and "clips" not in asv and "Agreement" not in asv
    html = (three_kinds.parent / "index.html").read_text()
    for task in ("asr", "asv", "ks"):
        assert f'<details class="task" id="task-{task}">' in html and f'href="#task-{task}"' in html


def test_check_covers_every_page(three_kinds_copy, capsys):
    assert build.main(["--check"], three_kinds_copy) == 0
    for name in ("ks.md", "asr.md", "heads.csv"):
        path = three_kinds_copy.parent / name
        before = path.read_bytes()
        path.write_bytes(before + b"x")
        assert build.main(["--check"], three_kinds_copy) == 2
        assert f"stale: {name};" in capsys.readouterr().err
        path.write_bytes(before)
    for folder in three_kinds_copy.glob("asr-*"):
        shutil.rmtree(folder)
    build.main([], three_kinds_copy)
    assert build.main(["--check"], three_kinds_copy) == 2
    assert "stale: asr.md (no published task has this page: delete it)" in capsys.readouterr().err


def test_agreement_of_heads(three_kinds):
    """asv has three upstreams in common and asr one head, so ks alone has a row."""
    (row,) = rows(three_kinds.parent / "heads.csv")
    assert [row[name] for name in overview.HEADS[:7]] == ["mini", "ks", "linear", "mini", "mlp", "mini", "5"]
    names = ("whisper_tiny", "whisper_tiny+dev", "fbank", "icl_speaker", "icl_content")
    a, b = ([value(three_kinds / f"ks-{head}-{name}") for name in names] for head in ("linear", "mlp"))
    assert row["kendall_tau_b"] == f"{kendalltau(a, b).statistic:.4f}"
    assert row["spearman"] == f"{spearmanr(a, b).statistic:.4f}" != "1.0000"
    assert f"| 5 | {float(row['kendall_tau_b']):.2f} |" in (three_kinds.parent / "ks.md").read_text()
    html = (three_kinds.parent / "index.html").read_text()
    assert html.count("Agreement of heads") == 1 and f"{float(row['spearman']):.2f}</td>" in html


def test_a_head_without_an_order_agrees_with_none(tmp_path, make_run):
    """Every upstream at 0 %: the correlation is undefined and the field empty, not 0 and not nan."""
    for name in ("a", "b", "c", "d"):
        make_run(name, head="perfect", strength=99.0, splits={"test": SPLITS["test"]}, under="x/results")
        make_run(name, head="other", splits={"test": SPLITS["test"]}, under="x/results")
    build.build([tmp_path / "x" / "results"], tmp_path / "x")
    (row,) = rows(tmp_path / "x" / "heads.csv")
    assert (row["upstreams"], row["kendall_tau_b"], row["spearman"]) == ("4", "", "")
    assert "nan" not in (tmp_path / "x" / "asv.md").read_text()
    # no OOD split: no matrix of drops
    assert "mean drop" not in (tmp_path / "x" / "README.md").read_text()


def test_same_bytes_in_any_order(three_kinds):
    found = cells.collect([three_kinds])[0]
    assert build.outputs(found) == build.outputs(list(reversed(found)))
    for name, data in build.outputs(found).items():
        assert (three_kinds.parent / name).read_bytes() == data


def test_a_row_trained_on_a_corpus_of_the_task_carries_a_mark(three_kinds_copy):
    path = three_kinds_copy / "ks-linear-icl_content" / "result.json"
    result = load_result(path.parent)
    corpus = result.splits["test"].corpus.split("+")[0]
    trained = result.upstream.model_copy(update={"trained_on": ["another (text)", f"{corpus} (speaker)"]})
    path.write_text(result.model_copy(update={"upstream": trained}).model_dump_json())
    (suite,) = suites_of(three_kinds_copy)
    assert columns(suite["columns"], "ks")["trained"] == {"icl_content"}
    assert columns(suite["columns"], "asr")["trained"] == set()
    build.main([], three_kinds_copy)
    marked = [row for row in rows(three_kinds_copy.parent / "leaderboard.csv") if "trained on" in row["marks"]]
    assert {(row["task"], row["upstream"]) for row in marked} == {("ks", "icl_content")}
    assert marked[0]["marks"].endswith(f"trained on {corpus}, as this task is")
    score = f"{value(path.parent):.2f}†"
    assert score in (three_kinds_copy.parent / "README.md").read_text()
    assert score in (three_kinds_copy.parent / "index.html").read_text()
