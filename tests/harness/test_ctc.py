"""Symbols there and back, the loss against torch's own module, and both ways of decoding."""

import itertools
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from harness import ctc
from harness.ctc import Symbols, greedy, losses, needed_frames
from harness.errors import UserError

settings.register_profile("plain", deadline=None, derandomize=True, database=None)
settings.load_profile("plain")


@pytest.mark.parametrize(("kind", "size"), [("letters", 32), ("phones39", 42), ("superb_phones", 74), ("train", 10)])
def test_sizes_and_blank(kind, size):
    symbols = Symbols(kind, ["BAD FACE"])
    assert (symbols.size, symbols.blank) == (size, 0)
    assert len(set(symbols.symbols)) == symbols.size
    assert symbols.decode(range(symbols.specials)) == ""


def test_the_orders_of_s3prl():
    assert Symbols("letters").symbols[:8] == ("<s>", "<pad>", "</s>", "<unk>", "|", "E", "T", "A")
    assert sorted(ctc.LETTERS) == sorted("|'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert Symbols("superb_phones").symbols[:7] == ("<pad>", "<eos>", "<unk>", "SIL", "SPN", "AA0", "AA1")
    assert ctc.SUPERB_PHONES[2:] == sorted(ctc.SUPERB_PHONES[2:]) and len(ctc.SUPERB_PHONES) == 71
    assert Symbols("train", ["BA C"]).symbols == ("<pad>", "<eos>", "<unk>", " ", "A", "B", "C")


def test_letters_end_each_word_with_a_bar_and_the_target_with_eos():
    symbols = Symbols("letters")
    ids = symbols.encode("HI YOU")
    assert [symbols.symbols[index] for index in ids] == ["H", "I", "|", "Y", "O", "U", "|", "</s>"]
    assert symbols.encode("") == [symbols.eos]


def test_phones_drop_what_parts_the_words():
    symbols = Symbols("phones39")
    ids = symbols.encode("HH AH L OW | W ER L D")
    assert [symbols.symbols[index] for index in ids] == ["HH", "AH", "L", "OW", "W", "ER", "L", "D", "<eos>"]
    assert symbols.decode(ids) == "HH AH L OW W ER L D"


words = st.lists(st.text("ABZ'", min_size=1, max_size=5), max_size=5).map(" ".join)


@given(words, st.sampled_from(["letters", "train"]))
def test_words_there_and_back(text, kind):
    symbols = Symbols(kind, [text + " AB"])
    assert symbols.decode(symbols.encode(text)) == text


@given(st.lists(st.sampled_from(ctc.SUPERB_PHONES), max_size=12).map(" ".join))
def test_phones_there_and_back(text):
    symbols = Symbols("superb_phones")
    assert symbols.decode(symbols.encode(text)) == text


def test_other_scripts_take_their_characters_from_the_training_texts():
    symbols = Symbols("train", ["ПРИВЕТ МИР"])
    assert symbols.size == 3 + len(set("ПРИВЕТ МИР"))
    assert symbols.decode(symbols.encode("МИР ПРИВЕТ")) == "МИР ПРИВЕТ"


@pytest.mark.parametrize(
    ("kind", "reference", "message"),
    [
        ("letters", "CAFÉ", "'É' in 'CAFÉ'"),
        ("letters", "A|B", "'|' in 'A|B'"),
        ("letters", "low", "'l' in 'low'"),
        ("phones39", "HH AH0", "phone of phones39 wanted, found 'AH0'"),
        ("superb_phones", "HH AH", "found 'AH'"),
        ("train", "XYZ", "found 'X'"),
        ("letters", "<unk>", "found '<'"),
        ("phones39", "<eos>", "found '<eos>'"),
    ],
)
def test_an_unknown_symbol_is_named(kind, reference, message):
    with pytest.raises(UserError, match=message.replace("|", "[|]")):
        Symbols(kind, ["ABC"]).encode(reference)


@pytest.mark.parametrize(("kind", "message"), [("words", "unknown kind of symbols"), ("train", "found none")])
def test_symbols_that_cannot_be_made(kind, message):
    with pytest.raises(UserError, match=message):
        Symbols(kind)


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 30, 12, generator=generator)
    return logits, torch.tensor([30, 22, 9, 5]), [[3, 4, 4, 5], [7], [], list(range(1, 11))]


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_that_of_torch_and_so_are_the_gradients(seed):
    logits, frames, targets = example(seed)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    each = losses(ours, frames, targets)
    assert each.shape == (4,)
    each.mean().backward()
    module = torch.nn.CTCLoss(blank=0, zero_infinity=True)
    padded = pad_sequence([torch.tensor(target, dtype=torch.long) for target in targets], batch_first=True)
    sizes = torch.tensor([len(target) for target in targets])
    loss = module(theirs.log_softmax(-1).transpose(0, 1), padded, frames, sizes)
    loss.backward()
    torch.testing.assert_close(each.mean(), loss)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_too_few_frames_cost_nothing_and_teach_nothing():
    logits, frames, targets = example()
    logits.requires_grad_()
    each = losses(logits, frames, targets)
    assert needed_frames(targets[3]) == 10 > frames[3] and needed_frames([4, 4, 5]) == 4
    assert each[3] == 0 and (each[:3] > 0).all()
    each.sum().backward()
    assert (logits.grad[3] == 0).all() and (logits.grad[0] != 0).any()


