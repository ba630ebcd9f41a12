"""The folder that a merge writes: never half, never over another, and read by transformers and by a card."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from made_up_weights import write
from safetensors.torch import load_file, save_file

from harness.errors import UserError
from upstreams import catalogue
from upstreams.speech_ft import files
from upstreams.speech_ft.files import How, merge_folders

QUARTER = How()


def test_a_model_that_is_there_is_kept(tmp_path, pair):
    pre, fine = pair
    path = merge_folders(pre, [fine], tmp_path / "out", QUARTER)
    before = path.read_bytes()
    with pytest.raises(UserError, match="is there already: .*--again"):
        merge_folders(pre, [fine], tmp_path / "out", How(alpha=0.5))
    assert path.read_bytes() == before
    merge_folders(pre, [fine], tmp_path / "out", How(alpha=0.5), again=True)
    assert path.read_bytes() != before
    for taken in pair:
        with pytest.raises(UserError, match="holds one of the checkpoints"):
            merge_folders(pre, [fine], taken, QUARTER, again=True)


def test_stale_settings_do_not_stay(tmp_path, pair):
    pre, fine = pair
    (pre / "preprocessor_config.json").write_text('{"do_normalize": true}')
    out = merge_folders(pre, [fine], tmp_path / "out", QUARTER).parent
    assert (out / "preprocessor_config.json").read_text() == '{"do_normalize": true}'
    (pre / "preprocessor_config.json").unlink()
    merge_folders(pre, [fine], out, QUARTER, again=True)
    assert not (out / "preprocessor_config.json").exists()


def test_interrupted_the_old_model_stays_and_nothing_half_is_left(tmp_path, pair, monkeypatch):
    out = merge_folders(pair[0], [pair[1]], tmp_path / "out", QUARTER).parent
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stopped(items, *_: object):
        yield from list(items)[:2]
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "progress", stopped)
    for place in (out, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            merge_folders(pair[0], [pair[1]], place, How(alpha=0.5), again=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_killed_it_leaves_no_model_and_the_same_call_makes_it(tmp_path, pair):
    child = os.fork()
    if child == 0:

        def killed(items, *_: object):
            yield from list(items)[:2]
            os.kill(os.getpid(), signal.SIGKILL)

        files.progress = killed
        merge_folders(pair[0], [pair[1]], tmp_path / "out", QUARTER)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (tmp_path / "out" / "model.safetensors").exists() and not (tmp_path / "out" / "config.json").exists()
    path = merge_folders(pair[0], [pair[1]], tmp_path / "out", QUARTER)
    assert path.read_bytes() == merge_folders(pair[0], [pair[1]], tmp_path / "other", QUARTER).read_bytes()


def test_transformers_and_a_card_load_what_was_written(tmp_path, hf_folder, noise):
    import transformers

    pre, fine = hf_folder("hubert"), hf_folder("hubert")
    moved = {name: value + 0.01 for name, value in load_file(fine / "model.safetensors").items()}
    save_file(moved, fine / "model.safetensors", {"format": "pt"})
    out = merge_folders(pre, [fine], tmp_path / "out", QUARTER).parent
    found = transformers.HubertModel.from_pretrained(out).state_dict()
    begin = load_file(pre / "model.safetensors")
    assert all(torch.allclose(found[name], value + 0.0025, atol=1e-6) for name, value in begin.items())
    assert catalogue.build("hubert_base", folder=out).layers([noise(16_000)])[0].shape == (50, 3, 32)


def test_heads_need_not_agree_where_only_the_encoder_is_asked_for(tmp_path, hf_folder):
    pre, fine = hf_folder("wav2vec2"), hf_folder("wav2vec2")
    begin = load_file(pre / "model.safetensors")
    plain = {f"wav2vec2.{k}": v for k, v in begin.items()} | {"quantizer.x": torch.ones(2)}
    save_file(plain, pre / "model.safetensors")
    tuned = {f"wav2vec2.{k}": v + 1 for k, v in begin.items()} | {"lm_head.weight": torch.zeros(5, 32)}
    save_file(tuned, fine / "model.safetensors")
    with pytest.raises(UserError, match=r"lacks lm_head\.weight, which .*; --encoder-only leaves"):
        merge_folders(pre, [fine], tmp_path / "out", QUARTER)
    found = load_file(merge_folders(pre, [fine], tmp_path / "out", QUARTER, encoder_only=True))
    assert found.keys() == {f"wav2vec2.{name}" for name in begin} | {"quantizer.x"}
    assert torch.allclose(found["wav2vec2.encoder.layer_norm.bias"], begin["encoder.layer_norm.bias"] + 0.25)
    assert torch.equal(found["quantizer.x"], torch.ones(2))


def test_a_whole_whisper_into_its_encoder(tmp_path, hf_folder):
    whole = hf_folder("whisper")
    content = load_file(whole / "model.safetensors")
    part = {n.removeprefix("model.encoder."): v for n, v in content.items() if n.startswith("model.encoder.")}
    pre = write(tmp_path / "pre", {name: value + 4 for name, value in part.items()}, model_type="whisper")
    with pytest.raises(UserError, match=r"lacks decoder.*--encoder-only leaves heads aside"):
        merge_folders(pre, [whole], tmp_path / "out", QUARTER)
    found = load_file(merge_folders(pre, [whole], tmp_path / "out", QUARTER, encoder_only=True))
    assert found.keys() == part.keys()
    assert all(torch.allclose(found[name], value + 3, atol=1e-5) for name, value in part.items())
