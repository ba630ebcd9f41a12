"""What s3prl 0.4.18 expects of packages that have moved on; call `install()` before importing it.

Each mend steps aside where the real thing is there. Audio is read with soundfile. Effects of SoX are not
imitated: who calls one is told so.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import torch
from torch import Tensor

from harness.errors import UserError
from upstreams import torchaudio_shim


def install() -> None:
    """Idempotent."""
    torchaudio_shim.install()
    import huggingface_hub
    import torchaudio

    if not hasattr(torchaudio, "set_audio_backend"):
        torchaudio.set_audio_backend = lambda backend=None: None
    if not hasattr(torchaudio, "info"):
        torchaudio.info = info
    if not _torchcodec_works():
        torchaudio.load = load
    if not hasattr(torchaudio, "sox_effects"):
        effects = ModuleType("torchaudio.sox_effects")
        effects.__dict__.update(apply_effects_tensor=_no_sox, apply_effects_file=_no_sox)
        torchaudio.sox_effects = sys.modules["torchaudio.sox_effects"] = effects
    for name in ("HfFolder", "Repository"):
        if not hasattr(huggingface_hub, name):
            setattr(
                huggingface_hub,
                name,
                type(name, (), {"__init__": _no_upload, "get_token": staticmethod(_no_upload)}),
            )


def load(
    uri: str | os.PathLike[str],
    frame_offset: int = 0,
    num_frames: int = -1,
    channels_first: bool = True,
    **_: Any,
) -> tuple[Tensor, int]:
    """As torchaudio.load: samples float32 in [-1, 1], (channels, n) or (n, channels), and the rate in Hz."""
    import soundfile

    samples, rate = soundfile.read(uri, frames=num_frames, start=frame_offset, dtype="float32", always_2d=True)
    wave = torch.from_numpy(samples)
    return (wave.T.contiguous() if channels_first else wave), rate


def info(uri: str | os.PathLike[str], **_: Any) -> SimpleNamespace:
    """As torchaudio.info: `sample_rate` in Hz, `num_frames`, `num_channels`."""
    import soundfile

    found = soundfile.info(str(uri))
    return SimpleNamespace(sample_rate=found.samplerate, num_frames=found.frames, num_channels=found.channels)


def _torchcodec_works() -> bool:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def _no_sox(*args: object, **kwargs: object) -> NoReturn:
    raise UserError("s3prl wants an effect of torchaudio.sox_effects, which this torchaudio no longer has")


def _no_upload(*args: object, **kwargs: object) -> NoReturn:
    raise UserError("s3prl wants an interface for uploads that this huggingface_hub no longer has")
