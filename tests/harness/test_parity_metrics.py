"""The same predictions through s3prl 0.4.18's own metrics and decoders; and where ours differ on purpose."""

import importlib
import sys
from collections import defaultdict
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from test_metrics_sequences import distance

from harness import metrics
from harness.ctc import LETTERS, Symbols, greedy, losses
from harness.errors import UserError
from harness.metrics_sequences import error_rate
from upstreams import s3prl_shims


@pytest.fixture(scope="module")
def theirs():
    """Imports s3prl's modules, with a stand-in for editdistance where it is not installed."""
    s3prl_shims.install()
    with pytest.MonkeyPatch.context() as patch:
        try:
            importlib.import_module("editdistance")
        except ImportError:
            stand_in = ModuleType("editdistance")
            stand_in.__dict__["eval"] = distance
            patch.setitem(sys.modules, "editdistance", stand_in)
        yield lambda name: importlib.import_module(f"s3prl.{name}")


def sentences(symbols, seed, count=40):
    """References and hypotheses that resemble them, of one to eight words or phones, none empty."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        true = [symbols[index] for index in random.integers(len(symbols), size=random.integers(1, 9))]
        said = [symbols[random.integers(len(symbols))] if random.random() < 0.3 else word for word in true]
        said = [word for word in said if random.random() > 0.15] + ["A"] * int(random.integers(3) == 0)
        pairs.append((" ".join(said or ["A"]), " ".join(true)))
    return [said for said, _ in pairs], [true for _, true in pairs]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("module", ["metric.common", "downstream.ctc.metric"])
def test_error_rates(theirs, module, seed):
    said, true = sentences(["THE", "CAT", "A", "SAT"], seed)
    their = theirs(module)
    assert error_rate(said, true, "word") == pytest.approx(100 * their.wer(said, true))
    assert error_rate(said, true, "char") == pytest.approx(100 * their.cer(said, true))
    said, true = sentences(["HH", "AH", "L", "OW", "W"], seed)
    assert error_rate(said, true, "phone") == pytest.approx(100 * their.per(said, true))


@pytest.mark.parametrize("seed", range(3))
def test_accuracy(theirs, seed):
    random = np.random.default_rng(seed)
    said, true = ([f"c{index}" for index in side] for side in random.integers(4, size=(2, 100)))
    assert metrics.accuracy(said, true) == pytest.approx(100 * theirs("metric.common").accuracy(said, true))


@pytest.mark.parametrize("decimals", [1, 8])
def test_eer_and_min_dcf(theirs, decimals):
    random = np.random.default_rng(decimals)
    targets = random.integers(2, size=400)
    scores = np.round(random.normal(size=400) + 1.2 * targets, decimals)
    common = theirs("metric.common")
    expected = 100 * common.compute_eer(targets.tolist(), scores.tolist())[0]
    assert metrics.eer(scores, targets) == pytest.approx(expected, abs=1e-6)
    assert 100 * theirs("downstream.sv_voxceleb1.utils").EER(targets, scores)[0] == pytest.approx(expected)
    cost = common.compute_minDCF(targets.tolist(), scores.tolist(), p_target=0.05)[0]
    assert metrics.min_dcf(scores, targets, 0.05) == pytest.approx(cost)


@pytest.fixture
def letters(theirs, tmp_path):
    """s3prl's ASR expert as far as decoding goes, on the dictionary it is given as a file."""
    module = theirs("downstream.asr.expert")
    path = tmp_path / "char.dict"
    path.write_text("".join(f"{letter} {1000 - index}\n" for index, letter in enumerate(LETTERS)))
    expert = module.DownstreamExpert.__new__(module.DownstreamExpert)
    torch.nn.Module.__init__(expert)
    expert.dictionary = module.Dictionary.load(str(path))
    expert.blank, expert.decoder = expert.dictionary.bos(), None
    return expert


def test_letters_are_indexed_and_encoded_alike(theirs, letters):
    ours = Symbols("letters")
    assert list(ours.symbols) == letters.dictionary.symbols
    assert (ours.blank, ours.eos) == (letters.dictionary.bos(), letters.dictionary.eos())
    text = "IT'S A QUIZ"
    line = " ".join(text.replace(" ", "|")) + " |"
    assert ours.encode(text) == letters.dictionary.encode_line(line, line_tokenizer=str.split).tolist()


def test_letters_are_decoded_and_scored_alike(letters):
    ours = Symbols("letters")
    generator = torch.Generator().manual_seed(0)
    frames = torch.tensor([60, 45, 30])
    logits = torch.randn(3, 60, ours.size, generator=generator)
    logits[..., [1, 3]] -= 100.0  # s3prl spells out <pad> and <unk> where they win; ours drops all specials
    logits[..., 4] += 1.0
    tokens, words = letters._decode(logits.log_softmax(-1), frames)
    said = [ours.decode(greedy(one[:count])) for one, count in zip(logits, frames, strict=True)]
    assert said == [" ".join(one) for one in words] and any(" " in one for one in said)
    true = ["THE CAT SAT", "HELLO", "A B C D E"]
    _, wer = letters._compute_metrics(tokens, words, tokens, [one.split() for one in true])
    assert error_rate(said, true, "word") == pytest.approx(wer)