def test_one_path_by_hand():
    """Two frames, target one symbol: the paths are s-s, s-blank and blank-s."""
    probabilities = torch.tensor([[[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]])
    total = 0.5 * 0.1 + 0.5 * 0.6 + 0.2 * 0.1
    loss = losses(probabilities.log(), torch.tensor([2]), [[1]])
    torch.testing.assert_close(loss, -torch.tensor([total]).log())


def test_all_targets_empty():
    logits = torch.randn(2, 5, 4)
    expected = -logits.log_softmax(-1)[:, :, 0].sum(dim=1)
    torch.testing.assert_close(losses(logits, torch.tensor([5, 5]), [[], []]), expected)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_greedy_merges_repeats_then_drops_blanks(path):
    logits = torch.nn.functional.one_hot(torch.tensor(path), 5).float()
    assert greedy(logits) == [index for index, _ in itertools.groupby(path) if index != 0]


ARPA = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-99\t<s>\t0
-1\t</s>
-1\t<unk>
-0.5\tHELLO\t0
-1.0\tWORLD\t0
-1.0\tWORD\t0
-1.0\tCAFÉ\t0

\\2-grams:
-0.1\t<s> HELLO
-0.1\tHELLO WORLD
-3.0\tHELLO WORD
-0.1\tWORLD </s>

\\end\\
"""


def blurred(symbols):
    """Frames that spell HELLO WOR_D, where the blank in _ is a little likelier than the L."""
    path = list(itertools.chain.from_iterable((index, 0) for index in symbols.encode("HELLO WORLD")))
    scores = torch.full((len(path), symbols.size), -9.0)
    scores[torch.arange(len(path)), path] = 0.0
    at = 2 * symbols.encode("HELLO WORLD").index(symbols.spell("L")[0], 6)
    scores[at, symbols.spell("L")[0]], scores[at, 0] = -0.7, 0.0
    return scores.log_softmax(-1)


@pytest.mark.parametrize("kind", ["letters", "train"])
def test_beam_search_follows_the_language_model(kind, tmp_path):
    pytest.importorskip("flashlight.lib.text.decoder")
    model = tmp_path / "tiny.arpa"
    model.write_text(ARPA, encoding="utf-8")
    symbols = Symbols(kind, ["HELLO WORLD"])
    scores = blurred(symbols)
    assert symbols.decode(greedy(scores)) == "HELLO WORD"
    assert ctc.beam(scores, symbols, lm=model, lm_weight=0.0) == "HELLO WORD"
    assert ctc.beam(scores, symbols, lm=model) == "HELLO WORLD"
    only = tmp_path / "lexicon.txt"
    only.write_text("HELLO\tH E L L O |\nWORD\tW O R D |\n")
    assert ctc.beam(scores, symbols, lm=model, lexicon=only) == "HELLO WORD"


def test_beam_search_says_what_it_lacks(tmp_path, monkeypatch):
    scores = torch.zeros(3, 32)
    with pytest.raises(UserError, match="decode greedily"):
        ctc.beam(torch.zeros(3, 42), Symbols("phones39"), lm=tmp_path / "x")
    with pytest.raises(UserError, match="nowhere.arpa cannot be read"):
        ctc.beam(scores, Symbols("letters"), lm=tmp_path / "nowhere.arpa")
    (tmp_path / "x.arpa").write_text("\\data\\\n")
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    with pytest.raises(UserError, match="pip install flashlight-text"):
        ctc.beam(scores, Symbols("letters"), lm=tmp_path / "x.arpa")


def test_beam_search_refuses_a_file_that_is_no_model(tmp_path):
    pytest.importorskip("flashlight.lib.text.decoder")
    (tmp_path / "words.txt").write_text("HELLO\n")
    with pytest.raises(UserError, match="not a readable n-gram model"):
        ctc.beam(torch.zeros(3, 32), Symbols("letters"), lm=tmp_path / "words.txt")
    (tmp_path / "none.txt").write_text("ПРИВЕТ\n")
    with pytest.raises(UserError, match="found none"):
        ctc.beam(torch.zeros(3, 32), Symbols("letters"), lm=tmp_path / "none.txt")
