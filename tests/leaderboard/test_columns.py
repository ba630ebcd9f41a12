"""Every column of every CSV is explained, once, and nothing else is."""

import csv

from leaderboard import columns, s3prl_practice


def test_each_column_is_explained(three_kinds):
    written = {path.name: next(csv.reader(path.open(newline=""))) for path in three_kinds.parent.glob("*.csv")}
    assert len(written) == 7
    every = {name for header in written.values() for name in header} | {s3prl_practice.COLUMN}
    assert set(columns.meanings()) == every
    page = (three_kinds.parent / columns.PAGE).read_text()
    for name in every - {s3prl_practice.COLUMN}:
        files = ", ".join(file for file in written if name in written[file])
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert line.endswith(f"| {columns.meanings()[name]} |")
        assert {f"{file}.csv" for file in line.split(" | ")[1].split(", ")} == set(files.split(", "))


def test_the_page_reads_as_a_table():
    assert not [text for text in columns.meanings().values() if "|" in text or "\n" in text or not text]
