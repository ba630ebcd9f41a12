"""Connectionist temporal classification: the symbols, the loss and the decoding that recognition heads share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import UserError
from harness.metrics_sequences import BETWEEN_WORDS

PHONES_39 = [
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH"),
    *("K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"),
]
"""Those of the CMU pronouncing dictionary, without stress."""
_STRESSED = ([phone + stress for stress in "012"] if phone[0] in "AEIOU" else [phone] for phone in PHONES_39)
SUPERB_PHONES = ["SIL", "SPN", *itertools.chain.from_iterable(_STRESSED)]
"""The 71 of SUPERB's phone recognition, in the order of s3prl's `downstream/ctc/vocab/phoneme.txt`."""
LETTERS = list("|ETAOINHSRDLUMCWFGYPBVK'XJQZ")
"""The 28 of SUPERB's speech recognition, in the order of s3prl's `downstream/asr/char.dict` (by frequency)."""
END_OF_WORD = LETTERS[0]

_FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>"]
_S3PRL = ["<pad>", "<eos>", "<unk>"]
KINDS = ("letters", "phones39", "superb_phones", "train")


class Symbols:
    """What a recognition head puts out, and how references become targets. The blank is index 0, the first special.

    "letters"        s3prl's ASR: fairseq's 4 specials, | A-Z ' (32); a | after every word
    "phones39"       3 specials and the 39 CMU phones (42)
    "superb_phones"  s3prl's PR: 3 specials and 71 phones with stress (74)
    "train"          3 specials and the sorted characters of `texts`, the space among them, for any language

    Every target ends with the end-of-sentence special, as s3prl's do, which decoding drops. Raises UserError for an
    unknown kind, and for "train" without texts."""

    blank = 0

    def __init__(self, kind: str, texts: Iterable[str] = ()):
        if kind not in KINDS:
            raise UserError(f"unknown kind of symbols {kind!r}: one of {', '.join(KINDS)} wanted")
        self.kind = kind
        specials, self.eos = (_FAIRSEQ, 2) if kind == "letters" else (_S3PRL, 1)
        characters = sorted({char for text in texts for char in text}) if kind == "train" else []
        if kind == "train" and not characters:
            raise UserError("training texts to take the characters from wanted, found none; check the train split")
        named = {"letters": LETTERS, "phones39": PHONES_39, "superb_phones": SUPERB_PHONES, "train": characters}
        self.specials = len(specials)
        self.symbols: tuple[str, ...] = (*specials, *named[kind])
        self._index = {symbol: index for index, symbol in enumerate(self.symbols) if index >= self.specials}

    @property
    def size(self) -> int:
        return len(self.symbols)

    @property
    def phones(self) -> bool:
        return self.kind in ("phones39", "superb_phones")

    @property
    def separator(self) -> str:
        """The symbol that parts words. Phones have none."""
        return END_OF_WORD if self.kind == "letters" else " "

    def spell(self, word: str) -> list[int]:
        """The symbols of one word, or of one phone, and nothing after it. Raises UserError naming an unknown one."""
        parts = [word] if self.phones else list(word)
        for part in parts:
            if part not in self._index or (part == self.separator and not self.phones):
                what = "phone" if self.phones else "letter"
                raise UserError(f"a {what} of {self.kind} wanted, found {part!r} in {word!r}; repair the reference")
        return [self._index[part] for part in parts]

    def encode(self, reference: str) -> list[int]:
        """The target of a reference (normalised words, or phones with " | " between words), end-of-sentence appended.

        Raises UserError naming a letter or phone that is no symbol: a training target would silently lack it."""
        words = [word for word in reference.split() if not (self.phones and word == BETWEEN_WORDS)]
        spelt = [self.spell(word) for word in words]
        if self.kind == "letters":
            spelt = [[*word, self._index[END_OF_WORD]] for word in spelt]
        elif self.kind == "train":
            spelt = [([self._index[" "]] if at else []) + word for at, word in enumerate(spelt)]
        return [*itertools.chain.from_iterable(spelt), self.eos]

    def decode(self, ids: Iterable[int]) -> str:
        """Words with single spaces between them, or phones so; specials are dropped."""
        found = [self.symbols[index] for index in ids if index >= self.specials]
        text = " ".join(found) if self.phones else "".join(found).replace(self.separator, " ")
        return " ".join(text.split())


def losses(logits: Tensor, frames: Tensor, targets: Sequence[Sequence[int]], blank: int = 0) -> Tensor:
    """The CTC loss of each utterance over its target's length, (B,): their mean is that of torch's
    `CTCLoss(reduction="mean", zero_infinity=True)`. 0, without a gradient, where the frames are too few for the target.

    `logits` (B, T, V) float, not yet normalised; `frames` (B,) int, how many of T count. Graves et al. 2006, "CTC:
    labelling unsegmented sequence data with recurrent neural networks"."""
    log_probs = functional.log_softmax(logits, dim=-1).transpose(0, 1)
    lengths = torch.tensor([len(target) for target in targets], dtype=torch.long)
    flat = torch.tensor(list(itertools.chain.from_iterable(targets)), dtype=torch.long, device=logits.device)
    each = functional.ctc_loss(
        log_probs, flat, frames.long().cpu(), lengths, blank=blank, reduction="none", zero_infinity=True
    )
    return each / lengths.clamp(min=1).to(each)


