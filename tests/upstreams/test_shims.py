"""The stand-ins come only where the real thing fails, shown in processes with a made-up torchaudio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from harness.errors import UserError
from upstreams import s3prl_shims, torchaudio_shim

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from upstreams import torchaudio_shim
torchaudio_shim.install()
torchaudio_shim.install()
import torchaudio, torchaudio.part
print(torchaudio._extension.__dict__.get("_IS_TORCHAUDIO_EXT_AVAILABLE"), torchaudio.part.SEEN)
"""


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ("_IS_TORCHAUDIO_EXT_AVAILABLE = 'native'", "native native"),
        ("raise OSError('libcudart.so.13 is missing')", "False False"),
        ("raise RuntimeError('compiled with different CUDA versions')", "False False"),
    ],
)
def test_the_extension_is_replaced_only_where_it_does_not_load(tmp_path, extension, expected):
    package = tmp_path / "torchaudio"
    package.mkdir()
    (package / "_extension.py").write_text(extension)
    (package / "__init__.py").write_text("from . import _extension, part\n")
    (package / "part.py").write_text("from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE as SEEN\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_nothing_is_done_where_torchaudio_is_not_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.setattr(torchaudio_shim.importlib.util, "find_spec", lambda name: None)
    torchaudio_shim.install()
    assert "torchaudio" not in sys.modules


def test_a_function_that_needs_the_compiled_part_says_so():
    def forced_align():
        raise AssertionError("never reached")

    stand_in = torchaudio_shim._stand_in()
    with pytest.raises(RuntimeError, match="forced_align needs torchaudio's compiled part"):
        stand_in.fail_if_no_align(forced_align)()


def test_what_is_there_is_left_alone(monkeypatch):
    s3prl_shims.install()
    import huggingface_hub
    import torchaudio

    def real(*args):
        return "real"

    monkeypatch.setattr(torchaudio, "info", real)
    monkeypatch.setattr(torchaudio, "set_audio_backend", real)
    monkeypatch.setattr(huggingface_hub, "HfFolder", real, raising=False)
    monkeypatch.setattr(s3prl_shims, "_torchcodec_works", lambda: True)
    monkeypatch.setattr(torchaudio, "load", real)
    s3prl_shims.install()
    assert torchaudio.info() == torchaudio.set_audio_backend() == huggingface_hub.HfFolder() == "real"
    assert torchaudio.load() == "real"


def test_audio_is_read_with_soundfile(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (400, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    wave, rate = s3prl_shims.load(tmp_path / "a.wav")
    assert rate == 8000
    assert torch.equal(wave, torch.from_numpy(samples.T.copy()))
    part, _ = s3prl_shims.load(tmp_path / "a.wav", frame_offset=100, num_frames=50, channels_first=False)
    assert torch.equal(part, torch.from_numpy(samples[100:150]))
    found = s3prl_shims.info(tmp_path / "a.wav")
    assert (found.sample_rate, found.num_frames, found.num_channels) == (8000, 400, 2)


def test_a_sox_effect_is_an_error_not_silence():
    s3prl_shims.install()
    from torchaudio.sox_effects import apply_effects_file

    with pytest.raises(UserError, match="sox_effects"):
        apply_effects_file("a.wav", [["gain", "-3.0"]])