def test_phones_are_indexed_decoded_and_scored_alike(theirs, tmp_path):
    ours = Symbols("superb_phones")
    path = tmp_path / "phoneme.txt"
    path.write_text("\n".join(ours.symbols[3:]) + "\n")
    tokenizer = theirs("downstream.ctc.text").WordTextEncoder.load_from_file(str(path))
    assert (tokenizer.vocab_size, tokenizer.pad_idx, tokenizer.eos_idx) == (ours.size, ours.blank, ours.eos)
    assert list(ours.symbols[3:]) == theirs("dataio.encoder.tokenizer").PHONEME_VOCAB
    text = "HH AH0 L OW1 W ER1 L D"
    assert ours.encode(text) == tokenizer.encode(text)
    logits = torch.randn(50, ours.size, generator=torch.Generator().manual_seed(1))
    logits[:, 2] -= 100.0  # s3prl says <unk> where it wins; ours drops it
    best = logits.argmax(dim=-1).unique_consecutive().tolist()
    kept = [index for index in best if index not in (tokenizer.pad_idx, tokenizer.eos_idx)]
    assert ours.decode(greedy(logits)) == tokenizer.decode(kept)


def test_the_loss_of_a_batch_is_s3prls(letters):
    """`nn.CTCLoss` with the blank and zero_infinity that s3prl gives it; labels padded with its pad."""
    ours = Symbols("letters")
    targets = [ours.encode(text) for text in ("HELLO WORLD", "A", "THIS IS TOO LONG FOR IT")]
    logits = torch.randn(3, 20, ours.size, generator=torch.Generator().manual_seed(2))
    frames = torch.tensor([20, 12, 9])
    padded = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(target) for target in targets], batch_first=True, padding_value=letters.dictionary.pad()
    )
    objective = torch.nn.CTCLoss(blank=letters.blank, zero_infinity=True)
    expected = objective(
        logits.log_softmax(-1).transpose(0, 1), padded, frames, torch.tensor([len(one) for one in targets])
    )
    torch.testing.assert_close(losses(logits, frames, targets).mean(), expected)


# Where ours differ on purpose.


def table(references):
    return pd.DataFrame({"id": list(references), "reference": list(references.values()), "speaker": "anna"})


def test_s3prls_dev_score_is_of_the_test_trials(theirs, tmp_path, monkeypatch):
    """sv_voxceleb1 reads test's pairs whatever the split; ours wants the predictions of exactly the split's ids."""
    reader = ModuleType("dataset")  # the real one wants SoX and librosa
    reader.__dict__.update(SpeakerVerifi_train=object, SpeakerVerifi_test=object)
    monkeypatch.setitem(sys.modules, "s3prl.downstream.sv_voxceleb1.dataset", reader)
    module = theirs("downstream.sv_voxceleb1.expert")
    sys.modules.pop(module.__name__)  # it holds the stand-in: whoever wants s3prl's own imports it anew
    pairs = [(1, "a", "a2"), (0, "a", "b"), (1, "b", "b2"), (0, "b", "c")]
    records = defaultdict(list)
    for number, name in enumerate(("a", "a2", "b", "b2", "c")):
        records[name] = torch.eye(3)[number // 2]
    found = {}
    expert = SimpleNamespace(
        test_dataset=SimpleNamespace(pair_table=pairs),
        score_fn=torch.nn.CosineSimilarity(dim=-1),
        eval_metric=module.EER,
        best_score=torch.ones(1) * 100,
        expdir=tmp_path,
    )
    logger = SimpleNamespace(add_scalar=lambda name, value, global_step: found.update({name: value}))
    saved = module.DownstreamExpert.log_records(expert, "dev", records, logger, 0)
    assert found == {"sv-voxceleb1/dev-EER": pytest.approx(0.0, abs=1e-9)} and saved == ["dev-best.ckpt"]
    assert records["never encoded"] == [], "an utterance without an embedding is there all the same"
    dev = table({"dev1": "1", "dev2": "0"}).assign(speaker2=["anna", "bob"])
    with pytest.raises(UserError, match="no prediction for 'dev1'"):
        metrics.score("verification", {name: {"id": name, "score": 1.0} for name in ("t1", "t2")}, dev)


def test_s3prl_matches_by_position(theirs):
    """Lists in another order score differently there; ours are joined on the id."""
    true = {"u1": "yes", "u2": "no", "u3": "up"}
    assert theirs("metric.common").accuracy(list(true.values()), list(reversed(true.values()))) == pytest.approx(1 / 3)
    mixed = {key: {"id": key, "label": true[key]} for key in reversed(true)}
    assert metrics.score("classification", mixed, table(true))["accuracy"] == 100.0


def test_s3prl_drops_the_last_batch_of_one(theirs, tmp_path):
    """Three utterances in batches of two make two scored ones there; ours refuses to score two of three."""
    module = theirs("downstream.asr.dataset")
    names = ["7-8-0001", "7-8-0002", "7-8-0003"]
    folder = tmp_path / "test" / "7" / "8"
    folder.mkdir(parents=True)
    (folder / "7-8.trans.txt").write_text("".join(f"{name} HELLO WORLD\n" for name in names))
    (tmp_path / "test.csv").write_text("file_path,length\n" + "".join(f"test/7/8/{name}.flac,1000\n" for name in names))
    dictionary = theirs("downstream.asr.dictionary").Dictionary()
    found = module.SequenceDataset("test", 2, dictionary, str(tmp_path), str(tmp_path), test=["test"])
    assert sum(len(batch) for batch in found.X) == 2 and len(found.Y) == 3
    kept = {name: {"id": name, "text": "HELLO WORLD"} for name in names[:2]}
    with pytest.raises(UserError, match="no prediction for '7-8-0003'"):
        metrics.score("words", kept, table(dict.fromkeys(names, "HELLO WORLD")))


def test_s3prl_counts_an_empty_reference_as_a_word(theirs):
    """"".split(" ") is one empty word there, so its length is 1; ours is 0, and an insertion is one."""
    said, true = ["", "A", "ONE TWO"], ["", "", "ONE TWO"]
    assert theirs("metric.common").wer(said, true) == pytest.approx(1 / 4)
    assert error_rate(said, true, "word") == pytest.approx(100 * 1 / 2)
