"""The leaderboards as files: CSV, Markdown (an overview and a page a task) and one HTML page that opens offline.

Values are rounded here, and only here. No time, no commit and no path goes in: the same results give the same bytes.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.metrics import METRICS, Metric
from leaderboard import columns, s3prl_practice
from leaderboard.families import FAMILY_NOTES
from leaderboard.intervals import NO_INTERVAL
from leaderboard.tables import FURTHER

DECIMALS = 4
FAMILIES = "selectivity.md"
"""The page of that name; no task may have it."""
GROUP = ["suite", "task", "head", "preset"]
KINDS = {
    "ID": "in-domain",
    "Z": "Z: the head trained in-domain meets another corpus",
    "R": "R: a new head on the other corpus, encoder frozen (no drop: another head)",
    "C": "C: the in-domain test set under a corruption",
}
NOTES = [
    "Values are means over seeds. Intervals are 95 % percentile intervals of a bootstrap over speakers, 1,000 draws, "
    "from the predictions of the first seed, moved to that mean: what seeds differ by is the column std, not in them. "
    "“n/a” stands where there are fewer than 8 speakers.",
    "The difference is this row minus its own backbone, paired on the same trials and draws: against the learned mix "
    "of layers under a trained head, against the single layer that dev picks (“+dev”) under the training-free cosine.",
    "Drop is how much worse the score is out of domain, positive for worse; the relative drop is its ratio to the "
    "in-domain score. Where a split has fewer classes than the in-domain test, both are taken from the in-domain score "
    "on those classes alone (“same classes”). A rank change is positive where a row climbs. Ranks are within one head "
    "only; ties share a rank.",
    "Confounded: speaker, language and microphone are one and the same there, so no claim rests on that split alone. "
    "A supervised backbone has seen transcripts; contamination says whether it may have heard the test data.",
]
OVERVIEW_NOTES = [
    "A score is the in-domain one under one head a task, the mean over seeds; intervals and every other head stand on "
    "the task's page. The best of a column is bold. ↓ lower is better, ↑ higher is better.",
    "The head is a trained one where there is one, and of those the one with the most published upstreams. An empty "
    "field is a cell that is not published under that head, such as an upstream that gives one vector an utterance "
    "under a head that needs frames.",
    "† the upstream was trained on a corpus that the task is made of too; selectivity.csv and delta.csv say how many "
    "speakers, sentences and recordings of the test that were, where it was counted.",
    "A drop is how much worse the score is out of domain, in its own unit and positive for worse: the mean over the "
    "task's splits of kind Z (the same head on another corpus), and over those of kind C (the test set under a "
    "corruption). Confounded splits do not count. A row near chance has little to lose, so a small drop is good only "
    "beside a good score.",
]
SCORE_NOTE = (
    "The mean over the six tasks of how far an upstream stands between two published rows, shown where all six are "
    "there under SUPERB's own heads and steps. The published rows:"
)
AGREEMENT_NOTE = (
    "How far two heads order the upstreams alike in-domain: 1 one order, 0 unrelated, −1 the reverse. Rankings that "
    "depend on the head say as much about the head as about the upstream."
)


def number(value: float, decimals: int = DECIMALS) -> str:
    """Fixed decimals, and no minus before a zero."""
    text = f"{value:.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def plain(value: Any, decimals: int = DECIMALS) -> str:
    if value is None:
        return ""
    return number(value, decimals) if isinstance(value, float) else str(value)


def csv_cell(value: Any) -> str:
    """Text that a spreadsheet would run as a formula is quoted; numbers are not."""
    text = plain(value)
    return "'" + text if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def to_csv(table: pd.DataFrame) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([csv_cell(value) for value in row] for row in table.itertuples(index=False))
    return buffer.getvalue().encode()


def span(low: Any, high: Any, decimals: int = 2) -> str:
    """An interval to read: [20.10, 24.35], n/a, or nothing."""
    if low is None or low == NO_INTERVAL:
        return low or ""
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def percent(low: Any, high: Any) -> str:
    """As `span`, of shares in per cent."""
    low, high = (100 * end if isinstance(end, float) else end for end in (low, high))
    return span(low, high, 0)


def signed(value: float | None, decimals: int = 2) -> str:
    if value is None:
        return ""
    text = number(value, decimals)
    return text if text.startswith("-") or not text.strip("0.") else "+" + text


def items(metric: Metric) -> str:
    """What is counted: trials of verification, else clips."""
    return "trials" if metric.kind == "verification" else "clips"


def arrow(metric: Metric) -> str:
    return "↑" if metric.higher_is_better else "↓"


def unit(metric: Metric) -> str:
    return f"{metric.label} in %" if metric.unit else metric.label


def further(lines: list[dict[str, Any]]) -> list[Metric]:
    """The metrics beside the main one that stand in some line."""
    return [METRICS[name] for name in FURTHER if any(line[name] is not None for line in lines)]


def beside(line: dict[str, Any], metric: Metric) -> str:
    """A further metric to read: a cost from 0 to 1 needs more decimals than a percentage."""
    return plain(line[metric.name], 2 if metric.unit else 3)


def verdict(line: dict[str, Any]) -> str:
    """`better` or `worse` than the backbone where the paired interval excludes 0, else nothing."""
    low, high = line["difference_low"], line["difference_high"]
    if not isinstance(low, float) or not isinstance(high, float) or low <= 0 <= high:
        return ""
    return "better" if (low > 0) == METRICS[line["metric"]].higher_is_better else "worse"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]


def groups(leaderboard: pd.DataFrame, ood: pd.DataFrame) -> list[dict[str, Any]]:
    """What is ranked together: its in-domain lines, its splits, and the OOD lines by split and by row."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in _records(leaderboard):
        group = found.setdefault(
            tuple(line[name] for name in GROUP),
            {name: line[name] for name in GROUP} | {"lines": [], "splits": {}, "by_row": {}},
        )
        group["lines"].append(line | {"verdict": verdict(line)})
        group["metric"] = METRICS[line["metric"]]
    for line in _records(ood):
        group = found[tuple(line[name] for name in GROUP)]
        line |= {"verdict": verdict(line)}
        group["splits"].setdefault(line["split"], []).append(line)
        group["by_row"][line["upstream"], line["source"], line["split"]] = line
    for group in found.values():
        ends = [line["high"] for line in group["lines"] if isinstance(line["high"], float)]
        group["s3prl"] = any(line.get(s3prl_practice.COLUMN) is not None for line in group["lines"])
        # error rates that are all 0 leave no scale
        group["top"] = max([line["value"] for line in group["lines"]] + ends) or 1.0
        group["shared"] = {
            split for split, lines in group["splits"].items() if any(line["id_shared"] is not None for line in lines)
        }
    return list(found.values())


