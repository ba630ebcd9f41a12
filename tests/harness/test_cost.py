"""What an upstream costs: what is counted, in what order things are measured, and which data count as its training."""

import argparse
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from harness import cost, cost_data, cost_training
from harness.cost_record import Overlap, Training, file_of, key, load, save
from harness.errors import UserError
from harness.paths import ROOT
from harness.shell import without_out
from upstreams.checkpoints import KEY
from upstreams.vib.posttrain import Recipe

VIB = ROOT / "upstreams" / "vib" / "weights" / "whisper_tiny"


def test_multiply_adds_are_those_of_the_products():
    linear = torch.nn.Linear(30, 7)
    convolution = torch.nn.Conv1d(3, 5, 4)
    query = torch.randn(1, 2, 11, 8)
    with torch.no_grad():
        assert cost._multiply_adds(lambda: linear(torch.randn(13, 30))) == 13 * 30 * 7
        assert cost._multiply_adds(lambda: convolution(torch.randn(1, 3, 20))) == 17 * 5 * 3 * 4
        attention = torch.nn.functional.scaled_dot_product_attention
        assert cost._multiply_adds(lambda: attention(query, query, query)) == 2 * (2 * 11 * 11 * 8)
        assert cost._multiply_adds(lambda: torch.fft.rfft(torch.randn(64))) == 0


def test_two_take_turns_and_the_smallest_counts(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(cost.time, "process_time", lambda: clock[0])

    def work(name, seconds):
        def run():
            calls.append(name)
            # the first repeats are slow, and one more in the middle
            clock[0] += seconds * (9 if len(calls) in (1, 2, 3, 4, 9, 10) else 1)

        return run

    assert cost._times(work("whole", 3.0), work("alone", 2.0), on_gpu=False) == (pytest.approx(3), pytest.approx(1.5))
    assert calls == ["whole", "alone"] * (cost.WARM_UP + cost.REPEATS)
    assert cost._times(work("whole", 3.0), None, on_gpu=False)[1] is None


def test_arguments():
    argv = ["-u", "a,b", "--device", "cpu", "--out", "x", "--upstream=c"]
    assert [part for at, part in enumerate(argv) if not cost._is_names(argv, at)] == ["--device", "cpu", "--out", "x"]
    assert without_out([*argv, "--out=y"]) == ["-u", "a,b", "--device", "cpu", "--upstream=c"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-u", "../x"], "names of upstreams with commas wanted, found '../x'"),
        (["-u", ","], "names of upstreams"),
        (["-u", "fbank", "--seconds", "0"], "a number from 0.1 to 3600 wanted, found '0'"),
        (["-u", "fbank", "--updates", "-3"], "--updates: a whole number from 0 to 10000 wanted, found '-3'"),
        (["-u", "fbank,mfcc", "--checkpoint", "x"], "--checkpoint is of one upstream, found 2"),
        (["-u", "no_such_upstream", "--device", "cpu"], "no_such_upstream"),
    ],
)
def test_complaints_are_one_line(argv, message, capsys):
    assert cost.main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and message in said


