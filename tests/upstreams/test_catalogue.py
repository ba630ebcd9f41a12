from __future__ import annotations

import re

import pytest

from harness.errors import UserError
from upstreams import catalogue
from upstreams.card import NAME, read_card

GOOD = """\
family: backbones
options: {kind: kaldi, feature: fbank, size: 40}
contamination: "no"
supervised: false
licence: CC0-1.0
source: made up
"""
POST_TRAINED = GOOD.replace("family: backbones", "family: made_up\nbackbone: fbank")


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """An empty folder in place of upstreams/cards; returns a function that writes a card there."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setattr(catalogue, "CARDS", folder)
    return lambda name, text: (folder / f"{name}.yaml").write_text(text)


def test_every_card_reads_and_has_a_safe_name():
    assert {"whisper_tiny", "fbank", "hubert_base"} <= set(catalogue.names())
    for name in catalogue.names():
        assert re.match(NAME, name)
        assert catalogue.describe(name)["name"] == name


def test_whisper_is_supervised_and_its_contamination_unknown():
    for name in ("whisper_tiny", "whisper_base"):
        card = catalogue.card(name)
        assert card.supervised
        assert card.contamination == "unknown"


def test_embedded_weights_have_a_checksum():
    for name in catalogue.names():
        weights = catalogue.card(name).weights
        assert weights is None or weights.file is None or weights.sha256


def test_a_card_is_enough_for_a_new_upstream(cards, noise):
    cards("fbank_40", GOOD)
    assert catalogue.build("fbank_40").layers([noise(16_000)])[0].shape == (100, 1, 120)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "licens: MIT\n", "unknown key 'licens'; did you mean licence"),
        (GOOD.replace("family: backbones\n", ""), "family: Field required"),
        (GOOD.replace('"no"', "no"), "contamination"),
        (GOOD + "weights: {hub: ../../x/y}\n", "weights.hub"),
        (GOOD + "weights: {file: a, hub: b/c}\n", "either file or hub"),
        (GOOD + "weights: {hub: b/c, revision: main}\n", "weights.revision"),
        (GOOD + "weights: {file: a, sha256: abc}\n", "weights.sha256"),
        (GOOD.replace("backbones", "os.path"), "family"),
        (GOOD + "note: &a x\nrecipe: *a\n", "aliases"),
        (GOOD + "note: !!python/object/apply:os.getcwd []\n", "not readable YAML"),
        (GOOD + "- [", "not readable YAML"),
        ("just words", "a mapping wanted"),
    ],
)
def test_a_bad_card_is_one_line_that_names_the_key(cards, tmp_path, text, message):
    cards("bad", text)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_card(tmp_path / "cards" / "bad.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{kind: kaldi, feature: fbank, size: 40, sise: 1}", "unknown key 'sise'; did you mean size"),
        ("{kind: kaldi, feature: words, size: 40}", "feature"),
        ("{kind: kaldy}", "wants one of whisper, hubert, wav2vec2, wavlm, kaldi, found 'kaldy'"),
    ],
)
def test_options_are_checked_by_the_family(cards, options, message):
    cards("bad", re.sub("options: .*", f"options: {options}", GOOD))
    with pytest.raises(UserError, match=re.escape(message)):
        catalogue.build("bad")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("whisper_tny", "did you mean whisper_tiny"),
        ("../../etc/passwd", "unknown upstream"),
        ("whisper_tiny@fbank", "wants a post-trained upstream before it"),
        ("s3prl:hubrt_base", "unknown s3prl upstream 'hubrt_base'; did you mean"),
        ("s3prl:__import__", "unknown upstream"),
        ("nothing+input", "unknown upstream 'nothing'"),
    ],
)
def test_a_wrong_name_is_one_line(name, message):
    with pytest.raises(UserError, match=re.escape(message)):
        catalogue.build(name)


def test_a_post_trained_card_builds_through_its_family(cards, monkeypatch):
    cards("fbank", GOOD)
    cards("mine", POST_TRAINED)
    with pytest.raises(UserError, match="wants upstreams/made_up/model.py, which is missing"):
        catalogue.build("mine")
    assert catalogue.describe("mine")["backbone_card"]["name"] == "fbank"
    assert catalogue.describe("mine@s3prl:mfcc")["backbone"] == "s3prl:mfcc"
    with pytest.raises(UserError, match="folder .* is for that one"):
        catalogue.build("mine", folder="x")
    with pytest.raises(UserError, match="unknown backbone 'fbnk'; did you mean fbank"):
        catalogue.build("mine@fbnk")
    with pytest.raises(UserError, match="unknown backbone 'mine'"):
        catalogue.build("mine@mine")
    with pytest.raises(UserError, match="wants a backbone before it"):
        catalogue.build("mine+input")


def test_backbones_take_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="no post-training checkpoint"):
        catalogue.build("fbank", checkpoint=tmp_path / "x.safetensors")


def test_embedded_whisper_with_another_checkpoint_in_its_place_is_refused(hf_folder):
    with pytest.raises(UserError, match="wanted sha256 7135c4e6"):
        catalogue.build("whisper_tiny", folder=hf_folder("whisper"))
