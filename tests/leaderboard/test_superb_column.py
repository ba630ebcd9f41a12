"""The SUPERB score stands in a column of suite `superb`, with what its reference values rest on, and nowhere else."""

import re
from statistics import mean

import pytest
from made_up_runs import write_run
from test_page import parsed

from harness import superb_score
from harness.results import load_result
from leaderboard import build

KINDS = {"pr": "asr", "asr": "asr", "ks": "ks", "sid": "ks", "asv": "asv", **{f"er_fold{k}": "ks" for k in range(1, 6)}}
"""By task, the made-up one whose predictions stand in for it."""


def cells(results, upstream, without=()):
    for task, kind in KINDS.items():
        if task not in without:
            head = superb_score.HEADS[task.partition("_")[0]]
            names = {"suite": "superb", "preset": "superb", "task": task}
            write_run(results / f"{task}-{upstream}", upstream, task=kind, head=head,
                      change=lambda data, names=names: data.update(names))  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """`fbank` has every task, `whisper_tiny` all but one fold, and a row of suite `mini` none of this."""
    results = tmp_path_factory.mktemp("superb") / "leaderboard" / "results"
    cells(results, "fbank")
    cells(results, "whisper_tiny", without=("er_fold5",))
    write_run(results / "mini", "fbank", task="ks", head="pooled_linear")
    build.build([results], results.parent)
    return results


def wanted(results):
    values = {task: load_result(results / f"{task}-fbank") for task in KINDS}
    values = {task: one.splits["test"].metrics[one.metric] for task, one in values.items()}
    folds = [value for task, value in values.items() if task.startswith("er_")]
    own = {task: value for task, value in values.items() if not task.startswith("er_")}
    return superb_score.score({**own, "er": mean(folds)})


def test_the_column_in_html(built):
    html = (built.parent / "index.html").read_text()
    parsed(html)
    mini, superb = (html.split(f"Suite {name}: in-domain")[1].split("</table>")[0] for name in ("mini", "superb"))
    assert "SUPERB score" not in mini and superb.count(">SUPERB score</button> ‡") == 1
    assert superb_score.TAG in superb.split("<tbody>")[0]
    rows = {re.search(r"<code>(.*?)</code>", row)[1]: row for row in superb.split("<tbody>")[1].split("</tr>")[:2]}
    value = wanted(built)
    assert f"<td>{value:.1f}</td>" in rows["fbank"]
    assert '<td></td><td class="t">' in rows["whisper_tiny"], "five folds are wanted"
    columns = len(re.findall("<th ", superb.split("<tbody>")[0]))
    assert rows["fbank"].count("<td") == rows["whisper_tiny"].count("<td") == columns - 1
    after = html.split("Suite superb: in-domain scores")[1].split("</table>")[1]
    assert superb_score.FBANK.evidence in after and superb_score.WAVLM_LARGE.evidence in after


def test_the_column_in_markdown(built):
    text = (built.parent / "README.md").read_text()
    assert text.count("SUPERB score ‡") == 1 and superb_score.TAG in text
    lines = text.splitlines()
    (line,) = [one for one in lines if one.startswith("| fbank | ") and f" {wanted(built):.1f} |" in one]
    assert line.count("|") == next(one for one in lines if "SUPERB score ‡" in one).count("|")


def test_no_score_no_column(tmp_path):
    cells(tmp_path / "results", "fbank", without=("pr",))
    build.build([tmp_path / "results"], tmp_path)
    for name in ("index.html", "README.md"):
        assert "SUPERB score" not in (tmp_path / name).read_text()