def test_a_record_is_written_and_read(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    args = argparse.Namespace(device="cpu", folder=None, checkpoint=None, seconds=1.0, out=tmp_path)
    try:
        record = cost.measure("fbank", args, ["-u", "fbank", "--out", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    path = save(tmp_path, record)
    assert path == file_of(tmp_path, "fbank") and load(path) == record
    assert record.encoding.time_ratio is None and record.training is None and record.overlaps is None
    assert record.encoding.real_time_factor > 0 and record.encoding.peak_memory_mb >= record.encoding.idle_memory_mb > 0
    # the mel filters alone: 80 x 201 for each of 100 frames
    assert record.encoding.macs_per_second >= 100 * 80 * 201
    assert str(tmp_path) not in path.read_text() and record.provenance.command == "python harness/cost.py -u fbank"
    assert file_of(tmp_path, "s3prl:wavlm").name == "s3prl_wavlm.json"
    path.write_text("[]")
    with pytest.raises(UserError, match="fbank.json is no record of harness/cost.py"):
        load(path)


def upstream(*paths):
    return SimpleNamespace(sources=[(None, path) for path in paths])


def card(*corpora, family="vib"):
    return {"family": family, "trained_on": [{"corpus": corpus, "labels": "text"} for corpus in corpora]}


@pytest.fixture(scope="module")
def learnt():
    """Of the speaker stage: its own data, and those of the text stage that it was conditioned on."""
    speaker = VIB / "acoustic_speaker_seed0.safetensors"
    return cost_data.training(upstream(speaker), card("kokoro_crossed", "kokoro_read"))


def test_every_stage_counts_and_dev_rows_do_not(learnt):
    found = learnt.described()
    assert found.data == ["mini/vib_speaker version 1", "mini/vib_text version 1"]
    assert {row.split for row in learnt.trained if row.corpus == "kokoro_read"} == {"train"}
    assert found.clips == len(learnt.trained) < len(learnt.rows) and 0 < found.hours < 2
    assert found.speakers == len({row.speaker for row in learnt.trained})


def test_what_the_tests_share_with_it(learnt):
    shared = cost_data.overlaps(learnt)
    by_split = {tuple(name.split("/")[1:3]): found for name, found in shared.items()}
    # pr and asr hold out voices and sentences of the corpus whose training rows VIB's text stage has
    assert by_split["pr", "test"] == by_split["asr", "test"] == Overlap()
    assert by_split["asv", "test"] == by_split["ks", "test"] == Overlap()
    # sid tests voices that it knows, on other words than its own training: some of these clips VIB was trained on
    sid = by_split["sid", "test"]
    assert sid.speakers[0] > 0 and sid.recordings[0] > 0 and sid.recordings[1] == 185
    assert set(shared) >= {name for name in shared if name.startswith("mini/sid/crop_1s/")}


def test_a_clip_of_silence_has_nobody_to_share(learnt):
    row = learnt.trained[0]
    silence = replace(row, speaker="-")
    assert cost_data._kinds([row, silence])[0] == {row.speaker} and not cost_data._kinds([silence])[0]
    assert replace(learnt, trained=[row, silence]).described().speakers == 1


def test_what_was_not_trained_or_cannot_be_known(tmp_path, learnt):
    speaker = VIB / "acoustic_speaker_seed0.safetensors"
    both = card("kokoro_crossed", "kokoro_read")
    assert cost_data.training(upstream(speaker), both) is not None
    assert cost_data.training(upstream(speaker), card()) is None
    # families that train nothing here
    for family in ("backbones", "random_projection"):
        assert cost_data.training(upstream(speaker), card("kokoro_crossed", family=family)) is None
    assert cost_data.training(SimpleNamespace(), card("kokoro_crossed")) is None
    # the card names a corpus that the checkpoints do not lead to
    assert cost_data.training(upstream(speaker), card("kokoro_crossed", "kokoro_read", "another")) is None
    # nor are they those of another family
    assert cost_data.training(upstream(speaker), both | {"family": "icl"}) is None
    text, _ = Recipe.checkpoint.read(speaker)
    other = tmp_path / "seed0.safetensors"

    def made_otherwise(**change):
        save_file({"x": torch.zeros(1)}, str(other), {KEY: json.dumps(json.loads(text) | change)})
        return cost_data.training(upstream(other), both)

    found = made_otherwise()
    assert found.described() == learnt.described() and found.stages[1].path == VIB / "text_seed0.safetensors"
    assert made_otherwise(data_hash="0" * 64) is None and made_otherwise(data="mini/nowhere version 1") is None
    # of two parts one that is not there; no data, as of a file that was converted
    assert made_otherwise(data="mini/vib_speaker version 1, mini/nowhere version 1") is None
    assert made_otherwise(data="", data_hash="") is None
    # conditioned on a stage 1 that is no longer to be found
    assert made_otherwise(text_sha256="0" * 64) is None
    other.write_bytes(b"no checkpoint")
    assert cost_data.training(upstream(other), both) is None
    assert cost_data.training(upstream(tmp_path / "nowhere"), both) is None


def test_a_recipe_is_set_up_as_it_was(learnt):
    speaker, text = (stage.recipe for stage in learnt.stages)
    assert (speaker.settings.target, text.settings.stage) == ("speaker", "text")
    for stage in learnt.stages:
        assert stage.recipe.settings.hash == Recipe.checkpoint.load(stage.path).meta.recipe_hash
    assert speaker.text == VIB / "text_seed0.safetensors"


@pytest.fixture
def measured(monkeypatch, learnt):
    """(updates) -> the record's training of the speaker stage, with nothing encoded and nothing trained."""
    given = []

    def took(family, stages, count, clock, encoding, **place):
        given.append((family, len(stages), count, encoding, place["folder"]))
        return cost_training.Took(83.46, 3340, 2 * count)

    monkeypatch.setattr(cost_training, "time_training", took)
    monkeypatch.setattr(cost, "_multiply_adds", lambda work: 10.0)
    # 10 s of audio in 0.3 s, by the backbone alone in 0.2 s
    monkeypatch.setattr(cost, "_times", lambda *_: (0.3, 1.5))
    monkeypatch.setattr("harness.cost_data.training", lambda *_: learnt)
    monkeypatch.setattr("harness.cost_data.overlaps", lambda *_: {})
    threads = torch.get_num_threads()

    def make(updates):
        args = argparse.Namespace(device="cpu", folder=None, checkpoint=None, seconds=10.0, updates=updates)
        return cost.measure("vib_acoustic_speaker", args, []).training

    yield make, given
    torch.set_num_threads(threads)


def test_the_time_of_a_post_training_is_in_the_record(measured, learnt, tmp_path, monkeypatch, capsys):
    make, given = measured
    found = make(12)
    assert given == [("vib", 2, 12, pytest.approx(0.02), None)]
    assert (found.seconds, found.updates, found.timed_updates) == (83.5, 3340, 24)
    plain = found.model_copy(update={"seconds": None, "updates": None, "timed_updates": None})
    assert make(0) == plain == learnt.described() and len(given) == 1

    def cannot(*_, **__):
        raise UserError("peft is missing")

    monkeypatch.setattr("harness.cost_training.time_training", cannot)
    assert make(3) == plain
    assert "the time of its post-training is not measured: peft is missing" in capsys.readouterr().err


def test_a_record_without_the_time_still_loads():
    said = {"data": ["d"], "checkpoints": ["c"], "clips": 9, "hours": 0.25, "speakers": 3, "sentences": 4}
    made = Training.model_validate(said)
    assert made.seconds is None and made.timed_updates is None


def test_key():
    assert key("mini", "asv", "test", "a" * 64) == "mini/asv/test/" + "a" * 16
