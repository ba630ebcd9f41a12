"""The samples and versions that published results rest on. A change here is a new VERSION of the op, never silent.

Digests are of samples rounded to 16 bits, as the last bits of a float depend on the machine.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import soundfile
from made_up_sounds import speech

from tasks.conditions import build

LIBSNDFILE = "1.2.2"
"""The release that the codecs' versions and samples below are of."""

# ops, the condition's version, the samples
PINNED: list[tuple[dict[str, Any], str, str]] = [
    ({"op": "gain", "db": -3}, "af37edeafc6d1f08", "22e69c0e13d8074a"),
    ({"op": "band", "low": 300, "high": 3400}, "31c638153bf2d772", "92930f0cea5b8c50"),
    ({"op": "resample"}, "c3923e5052bcd91d", "fb0bd64a8faddebe"),
    ({"op": "codec", "codec": "gsm"}, "4b2882f7e2f2c772", "b9f785599d95deb7"),
    ({"op": "codec", "codec": "ulaw"}, "e4970a113b483eb5", "331cf3fc0d5c4ceb"),
    ({"op": "codec", "codec": "alaw"}, "c79c415d9a1dfc78", "b8e72702ed9d3835"),
    ({"op": "codec", "codec": "opus"}, "77b778f2be308085", "392081c098b1136f"),
    ({"op": "codec", "codec": "mp3"}, "6b9a34e6dbbcd06b", "286659a011d16f46"),
    ({"op": "codec", "codec": "vorbis"}, "c97f85259383841c", "b3b54c36e3247575"),
    ({"op": "codec", "codec": "opus", "rate": 16000}, "7680aeebf1a75a33", "286f9c5743bc6239"),
    ({"op": "codec", "codec": "mp3", "rate": 16000}, "95ecd91ed56f101d", "ac964be9334b6ea6"),
    ({"op": "codec", "codec": "vorbis", "rate": 16000}, "66e8f701f79a7977", "09b51d1ac856a0d4"),
    ({"op": "noise", "family": "white", "snr": 5}, "6fad84b0f325ddf9", "7690ad0fcee34831"),
    ({"op": "noise", "family": "pink", "snr": 5}, "e67cb08db8f0d7a9", "c091c30be6ee8c8b"),
    ({"op": "noise", "family": "brown", "snr": 5}, "a38f49d5b3902d60", "3a828d853229da53"),
    ({"op": "noise", "family": "hum", "snr": 5}, "fd00019eb1dc3e6b", "085fa56d2166dfc1"),
    ({"op": "noise", "family": "machine", "snr": 5}, "f40741423419e222", "26f6a65e8021e6d9"),
    ({"op": "noise", "family": "babble", "snr": 10, "speakers": 3}, "09566751c044c7e0", "2f57260cbdc8639b"),
    ({"op": "room", "t60": [0.2, 2.0]}, "2036d17accc46272", "a397a9d5d96d70d1"),
    ({"op": "trim_silence"}, "5b37163aca136e8d", "2216b857d8f56514"),
    ({"op": "crop", "seconds": 0.25}, "0936011ee6b3695d", "450f6cfe7a6c2a07"),
    ({"op": "noise", "family": "babble", "snr": 10}, "81b561735ebbe161", "b00a2ef67477099d"),
    ({"op": "room", "t60": [0.3, 0.8]}, "862d85f15cc2b2cb", "a397a9d5d96d70d1"),
    ({"op": "resample", "rate": 4000}, "4ddb3b30676e4941", "0196143a6e0e607f"),
    ({"op": "codec", "codec": "opus", "level": 1.0}, "eaf70dbd09b22832", "da61661af854d211"),
    ({"op": "band", "low": 0, "high": 2000, "width": 50}, "1c3ba60b4f53f015", "4b2e5258923ce55b"),
]


def named(value: Any) -> str:
    return "-".join(str(part) for part in value.values()) if isinstance(value, dict) else ""


@pytest.mark.parametrize(("spec", "version", "samples"), PINNED, ids=named)
def test_published_samples_and_versions_are_as_they_were(
    monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], version: str, samples: str
) -> None:
    found = soundfile.__libsndfile_version__
    monkeypatch.setattr(soundfile, "__libsndfile_version__", LIBSNDFILE)
    condition = build([spec])
    assert condition.version == version
    if spec["op"] == "codec" and found != LIBSNDFILE:
        pytest.skip(f"the samples are those of libsndfile {LIBSNDFILE}, found {found}")
    out = condition.apply(speech(8_000), "pinned").astype(np.float64)
    assert hashlib.sha256(np.round(out * 2**15).astype("<i4").tobytes()).hexdigest()[:16] == samples
