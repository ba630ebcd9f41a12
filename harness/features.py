"""Features, encoded once, ever: the store on disk and what a head reads from it.

One file an (upstream fingerprint, audio content, condition): backbone frames (T, L, D) in half precision, or means over
time (L, D) in single precision for pooled heads. What sits on a frozen backbone is a cheap map on the backbone's
stored frames, so its frames are computed when read and only its means are stored. Files are written under a temporary
name and renamed: a killed run leaves nothing half-written, and two processes may share the store.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from harness import audio
from harness.contracts import Level, Upstream, Utterance
from harness.encode import rounded
from harness.errors import UserError
from harness.progress import progress

Form = Literal["frames", "means"]


class Condition(Protocol):
    """A deterministic distortion; `version` changes whenever what it does changes."""

    version: str

    def apply(self, wave: np.ndarray, utterance_id: str) -> np.ndarray: ...


class FeatureStore:
    """Arrays by key under a folder."""

    def __init__(self, root: Path):
        self.root = root

    def path(self, fingerprint: str, form: Form, key: str) -> Path:
        return self.root / fingerprint[:24] / form / key[:2] / f"{key}.npy"

    def load(self, path: Path) -> np.ndarray | None:
        """The stored array, or None where it is not stored or cannot be read (then it is made again)."""
        try:
            array: np.ndarray = np.load(path, allow_pickle=False)
            return array
        except (OSError, ValueError, EOFError):
            return None

    def save(self, path: Path, array: np.ndarray) -> None:
        """Raises UserError where the disk is full; nothing half-written stays."""
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                np.save(file, array, allow_pickle=False)
            os.replace(temporary, path)
        except OSError as error:
            raise UserError(
                f"could not store features under {self.root}: {error.strerror or error}; free space, or set "
                "POST_SUPERB_CACHE to a folder with room"
            ) from error
        finally:
            if temporary and os.path.exists(temporary):
                os.unlink(temporary)


def time_mean(frames: Tensor) -> Tensor:
    """Mean over time of (T, L, D) -> (L, D), float32. The one definition, so that stored and live means are equal."""
    return frames.float().mean(dim=0)


class Features:
    """An upstream's hidden states of some utterances under one condition, from the store or encoded on the fly.

    Implements `contracts.FeatureSource`. Every utterance is encoded by itself, so a feature does not depend on what it
    was batched with."""

    def __init__(
        self,
        upstream: Upstream,
        base: Upstream | None,
        utterances: Iterable[Utterance],
        store: FeatureStore,
        *,
        conditions: dict[str, Condition] | None = None,
        device: str = "cpu",
        memory_mb: int = 400,
    ):
        """`base` is the built backbone where `upstream.base` names one. `conditions` maps an utterance id to its
        condition (front end included)."""
        self.upstream, self.base, self.store, self.device = upstream, base, store, device
        self.level: Level = upstream.level
        self.dim, self.num_layers, self.stride = upstream.dim, upstream.num_layers, upstream.stride
        # what a map makes depends on what it stands on
        standing = upstream.fingerprint + (base.fingerprint if base else "")
        self.fingerprint = hashlib.sha256(standing.encode()).hexdigest() if base else upstream.fingerprint
        self._utterances = {u.id: u for u in utterances}
        self._conditions = conditions or {}
        self._memory: OrderedDict[str, Tensor] = OrderedDict()
        self._room = memory_mb << 20

    @property
    def backbone(self) -> Upstream:
        return self.base if self.base is not None else self.upstream

    def _key(self, utterance: Utterance) -> str:
        condition = self._conditions.get(utterance.id)
        # a condition draws its noise from the utterance's id, so two ids of one recording differ under it
        parts = [audio.content_key(utterance), audio.RESAMPLER] + (
            [condition.version, utterance.id] if condition else []
        )
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:40]

    def wave(self, utterance: Utterance) -> Tensor:
        """(n,) float32 at 16 kHz, the condition applied."""
        wave = audio.read(utterance)
        condition = self._conditions.get(utterance.id)
        if condition is not None:
            wave = condition.apply(wave, utterance.id)
        return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))

    def _base_frames(self, utterance: Utterance) -> Tensor:
        """The backbone's (T, L, D) frames, stored in half precision, returned in single."""
        path = self.store.path(self.backbone.fingerprint, "frames", self._key(utterance))
        stored = self.store.load(path)
        if stored is None:
            with torch.no_grad():
                wave = self.wave(utterance).to(self.device)
                frames = rounded(self.backbone.layers([wave])[0].cpu(), self.backbone.name)
            stored = frames.to(torch.float16).numpy()
            self.store.save(path, stored)
        return torch.from_numpy(stored).float()

    def _base_mean(self, utterance: Utterance) -> Tensor:
        return self._mean(utterance, self.backbone.fingerprint, lambda: self._base_frames(utterance))

    def _mean(self, utterance: Utterance, fingerprint: str, frames: Callable[[], Tensor]) -> Tensor:
        path = self.store.path(fingerprint, "means", self._key(utterance))
        stored = self.store.load(path)
        if stored is None:
            stored = time_mean(frames()).numpy()
            self.store.save(path, stored)
        return torch.from_numpy(stored)

    def _frames(self, utterance: Utterance) -> Tensor:
        if self.base is None:
            return self._base_frames(utterance)
        # the mean of one pooled frame is itself, so what pools first needs only the backbone's stored means
        below = self._base_mean(utterance)[None] if self.level == "utterance" else self._base_frames(utterance)
        with torch.no_grad():
            return self.upstream.transform([below.to(self.device)])[0].float().cpu()

    def frames(self, utterance_id: str) -> Tensor:
        """(T, L, D) float32; the last ones read are kept in memory, in half precision where they are stored so."""
        kept = self._memory.get(utterance_id)
        if kept is None:
            frames = self._frames(self._utterances[utterance_id])
            kept = frames.half() if self.base is None else frames
            self._remember(utterance_id, kept)
        else:
            self._memory.move_to_end(utterance_id)
        return kept.float()

    def _remember(self, utterance_id: str, frames: Tensor) -> None:
        self._memory[utterance_id] = frames
        self._room -= frames.nbytes
        while self._room < 0 and len(self._memory) > 1:
            _, dropped = self._memory.popitem(last=False)
            self._room += dropped.nbytes

    def mean(self, utterance_id: str) -> Tensor:
        """(L, D) float32."""
        utterance = self._utterances[utterance_id]
        if self.level == "utterance":
            return self._frames(utterance)[0]
        return self._mean(utterance, self.fingerprint, lambda: self._frames(utterance))

    def prepare(self, ids: Sequence[str], form: Form, what: str) -> None:
        """Encode what the store lacks, showing progress; killed half-way, the next call goes on from there."""
        missing = [i for i in ids if not self._stored(self._utterances[i], form)]
        for utterance_id in progress(missing, what, len(missing)):
            utterance = self._utterances[utterance_id]
            if form == "frames" and self.level == "frame":
                self._base_frames(utterance)
            elif self.level == "utterance":
                self._base_mean(utterance)
            else:
                self.mean(utterance_id)

    def _stored(self, utterance: Utterance, form: Form) -> bool:
        if form == "frames" and self.level == "frame":
            return self.store.path(self.backbone.fingerprint, "frames", self._key(utterance)).exists()
        fingerprint = self.backbone.fingerprint if self.level == "utterance" else self.fingerprint
        return self.store.path(fingerprint, "means", self._key(utterance)).exists()


class LayerView:
    """A `FeatureSource` that shows some layers of another: what `+last` and `+dev` name."""

    def __init__(self, source: Any, layers: Sequence[int]):
        self.source, self._layers = source, list(layers)
        self.level, self.dim, self.stride = source.level, source.dim, source.stride
        self.num_layers = len(self._layers)

    def frames(self, utterance_id: str) -> Tensor:
        frames: Tensor = self.source.frames(utterance_id)
        return frames[:, self._layers]

    def mean(self, utterance_id: str) -> Tensor:
        mean: Tensor = self.source.mean(utterance_id)
        return mean[self._layers]

    def prepare(self, ids: Sequence[str], form: Form, what: str) -> None:
        self.source.prepare(ids, form, what)
