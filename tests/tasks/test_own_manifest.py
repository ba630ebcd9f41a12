"""A user's own data, as a user brings it: a CSV beside the audio, an entry in corpora.yaml, a stanza in a task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tiny_suite import tone

from harness.cell import CellName, run_cell
from harness.cli import main
from harness.config import Runtime
from harness.errors import UserError
from harness.headers import length
from tasks import prepared
from tasks.own_manifest import read_own


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Six clips of three people at 8 kHz, in a folder of their own."""
    folder = tmp_path / "calls"
    for who in range(3):
        for take in range(2):
            path = folder / f"p{who}" / f"call {take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(20 + who, take, 1.5)[::2], 8000)
    return folder


def table(folder: Path, *lines: str, header: str = "file,split,speaker,label,text") -> Path:
    path = folder / "calls.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


ROWS = [f"p{who}/call {take}.wav,test,ann-{who},take{take},good morning" for who in range(3) for take in range(2)]


def test_few_columns_do(calls: Path) -> None:
    rows = read_own(table(calls, *ROWS), "my_calls")
    first = rows[0]
    assert (first.id, first.corpus, first.split, first.speaker) == ("p0-call-0", "my_calls", "test", "ann-0")
    assert (first.rate, first.duration, first.start, first.sha256[:7]) == (8000, 1.5, 0.0, "header:")
    assert first.member == str(calls / "p0" / "call 0.wav") and first.archive is None
    assert read_own(table(calls, "p0/call 0.wav,dev", header="file,split"), "x")[0].speaker == "-"


def test_a_cut_of_a_recording(calls: Path) -> None:
    header = "file,split,id,start,duration"
    (row,) = read_own(table(calls, "p0/call 0.wav,test,a,0.5,0.25", header=header), "x")
    assert (row.id, row.start, row.duration) == ("a", 0.5, 0.25)
    (row,) = read_own(table(calls, "p0/call 0.wav,test,a,0.5,", header=header), "x")
    assert row.duration == 1.0


@pytest.mark.parametrize(
    ("header", "lines", "said"),
    [
        ("file,speaker", ["p0/call 0.wav,ann"], "row 1: column split wanted, found file, speaker; add it"),
        ("path,split", ["p0/call 0.wav,test"], "row 1: unknown column 'path'"),
        ("file,split,speeker", ["p0/call 0.wav,test,x"], "unknown column 'speeker'; did you mean speaker"),
        ("file,split", ["p0/call 0.wav,"], "row 2: wanted split to be filled, found nothing"),
        ("file,split,rate", ["p0/call 0.wav,test,16000"], "p0/call 0.wav has 8000 Hz, the column says 16000; correct"),
        ("file,split", ["gone.wav,test"], "row 2: .*gone.wav cannot be opened"),
        ("file,split", ["calls.csv,test"], "row 2: .*calls.csv is no readable audio"),
        ("file,split", ["../x.wav,test"], "row 2: wanted a path inside the manifest's folder, found '../x.wav'"),
        ("file,split", ["p0/call 0.wav,test", "p0/call 0.wav,test"], "row 3: id p0-call-0 is also row 2; give"),
        ("file,split,start,duration", ["p0/call 0.wav,test,1,1"], "a cut from 1 s of 1 s wanted, .* has 1.50 s"),
        ("file,split,start", ["p0/call 0.wav,test,soon"], "wanted start in seconds, found 'soon'"),
        ("file,split", ["p0/call 0.wav,test,more"], "row 2: wanted 2 fields, found 3; quote commas"),
        ("file,split", [], "has a header and no rows"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(calls: Path, header: str, lines: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read_own(table(calls, *lines, header=header), "x")
    assert "\n" not in str(error.value)


def test_every_bad_row_gets_its_line_up_to_five(calls: Path) -> None:
    (calls / "cut short.wav").write_bytes((calls / "p0" / "call 0.wav").read_bytes()[:30])
    lines = ["cut short.wav,test", *(f"gone{n}.wav,test" for n in range(6))]
    with pytest.raises(UserError) as error:
        read_own(table(calls, *lines, header="file,split"), "x")
    for said in ("row 2: ", "row 3: ", "row 6: ", "and 2 rows more"):
        assert said in str(error.value)


def test_from_the_csv_to_the_score_with_one_stanza(
    tiny: Path, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table(calls, *ROWS)
    monkeypatch.setenv("POST_SUPERB_CORPORA", str(tmp_path / "corpora.yaml"))
    (tmp_path / "corpora.yaml").write_text("corpora:\n  my_calls: {manifest: calls/calls.csv}\n")
    task = yaml.safe_load((tiny / "take.yaml").read_text())
    task["ood"] = [{"name": "calls", "kind": "Z", "shift": "telephone", "rows": [
        {"corpus": "my_calls", "split": "test"}]}]  # fmt: skip
    (tiny / "take.yaml").write_text(json.dumps(task))
    name, runtime = CellName("tiny", "take_ood", "fbank"), Runtime(out=tmp_path / "runs", cache=tmp_path / "cache")
    assert main(["describe", "my_calls", "--suite", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "calls.csv" in said and "rows: 6\n" in said and "columns: file, split, " in said
    assert "  test: 6 rows, " in said and "speakers: " in said
    _, result = run_cell(name, runtime)
    assert result.splits["calls"].kind == "Z" and result.splits["calls"].scored == 6
    table(calls, *[line.replace(",take1,", ",,") for line in ROWS])
    prepared._ready.clear()
    with pytest.raises(UserError, match=r"row p0-call-1: label wanted, found none \(3 such rows\)"):
        run_cell(name, runtime)


def test_an_empty_transcript_is_named(
    tiny: Path, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table(calls, *[line.replace("good morning", "") if "p1" in line else line for line in ROWS])
    monkeypatch.setenv("POST_SUPERB_CORPORA", str(tmp_path / "corpora.yaml"))
    (tmp_path / "corpora.yaml").write_text("corpora:\n  my_calls: {manifest: calls/calls.csv}\n")
    task = yaml.safe_load((tiny / "say.yaml").read_text())
    task["test"] = {"rows": [{"corpus": "my_calls", "split": "test"}]}
    (tiny / "say.yaml").write_text(json.dumps({**task, "ood": []}))
    assert main(["-u", "fbank", "-d", "say", "--suite", "tiny"]) == 2
    assert "row p1-call-0: text wanted, found none (2 such rows); fill it in" in capsys.readouterr().err


def test_silence_is_named_when_it_is_read(calls: Path) -> None:
    from harness import audio

    soundfile.write(calls / "still.wav", np.zeros(8000), 8000)
    (row,) = read_own(table(calls, "still.wav,test", header="file,split"), "x")
    assert length(calls / "still.wav") == (8000, 8000)
    with pytest.raises(UserError, match="still.*silence"):
        audio.read(row)
