"""How values are printed, and that no name can become a formula, a link or a script."""

import csv
from html.parser import HTMLParser

import pytest
from made_up_runs import KS_SPLITS, SPLITS, write_run

from leaderboard import build, page


@pytest.mark.parametrize(
    "value,text",
    [
        (1.0, "1.0000"),
        (12.345678, "12.3457"),
        (-0.00001, "0.0000"),
        (-0.5, "-0.5000"),
        (3, "3"),
        (None, ""),
        ("n/a", "n/a"),
        ("=1+1", "'=1+1"),
        ("+whisper", "'+whisper"),
        ("-x", "'-x"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        ("whisper_tiny+dev", "whisper_tiny+dev"),
    ],
)
def test_a_csv_cell(value, text):
    assert page.csv_cell(value) == text


@pytest.mark.parametrize("value,text", [(1.234, "+1.23"), (-1.0, "-1.00"), (0.0, "0.00"), (-0.001, "0.00"), (None, "")])
def test_signs(value, text):
    assert page.signed(value) == text


def test_intervals_to_read():
    assert page.span(1.0, 2.341) == "[1.00, 2.34]" and page.span(1.0, 2.341, 1) == "[1.0, 2.3]"
    assert page.span("n/a", "n/a") == "n/a" and page.span(None, None) == ""


def test_markdown_stays_text():
    assert page.markdown_cell("a|b `c` *d* [e](f)\n<img src=x>") == "a\\|b \\`c\\` \\*d\\* \\[e\\](f) &lt;img src=x&gt;"


@pytest.mark.parametrize(
    "low,high,metric,expected",
    [
        (-3.0, -1.0, "eer", "better"),
        (1.0, 3.0, "eer", "worse"),
        (1.0, 3.0, "accuracy", "better"),
        (-1.0, 3.0, "eer", ""),
        (0.0, 3.0, "eer", ""),
        ("n/a", "n/a", "eer", ""),
        (None, None, "eer", ""),
    ],
)
def test_verdict(low, high, metric, expected):
    assert page.verdict({"difference_low": low, "difference_high": high, "metric": metric}) == expected


class Page(HTMLParser):
    """Collects what would load from elsewhere, and checks that tags close."""

    void = {"meta", "br", "line", "circle", "link", "img"}

    def __init__(self):
        super().__init__()
        self.open, self.outside, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href") and "://" in (value or "")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in self.void
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text):
    found = Page()
    found.feed(text)
    assert found.open == []
    return found


def test_the_page_is_self_contained(results):
    text = (results.parent / "index.html").read_text()
    found = parsed(text)
    assert found.outside == [] and found.tags.count("script") == 1
    assert "url(" not in text and "@import" not in text
    # two matrices and what stands in them; then each head's own
    assert found.tags.count("table") == 3 + 2 * (2 + len(SPLITS) - 1)
    for name in ("icl_speaker", "whisper_tiny+dev", "confounded", "our extension"):
        assert name in text


def test_hostile_text_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>|x"

    def change(data):
        data["upstream"]["family"] = evil
        data["upstream"]["base"] = "=cmd"
        for split in data["splits"].values():
            split["corpus"] = evil
            split["confounded"] = "=HYPERLINK(1)"

    results = tmp_path / "leaderboard" / "results"
    write_run(results / "x", "a_name", change=change)
    build.build([results], results.parent)
    html = (results.parent / "index.html").read_text()
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)&lt;/script&gt;|x" in html
    assert parsed(html).tags.count("script") == 1
    markdown = (results.parent / "asv.md").read_text()
    assert "<script>" not in markdown + (results.parent / "README.md").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|x" in markdown
    with open(results.parent / "ood.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert row["base"] == "'=cmd" and row["confounded"] == "'=HYPERLINK(1)" and row["corpus"] == evil


@pytest.mark.parametrize(
    "name,wanted", [("README.md", 3), ("asv.md", 2 * len(SPLITS)), ("ks.md", 1 + 2 * len(KS_SPLITS)), ("asr.md", 3)]
)
def test_markdown_tables_are_even(three_kinds, name, wanted):
    """Every line of a table has as many cells as its head."""
    width, tables = None, 0
    for line in (three_kinds.parent / name).read_text().splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = line.replace("\\|", "").count("|")
        tables += width is None
        assert width in (None, cells)
        width = cells
    assert tables == wanted
