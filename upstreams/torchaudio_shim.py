"""Makes `import torchaudio` work where its compiled part cannot load; call `install()` before importing it.

The wheel of torchaudio 2.11 links CUDA, so beside a CPU torch (or one built for another CUDA) its import
raises, and `transformers` imports it whenever it is installed. Its Python part needs no compiled code: kaldi
features, STFT, mel scales and resampling work with a stand-in for `torchaudio._extension`. Where the native
part loads, nothing is done.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import NoReturn


def install() -> None:
    """Import torchaudio, with a stand-in for its extension if need be. Idempotent; nothing to do if not installed."""
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio") is None:
        return
    try:
        importlib.import_module("torchaudio")
    except (OSError, RuntimeError, ImportError):
        # A failed import leaves submodules behind, and they would be taken for complete.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _stand_in()
        importlib.import_module("torchaudio")


def _stand_in() -> ModuleType:
    module = ModuleType("torchaudio._extension")
    module.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False, fail_if_no_align=_replaced_by_an_error
    )
    return module


def _replaced_by_an_error(function):  # type: ignore[no-untyped-def]
    """In place of a function that needs the compiled part: one that says so when called."""

    def unavailable(*args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError(f"torchaudio.{function.__name__} needs torchaudio's compiled part, which does not load here")

    return unavailable