def needed_frames(target: Sequence[int]) -> int:
    """The fewest frames a CTC path of the target takes: one a symbol, and a blank between equal neighbours."""
    return len(target) + sum(a == b for a, b in itertools.pairwise(target))


def greedy(logits: Tensor, blank: int = 0) -> list[int]:
    """The best symbol of each frame of (T, V), repeats merged, then blanks dropped."""
    best = torch.unique_consecutive(logits.argmax(dim=-1)).tolist()
    return [index for index in best if index != blank]


def beam(
    log_probs: Tensor,
    symbols: Symbols,
    *,
    lm: Path,
    lexicon: Path | None = None,
    beam: int = 5,
    threshold: float = 25.0,
    lm_weight: float = 2.0,
    word_score: float = -1.0,
) -> str:
    """The words of (T, V) log-probabilities by beam search over a lexicon with a word n-gram model.

    `lm` is an ARPA file or KenLM's binary form; `lexicon` a text file with a word at the start of each line, by
    default the ARPA file's own words, without those that the symbols cannot spell. Scores are natural logarithms, the
    defaults those of s3prl's ASR recipe. Decoder: flashlight-text (Kahn et al. 2022, "Flashlight"). Raises UserError
    where it is not installed, and for phones or a model or lexicon that cannot be read."""
    if symbols.phones:
        raise UserError(f"symbols that spell words wanted for beam search, found {symbols.kind}; decode greedily")
    try:
        stamp = tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in (lm, lexicon) if path is not None)
    except OSError as error:
        raise UserError(f"a language model wanted, {error.filename} cannot be read; check the path") from error
    search, words = _decoder(symbols, lm, lexicon, beam, threshold, lm_weight, word_score, stamp)
    scores = log_probs.detach().float().cpu().clone()
    # the other specials say no more than the blank does, and the lexicon's spellings hold none of them
    scores[:, symbols.blank] = scores[:, : symbols.specials].logsumexp(dim=1)
    if symbols.kind == "train":
        # a spelling ends with the separator, which no training target of this kind has after its last word
        last = torch.full((1, symbols.size), -1e4)
        last[0, symbols.symbols.index(symbols.separator)] = 0.0
        scores = torch.cat([scores, last])
    scores = scores.contiguous()
    found = search.decode(scores.data_ptr(), *scores.shape)
    return " ".join(words.get_entry(index) for index in found[0].words if index >= 0) if found else ""


@lru_cache(maxsize=2)
def _decoder(
    symbols: Symbols, lm: Path, lexicon: Path | None, width: int, threshold: float, lm_weight: float,
    word_score: float, stamp: object,
) -> tuple[Any, Any]:  # fmt: skip
    """The search, and its words. Kept, since a large lexicon takes a while; `stamp` changes with the files."""
    try:
        from flashlight.lib.text import decoder as flashlight
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError as error:
        raise UserError("flashlight-text wanted for beam search, not installed: pip install flashlight-text") from error
    known = set(symbols.symbols[symbols.specials :]) - {symbols.separator}
    spelt = [word for word in _lexicon_words(lexicon or lm) if word and set(word) <= known]
    if not spelt:
        raise UserError(f"words in the letters of {symbols.kind} wanted in {lexicon or lm}, found none; check the file")
    words = Dictionary()
    for word in (*spelt, "<unk>"):
        words.add_entry(word)
    try:
        model = KenLM(str(lm), words)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{lm} is not a readable n-gram model ({error}); an ARPA file wanted") from error
    separator = symbols.symbols.index(symbols.separator)
    trie = flashlight.Trie(symbols.size, separator)
    start = model.start(False)
    for word in spelt:
        index = words.get_index(word)
        trie.insert([*symbols.spell(word), separator], index, model.score(start, index)[1])
    trie.smear(flashlight.SmearingMode.MAX)
    options = flashlight.LexiconDecoderOptions(
        beam_size=width, beam_size_token=symbols.size, beam_threshold=threshold, lm_weight=lm_weight,
        word_score=word_score, unk_score=float("-inf"), sil_score=0.0, log_add=False,
        criterion_type=flashlight.CriterionType.CTC,
    )  # fmt: skip
    unknown = words.get_index("<unk>")
    return flashlight.LexiconDecoder(options, trie, model, separator, symbols.blank, unknown, [], False), words


def _lexicon_words(path: Path) -> list[str]:
    """The first column of a lexicon, or the one-grams of an ARPA file, each word once, in order."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} has no words to read; give a lexicon file beside a binary language model") from error
    if "\\1-grams:" in lines:
        first = lines.index("\\1-grams:") + 1
        grams = itertools.takewhile(lambda line: line and not line.startswith("\\"), lines[first:])
        return list(dict.fromkeys(line.split()[1] for line in grams if len(line.split()) > 1))
    return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
