"""The bench: what is computed from what, our side on the tiny suite, both sides together, and what the user reads."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch

from harness import bench, bench_ours
from harness.bench import CORPORA, Corpus, duration, on_corpus, on_mini
from harness.bench_ours import GRID, Ours, Settings, Timed
from harness.errors import UserError
from harness.features import Features
from upstreams.s3prl_bench import Measured

TINY = Settings("take", "fbank", suite="tiny", preset="tiny")

THEIRS = Measured(
    task="sid",
    upstream="fbank",
    median=2.0,
    mean=2.2,
    total=6.6,
    reading=0.1,
    cpu=2.0,
    micro_batches=3,
    warmup=1,
    accumulate=4,
    batch=8.0,
    audio=24.0,
    padded=32.0,
    updates=1000,
    memory_mb=500.0,
    threads=1,
    device="cpu",
    what="",
)
OURS = Ours(
    task="sid",
    head="pooled_linear",
    clips=100,
    dev_clips=10,
    audio=400.0,
    encode=40.0,
    encode_cpu=40.0,
    encode_dev=4.0,
    encode_dev_cpu=4.0,
    one=Timed(1000, 0.01, 11.0, 11.0),
    grid=Timed(50, 0.02, 1.0, 1.0),
    scoring=0.5,
    scoring_cpu=0.5,
    scorings=4,
    updates=1000,
    training=11.0,
    reads="blocks",
    bytes_a_second=0.0,
    memory_mb=300.0,
    threads=1,
    device="cpu",
)


def test_a_whole_training_that_ran_is_what_it_took():
    row = on_mini(THEIRS, OURS)
    assert (row.their_update, row.theirs) == (8.0, 8000.0)
    assert row.measured and row.ours == pytest.approx(40 + 4 + 11)
    # five rates: features once, 1000 updates of 0.02 s, four scorings of dev for each of the five
    assert row.ours_grid == pytest.approx(40 + 4 + 1000 * 0.02 + 4 * 0.5 * 5)
    assert row.ratio == pytest.approx(8000 / 55) and row.ratio_grid == pytest.approx(5 * 8000 / 74)


def test_a_training_cut_short_is_computed_from_its_updates():
    row = on_mini(THEIRS, replace(OURS, training=None))
    assert not row.measured and row.ours == pytest.approx(40 + 4 + 1000 * 0.01 + 4 * 0.5)


def test_on_a_corpus_audio_grows_and_a_pooled_update_does_not():
    corpus = Corpus("made up", clips=1000, seconds=10.0, crop=8.0)
    row = on_corpus(THEIRS, OURS, corpus)
    # 8 clips of at most 8 s are twice the 32 s measured; ours encodes 10,000 s, whole, at 0.1 s a second
    assert (row.their_update, row.theirs) == (16.0, 16_000.0)
    assert row.ours == pytest.approx(1000 + 1000 * 0.01) and row.ours_grid == pytest.approx(1000 + 1000 * 0.02)
    assert not row.measured


def test_on_a_corpus_a_frame_head_grows_with_the_frames_it_reads():
    corpus = Corpus("made up", clips=1000, seconds=10.0, crop=8.0)
    row = on_corpus(THEIRS, replace(OURS, reads="frames"), corpus)
    assert row.ours == pytest.approx(1000 + 1000 * 0.01 * 8 / 4)  # mini's clips are 4 s
    long = replace(OURS, reads="frames", audio=1200.0)  # 12 s, of which 8 are read
    assert on_corpus(THEIRS, long, corpus).ours == pytest.approx(40 / 1200 * 10_000 + 1000 * 0.01)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12.3 ms"), (5, "5.0 s"), (150, "2.5 min"), (9000, "2.5 h"), (864_000, "10.0 d")],
)
def test_durations_are_read_in_their_own_unit(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """The number of clips in each pass of an encoder."""
    seen: list[int] = []
    real = Features._pass
    monkeypatch.setattr(Features, "_pass", lambda self, group: seen.append(len(group)) or real(self, group))
    return seen


def test_our_whole_training_encodes_once_and_scores_dev_as_the_plan_says(tiny, passes, monkeypatch):
    from downstreams.utterance import PooledLinear

    scored = []
    real = PooledLinear.dev
    monkeypatch.setattr(PooledLinear, "dev", lambda self, *given: scored.append(1) or real(self, *given))
    found = bench_ours.measure(TINY)
    assert sum(passes) == found.clips + found.dev_clips == 18
    assert (found.head, found.reads, found.bytes_a_second) == ("pooled_linear", "means", 0.0)
    assert found.audio == pytest.approx(9 * 0.6)
    assert (found.updates, found.one.updates, found.grid.updates, found.scorings) == (6, 6, 6, 3)
    assert len(scored) == 3 + 2  # 6 updates, every 2; the last two are `scoring`, a first time and the timed one
    assert found.training == found.one.total > 0
    assert found.whole == pytest.approx(found.encode + found.encode_dev + found.training)
    features = found.encode + found.encode_dev
    assert found.whole_grid == pytest.approx(features + 6 * found.grid.update + 3 * 5 * found.scoring)


def test_updates_and_clips_can_be_cut(tiny, passes):
    found = bench_ours.measure(replace(TINY, updates=2, clips=4))
    assert (found.one.updates, found.grid.updates, found.clips, found.training) == (2, 2, 4, None)
    assert sum(passes) == 4 + found.dev_clips
    features = found.encode + found.encode_dev
    assert found.whole == pytest.approx(features + 6 * found.one.update + 3 * found.scoring)


def test_a_frame_head_is_timed_over_some_updates(tiny, monkeypatch):
    monkeypatch.setitem(bench_ours.SOME, "say", 3)
    monkeypatch.setitem(bench_ours.GRID_UPDATES, "say", 2)
    found = bench_ours.measure(replace(TINY, task="say"))
    assert (found.head, found.reads, found.training) == ("conv_ctc", "frames", None)
    assert (found.one.updates, found.grid.updates, found.updates) == (3, 2, 6)
    assert found.bytes_a_second == 100 * 240 * 2  # fbank: 240 numbers every 10 ms, in half precision


def test_a_trial_that_diverges_is_not_timed(tiny, monkeypatch):
    monkeypatch.setattr(bench_ours, "ONE", (1e38,))
    with pytest.raises(UserError, match="take: a timed trial diverged"):
        bench_ours.measure(TINY)


def test_every_rate_of_the_grid_is_trained(tiny, monkeypatch):
    from harness.train import fit

    seen = []
    monkeypatch.setattr(bench_ours, "fit", lambda *given, **named: seen.append(len(given[1])) or fit(*given, **named))
    bench_ours.measure(replace(TINY, updates=1))
    assert seen == [1, len(GRID)] == [1, bench.RATES]


def test_s3prl_gets_the_same_clips_with_the_front_end_applied(tiny, monkeypatch):
    from tasks import catalogue

    plain = bench_ours.clips(TINY)
    assert [clip[1:3] for clip in plain[:2]] == [("p00", "take0"), ("p00", "take1")]

    class Half:
        def apply(self, wave, utterance_id):
            return wave / 2

    monkeypatch.setattr(catalogue, "condition", lambda task, split: Half())
    halved = bench_ours.clips(replace(TINY, clips=3))
    assert [clip[1:3] for clip in halved] == [("p00", "take0"), ("p01", "take0"), ("p02", "take0")]
    assert halved[0][0] == pytest.approx(plain[0][0] / 2)


def test_speaker_identification_has_as_many_classes_as_superb(tiny):
    from downstreams.catalogue import HEADS

    _, train, _ = bench_ours.training_set(TINY)
    larger = bench_ours._with_speakers(train, 1_251)
    assert len(set(larger.references.values())) == 1_251
    assert larger.utterances is train.utterances
    source = type("Source", (), {"num_layers": 2, "dim": 4})()
    learner = HEADS.load("pooled_linear")({"batch": 4}).learner(source, larger, [bench_ours.TrialSpec(1e-4, 0)])
    assert learner.state(0)["linear.weight"].shape == (1_251, 256)


def test_the_encoder_can_run_in_half_the_bits():
    linear = torch.nn.Linear(64, 8)

    def layers(waves):
        with torch.no_grad():
            return [linear(wave) for wave in waves]

    wave = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert bench_ours.in_precision(layers, "fp32", "cpu") is layers
    (exact,), (half,) = layers([wave]), bench_ours.in_precision(layers, "bf16", "cpu")([wave])
    assert half.dtype == torch.float32
    assert 0 < float((half - exact).abs().max()) < 0.05


# -- both sides and the command line ----------------------------------------------------------------------------------


def test_a_side_has_a_process_of_its_own_and_its_errors_come_back():
    assert bench._apart("os:getpid") != os.getpid()
    with pytest.raises(UserError, match="whole numbers with commas wanted, found 'x'"):
        bench._apart("harness.shell:seeds", "x")


def test_a_side_that_is_killed_is_said():
    with pytest.raises(UserError, match="os:_exit was killed"):
        bench._apart("os:_exit", 9)


@pytest.fixture
def here(monkeypatch) -> None:
    """Both sides in this process, on little."""
    monkeypatch.setattr(bench, "_apart", bench._call)


def test_both_sides_are_timed_and_told(tiny, here, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_ours.Settings, "__init__", _tiny(bench_ours.Settings.__init__))
    monkeypatch.setitem(CORPORA, "take", CORPORA["er"])
    theirs = bench._call

    def apart(target, *given):
        return theirs(target, "er", *given[1:]) if target == bench.THEIRS else theirs(target, *given)

    monkeypatch.setattr(bench, "_apart", apart)
    out = tmp_path / "bench.json"
    options = ["--vs", "s3prl", "--tasks", "take", "-u", "fbank", "--micro-batches", "2", "--json", str(out)]
    assert bench.main(options) == 0
    text = capsys.readouterr().out
    mini, corpus = [line for line in text.splitlines() if line.startswith("take ")]
    assert " measured " in mini and " computed " in mini and mini.count("x") == 2
    assert "IEMOCAP, one fold" in corpus and "measured" not in corpus
    assert "s3prl 2 micro-batches of 3.5 clips" in text and "all 6 updates run, dev scored 3 times" in text
    assert "5 rates: 6 updates timed" in text and "Machine: " in text and "threads: " in text
    kept = json.loads(out.read_text())
    assert [row["data"] for row in kept["rows"]] == ["mini", "IEMOCAP, one fold"]
    assert kept["rows"][0]["theirs"] == pytest.approx(kept["s3prl"][0]["median"] * 8 * 30_000)
    assert kept["ours"][0]["clips"] == 9 and kept["s3prl"][0]["micro_batches"] == 2


def _tiny(real):
    def initialise(self, *given, **named):
        real(self, *given, **named, suite="tiny", preset="tiny")

    return initialise


def test_a_task_that_fails_is_said_and_leaves_the_others(here, monkeypatch, capsys):
    def apart(target, task, *given):
        if task == "ks":
            raise UserError("no clips")
        return THEIRS if target == bench.THEIRS else OURS

    monkeypatch.setattr(bench, "_apart", apart)
    monkeypatch.setattr(bench_ours, "clips", lambda settings: [])
    options = ["--vs", "s3prl", "-u", "fbank", "--tasks"]
    assert bench.main([*options, "ks,sid"]) == 2
    told = capsys.readouterr()
    assert "error: ks: no clips\n" in told.err and "error: 1 of 2 tasks failed" in told.err
    assert "sid     mini" in told.out and "Traceback" not in told.err
    assert bench.main([*options, "ks"]) == 2
    assert "error: none of 1 tasks could be timed" in capsys.readouterr().err


def test_other_work_on_the_machine_is_told():
    busy = replace(THEIRS, mean=5.0, cpu=2.0)
    told = bench.words([(busy, OURS)], "fbank", "fp32")
    assert "up to 2.5 s for a second's: time it again" in told
    # 2.0 x 4 x 1000 s against 40 + 4 + 11; five rates: against 40 + 4 + 1000 x 1/50 + 4 x 5 x 0.5
    assert "1 rate and 5 rates on mini: sid 145x and 541x" in told
    assert "a second's" not in bench.words([(THEIRS, OURS)], "fbank", "fp32")


def test_the_processor_has_its_own_seconds():
    cut = replace(OURS, training=None, encode_cpu=20.0, encode_dev_cpu=2.0, scoring_cpu=0.25)
    row = on_mini(*bench.by_processor(replace(THEIRS, cpu=1.0), cut))
    assert row.theirs == 4000.0
    assert row.ours == pytest.approx(20 + 2 + 1000 * 11 / 1000 + 4 * 0.25)


def test_the_disk_that_frames_take_is_told():
    frames = replace(OURS, task="pr", reads="frames", bytes_a_second=1_000_000.0)
    assert "its frames take 362 GB of disk" in bench.words([(THEIRS, frames)], "fbank", "fp32")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tasks", "ks"], "--vs"),
        (["--vs", "s3prl", "--tasks", "kz"], "unknown task 'kz'; did you mean ks"),
        (["--vs", "s3prl", "--tasks", ","], "a task wanted"),
        (["--vs", "s3prl", "--micro-batches", "0"], "a whole number from 1 wanted, found '0'"),
        (["--vs", "s3prl", "--json", "no/such/folder/o.json"], "the folder does not exist"),
        (["--vs", "s3prl", "--device", "tpu"], "cannot be used here"),
        (["--vs", "s3prl", "--update", "3"], "unknown option --update; did you mean --updates"),
    ],
)
def test_a_wrong_command_is_one_line(argv, message, capsys):
    assert bench.main(argv) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: ") and message in line and len(line.splitlines()) == 1
