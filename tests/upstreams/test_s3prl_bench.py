"""s3prl's own Runner on clips of ours: each task runs, each micro-batch goes through the upstream, nothing is left."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import UserError
from upstreams import s3prl_bench, s3prl_bridge, s3prl_corpora, s3prl_shims, s3prl_standins
from upstreams.s3prl_corpora import RECIPES, Clip

STRIDE = 320


class Counting(torch.nn.Module):
    """An upstream in s3prl's form that counts its calls: two layers of 8 numbers, every 20 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def get_downsample_rates(self, key: str) -> int:
        return STRIDE

    def forward(self, wavs):
        self.batches.append(len(wavs))
        frames = -(-max(len(wave) for wave in wavs) // STRIDE)
        generator = torch.Generator().manual_seed(len(self.batches))
        return {"hidden_states": [torch.randn(len(wavs), frames, 8, generator=generator) for _ in range(2)]}


def clips(number: int, seconds: float) -> list[Clip]:
    generator = np.random.default_rng(0)
    labels = ("yes", "no", "visit")
    return [
        Clip(
            generator.normal(0, 0.1, round(16_000 * seconds) + 160 * index).astype(np.float32),
            f"speaker{index % 3}",
            labels[index % 3],
            "The well-known sea.",
            "DH AH | W EH L N OW N | S IY",
        )
        for index in range(number)
    ]


def narrow(places, batch, workers):
    """ASR with BLSTMs of 8: at 1024 one update takes seconds."""
    given = s3prl_corpora.asr_expert(places, batch, workers)
    assert given["modelrc"]["RNNs"]["dim"] == [1024, 1024]
    given["modelrc"]["RNNs"]["dim"] = [8, 8]
    return given


@pytest.fixture
def counting(monkeypatch) -> Counting:
    upstream = Counting()
    monkeypatch.setattr(s3prl_bridge.hub, "counting", lambda **_: upstream, raising=False)
    return upstream


def theirs() -> list[str]:
    import s3prl

    found = Path(s3prl.__file__).parent.rglob("*")
    return sorted(str(path) for path in found if "__pycache__" not in path.parts)


@pytest.mark.parametrize("task", list(RECIPES))
def test_every_micro_batch_goes_through_the_upstream(task, counting, monkeypatch):
    monkeypatch.setitem(s3prl_corpora.EXPERTS, "asr", narrow)
    threads, modules, before = torch.get_num_threads(), set(sys.modules), theirs()
    warmup = 0 if task == "asv" else 1
    found = s3prl_bench.measure(task, "counting", clips(64, 2.1 if task == "asv" else 0.3), 1, warmup, threads=1)
    # one more call comes from the featurizer, which looks at the upstream's shape
    assert counting.batches[1:] == [RECIPES[task].batch] * (1 + warmup)
    assert (found.micro_batches, found.warmup, found.batch) == (1, warmup, RECIPES[task].batch)
    assert 0 < found.reading < found.mean == found.total == found.median
    assert 0 < found.audio <= found.padded
    assert found.whole == found.median * RECIPES[task].accumulate * RECIPES[task].updates
    assert torch.get_num_threads() == threads and found.threads == 1
    assert theirs() == before
    left = {name for name in set(sys.modules) - modules if getattr(sys.modules[name], "__spec__", None) is None}
    assert not left & {"sox", "librosa", "catalyst", "tensorboardX", "s3prl.downstream.ctc.corpus"}


def test_the_head_learns_when_an_update_is_due(counting, monkeypatch):
    from torch.optim import Adam

    steps = []
    monkeypatch.setattr(Adam, "step", lambda self, closure=None: steps.append(len(counting.batches)))
    s3prl_bench.measure("sid", "counting", clips(9, 0.4), 9, 0)
    # the first call is the featurizer's; four micro-batches make an update; 9 clips make a batch of 8 and one of 1
    assert steps == [5, 9]


def test_a_hugging_face_folder_goes_through_s3prl_itself(hf_folder):
    folder = hf_folder("hubert")
    with pytest.raises(UserError, match="preprocessor_config.json"):
        s3prl_bench.measure("er", str(folder), clips(8, 0.4))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_extractor_type": "Wav2Vec2FeatureExtractor"}))
    found = s3prl_bench.measure("er", str(folder), clips(8, 0.4), 2, 1)
    assert found.micro_batches == 2 and found.median > 0


def test_one_of_our_names_is_known_to_their_runner():
    assert s3prl_bench.measure("er", "fbank", clips(8, 0.4), 1, 0).batch == 4


@pytest.mark.parametrize(
    ("task", "upstream", "given", "message"),
    [
        ("intent", "fbank", clips(4, 0.4), "unknown task of s3prl 'intent'"),
        ("ks", "fbanc", clips(4, 0.4), "did you mean fbank"),
        ("ks", "counting", clips(12, 0.3), "no batch of so few clips"),
        ("asv", "counting", clips(12, 1.0), "10 longer ones wanted, found 0"),
        ("pr", "counting", [clips(1, 0.4)[0]._replace(phones="Q")], "found \\['Q1'\\]"),
        ("pr", "counting", [clips(1, 0.4)[0]._replace(phones="")], "found none"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(task, upstream, given, message, counting):
    with pytest.raises(UserError, match=message):
        s3prl_bench.measure(task, upstream, given)


def test_an_error_of_s3prl_itself_is_one_line(counting):
    counting.get_downsample_rates = lambda key: 100_000
    with pytest.raises(UserError, match=r"^s3prl's ks ended with AssertionError"):
        s3prl_bench.measure("ks", "counting", clips(40, 0.4), 1, 0)


def test_wavlm_is_refused_because_s3prl_would_drop_weights(hf_folder):
    with pytest.raises(UserError, match="hubert or wav2vec2 wanted for s3prl, found 'wavlm'"):
        s3prl_bench.measure("ks", str(hf_folder("wavlm")), clips(4, 0.4))


def test_the_clock_leaves_out_the_warm_up_and_starts_a_further_epoch(monkeypatch):
    ticks = count()
    monkeypatch.setattr(s3prl_bench.time, "perf_counter", lambda: float(next(ticks)))
    batches = [([np.zeros(16_000)], 0), ([np.zeros(8_000), np.zeros(4_000)], 1)]
    clock = s3prl_bench._Clock(batches, 1, 2, iter(range(3)), "cpu")
    seen = []
    with pytest.raises(s3prl_bench._Enough):
        seen.extend(int(other) for _, other in clock)
    assert len(clock.batches) == 3 and len(clock.starts) == 4
    found = s3prl_bench._measured("ks", "counting", clock, "cpu")
    # two readings of the clock a micro-batch, and one more where the epoch ended in between
    assert (found.micro_batches, found.total, found.reading) == (2, 5.0, 1.0)
    assert (found.batch, found.audio, found.padded) == (1.5, 0.875, 1.0)


def test_keywords_fall_into_the_training_part_of_their_split(tmp_path):
    places = s3prl_corpora.speech_commands(clips(12, 0.1), tmp_path)
    with s3prl_standins.stand_ins():
        from s3prl.downstream.speech_commands.expert import split_dataset

        train, dev = split_dataset(places["speech_commands_root"])
    assert len(train) == 12 and dev == []
    assert sorted({label for label, _ in train}) == ["no", "visit", "yes"]


def test_clips_are_written_as_they_are(tmp_path):
    wave = clips(1, 0.1)[0].wave
    s3prl_corpora.write_wave(tmp_path / "a" / "b.wav", wave)
    read, rate = s3prl_shims.load(tmp_path / "a" / "b.wav")
    assert rate == 16_000 and read.shape == (1, len(wave))
    assert float((read[0] - torch.from_numpy(wave)).abs().max()) < 1 / 32_000


def test_symbols_are_those_of_superb():
    assert len(s3prl_corpora.PHONES) == len(set(s3prl_corpora.PHONES)) == 71
    assert len(s3prl_corpora.LETTERS) == len(set(s3prl_corpora.LETTERS)) == 28


def test_phone_transcripts_come_longest_first_in_buckets(tmp_path):
    lines = tmp_path / "train.tsv"
    lines.write_text("a\tS IY\nb\tW EH L\nc\tAH\n")
    tokenizer = type("Tokenizer", (), {"encode": staticmethod(lambda text: text.split())})
    data = s3prl_standins.PhoneTranscripts(str(lines), tokenizer, bucket_size=2)
    assert [[path for path, _ in data[i]] for i in range(len(data))] == [["b", "a"], ["a", "c"], ["a", "c"]]