def tasks(leaderboard: pd.DataFrame, ood: pd.DataFrame, heads: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By task: its groups, of every suite, and the lines on how far its heads agree."""
    found: dict[str, dict[str, Any]] = {}
    for group in groups(leaderboard, ood):
        found.setdefault(group["task"], {"groups": [], "heads": []})["groups"].append(group)
    for line in _records(heads):
        found[line["task"]]["heads"].append(line)
    return dict(sorted(found.items()))


def _environment(html: bool) -> Environment:
    """Autoescape for HTML; Markdown cells are escaped by the filter `md`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "md": markdown_cell,
        "signed": signed,
        "plain": plain,
        "two": lambda value: plain(value, 2),
        "one": lambda value: plain(value, 1),
        "inline": lambda svg: Markup(svg.decode()),  # leaderboard/svg.py escaped the names
    }
    environment.globals |= {one.__name__: one for one in (span, percent, items, unit, arrow, further, beside)}
    environment.globals |= {"KINDS": KINDS, "NOTES": NOTES, "OVERVIEW_NOTES": OVERVIEW_NOTES}
    environment.globals |= {"AGREEMENT_NOTE": AGREEMENT_NOTE, "SCORE_NOTE": SCORE_NOTE}
    environment.globals |= {"S3PRL": s3prl_practice, "FAMILY_NOTES": FAMILY_NOTES}
    return environment


def markdown_cell(value: Any) -> str:
    """Text as text: no pipe ends the cell and nothing in it becomes a link, an image or HTML."""
    text = " ".join(plain(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*[]|":
        text = text.replace(character, "\\" + character)
    return text


def to_markdown(
    found: dict[str, dict[str, Any]], suites: list[dict[str, Any]], who: dict[str, Any], words: list[dict[str, str]]
) -> dict[str, bytes]:
    """The overview, README.md, the page on families, a page a task and that on the columns, by name. `found` as `tasks`
    gives it, `suites` as `overview`; `who`: the `families`, `pictures` (`drawn`: their SVG) and `costs` of
    `leaderboard/families.py`; `words` as `leaderboard/columns.py` gives them."""
    environment = _environment(html=False)
    pages = {"README.md": environment.get_template("overview.md.j2").render(tasks=found, suites=suites, **who)}
    if who["families"]:
        pages[FAMILIES] = environment.get_template("selectivity.md.j2").render(**who)
    pages[columns.PAGE] = environment.get_template(f"{columns.PAGE}.j2").render(columns=words)
    template = environment.get_template("tables.md.j2")
    pages |= {f"{task}.md": template.render(task=task, **parts) for task, parts in found.items()}
    return {name: text.encode() for name, text in pages.items()}


def to_html(found: dict[str, dict[str, Any]], suites: list[dict[str, Any]], who: dict[str, Any]) -> bytes:
    template = _environment(html=True).get_template("page.html.j2")
    return template.render(tasks=found, suites=suites, **who).encode()
