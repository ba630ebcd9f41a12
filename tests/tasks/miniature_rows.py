"""Manifest rows made in code."""

from __future__ import annotations

from typing import Any

from harness.contracts import Utterance


def row(id: str, **fields: Any) -> Utterance:
    given: dict[str, Any] = {
        "id": id, "corpus": "made", "split": "test", "archive": None, "member": f"{id}.wav", "start": 0.0,
        "duration": 3.0, "rate": 16000, "speaker": "-", "speaker_known": "sure", "language": "en", "channel": "",
        "text": "", "phones": "", "label": "", "source": "made up", "licence": "CC0-1.0", "sha256": "",
    }  # fmt: skip
    return Utterance(**{**given, **fields})
