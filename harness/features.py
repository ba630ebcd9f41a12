"""Features, encoded once, ever: what a head reads, from the store or from the encoder.

An (upstream, audio content, condition) is encoded by one pass of the backbone. Its frames (T, L, D) are kept in half
precision where they fit the disk budget; means over time (L, D) in single precision, and means over blocks of a
second in half, are kept always. Blocks are how a pooled head crops: any run of them is a crop whose mean is a weighted
sum. A second of a base model is 20 kB that way; sums over every frame would be fifty times that, terabytes for
VoxCeleb, and a fixed number of crops an utterance would end the randomness of the crop.

What sits on a frozen backbone is a cheap map on the backbone's stored frames, so its frames are computed when read and
only its means are stored.

Processes that need the same features at the same time share the work without locks: each begins at its own place in the
list, and looks again before it encodes the next few clips. At most those few are encoded twice where two meet.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from harness import audio
from harness.contracts import BLOCK_SECONDS, SAMPLE_RATE, Form, Level, Upstream, Utterance
from harness.encode import rounded
from harness.progress import note, progress
from harness.store import FeatureStore, from_own_place
from harness.wording import counted, disk

IN_MEMORY = 2 << 30
"""Bytes of means held in memory; a larger matrix is a temporary file, memory-mapped."""
LOOKAHEAD = 16
"""Batches' worth of waves read ahead to find some of equal length."""
SPARE = 2
"""Frames that no head asked for are kept only where they take less than this part of the room: they save the next
upstream on the same backbone a pass of it."""


class Condition(Protocol):
    """A deterministic distortion; `version` changes whenever what it does changes."""

    version: str

    def apply(self, wave: np.ndarray, utterance_id: str) -> np.ndarray: ...


def time_mean(frames: Tensor) -> Tensor:
    """Mean over time of (T, L, D) -> (L, D), float32. The one definition, so that stored and live means are equal."""
    return frames.float().mean(dim=0)


def block_frames(stride: int) -> int:
    """Frames in a whole block."""
    return max(1, round(BLOCK_SECONDS * SAMPLE_RATE / stride)) if stride else 1


def block_means(frames: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(T, L, D) -> means over consecutive blocks of `size` frames (N, L, D), and the frames in each (N,)."""
    parts = torch.split(frames.float(), size)
    return torch.stack([part.mean(dim=0) for part in parts]), torch.tensor([float(len(part)) for part in parts])


class Features:
    """An upstream's hidden states of some utterances under one condition, from the store or encoded on the fly.

    Implements `contracts.FeatureSource`. Every utterance is encoded by itself or with others of its own length, without
    padding, so a feature does not depend on what it was batched with."""

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
        batch: int = 1,
    ):
        """`base` is the built backbone where `upstream.base` names one. `conditions` maps an utterance id to its
        condition (front end included). `batch` is how many utterances of equal length are encoded together."""
        self.upstream, self.base, self.store, self.device, self.batch = upstream, base, store, device, batch
        self.level: Level = upstream.level
        self.dim, self.num_layers, self.stride = upstream.dim, upstream.num_layers, upstream.stride
        # what a map makes depends on what it stands on
        standing = upstream.fingerprint + (base.fingerprint if base else "")
        self.fingerprint = hashlib.sha256(standing.encode()).hexdigest() if base else upstream.fingerprint
        self._utterances = {u.id: u for u in utterances}
        self._conditions = conditions or {}
        self._memory: OrderedDict[str, Tensor] = OrderedDict()
        self._room = memory_mb << 20
        self._keep_frames = True

    @property
    def backbone(self) -> Upstream:
        return self.base if self.base is not None else self.upstream

    def _key(self, utterance: Utterance) -> str:
        condition = self._conditions.get(utterance.id)
        # a condition draws its noise from the utterance's id, so two ids of one recording differ under it
        parts = [audio.stored_key(utterance), audio.RESAMPLER] + (
            [condition.version, utterance.id] if condition else []
        )
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:40]

    def _path(self, utterance: Utterance, form: str, of_base: bool = False) -> Path:
        fingerprint = self.backbone.fingerprint if of_base else self.fingerprint
        return self.store.path(fingerprint, form, self._key(utterance))

    # -- encoding ---------------------------------------------------------------------------------------------------

    def wave(self, utterance: Utterance) -> Tensor:
        """(n,) float32 at 16 kHz, the condition applied."""
        wave = audio.read(utterance)
        condition = self._conditions.get(utterance.id)
        if condition is not None:
            wave = condition.apply(wave, utterance.id)
        return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))

    def _encoded(self, utterances: Sequence[Utterance]) -> Iterator[tuple[Utterance, Tensor]]:
        """The backbone's frames, (T, L, D) in half precision, of utterances that the store lacks."""
        waiting: dict[int, list[tuple[Utterance, Tensor]]] = defaultdict(list)
        for index, utterance in enumerate(utterances, start=1):
            wave = self.wave(utterance)
            waiting[len(wave)].append((utterance, wave))
            if len(waiting[len(wave)]) == self.batch:
                yield from self._pass(waiting.pop(len(wave)))
            if index % (LOOKAHEAD * self.batch) == 0 or index == len(utterances):
                for group in waiting.values():
                    yield from self._pass(group)
                waiting.clear()

    def _pass(self, group: Sequence[tuple[Utterance, Tensor]]) -> Iterator[tuple[Utterance, Tensor]]:
        with torch.no_grad():
            found = self.backbone.layers([wave.to(self.device) for _, wave in group])
        for (utterance, _), frames in zip(group, found, strict=True):
            kept = rounded(frames.cpu(), self.backbone.name).to(torch.float16)
            if self._keep_frames and self.store.room() > kept.nbytes:
                self.store.save(self._path(utterance, "frames", of_base=True), kept.numpy())
            yield utterance, kept

    def _base_frames(self, utterance: Utterance) -> Tensor:
        """The backbone's (T, L, D) frames, kept in half precision, returned in single."""
        stored = self.store.load(self._path(utterance, "frames", of_base=True), mapped=True)
        if stored is not None:
            return torch.from_numpy(stored.astype(np.float32))
        return next(frames for _, frames in self._encoded([utterance])).float()

    # -- what a head reads ------------------------------------------------------------------------------------------

    def _frames(self, utterance: Utterance, below: Tensor | None = None) -> Tensor:
        """`below`: the backbone's frames where they are at hand."""
        if self.base is None:
            return self._base_frames(utterance) if below is None else below.float()
        if self.level == "utterance":
            # the mean of one pooled frame is itself, so what pools first needs only the backbone's stored means
            below = self._base_mean(utterance, below)[None]
        elif below is None:
            below = self._base_frames(utterance)
        with torch.no_grad():
            return self.upstream.transform([below.float().to(self.device)])[0].float().cpu()

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

    def _base_mean(self, utterance: Utterance, frames: Tensor | None = None) -> Tensor:
        def make() -> Tensor:
            return time_mean(self._base_frames(utterance) if frames is None else frames.float())

        return self._stored_or(self._path(utterance, "means", of_base=True), make)

    def _stored_or(self, path: Path, make: Callable[[], Tensor]) -> Tensor:
        stored = self.store.load(path)
        if stored is None:
            stored = make().numpy()
            self.store.save(path, stored)
        return torch.from_numpy(stored)

    def mean(self, utterance_id: str) -> Tensor:
        """(L, D) float32."""
        return self._mean(self._utterances[utterance_id])

    def _mean(self, utterance: Utterance, below: Tensor | None = None) -> Tensor:
        if self.level == "utterance":
            return self._frames(utterance, below)[0]
        return self._stored_or(self._path(utterance, "means"), lambda: time_mean(self._frames(utterance, below)))

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        """(N, L, D) float32, in the order of the ids."""
        shape = (len(utterance_ids), self.num_layers, self.dim)
        if 4 * math.prod(shape) <= IN_MEMORY:
            array = np.empty(shape, dtype=np.float32)
        else:
            self.store.root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.store.root, suffix=".means") as file:  # unlinked, still mapped
                array = np.memmap(file, np.float32, "w+", shape=shape)
        for row, utterance_id in enumerate(utterance_ids):
            array[row] = self.mean(utterance_id).numpy()
        return torch.from_numpy(array)

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        """(N, L, D) float32, kept in half precision, and the frames in each block (N,)."""
        return self._blocks(self._utterances[utterance_id])

    def _blocks(self, utterance: Utterance, below: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.level == "utterance":
            return self._frames(utterance, below), torch.ones(1)
        paths = [self._path(utterance, form) for form in ("blocks", "counts")]
        stored = [self.store.load(path) for path in paths]
        if stored[0] is None or stored[1] is None:
            means, counts = block_means(self._frames(utterance, below), block_frames(self.stride))
            made = [rounded(means, self.upstream.name).to(torch.float16).numpy(), counts.numpy()]
            for path, array in zip(paths, made, strict=True):
                self.store.save(path, array)
            stored = [*made]
        return torch.from_numpy(stored[0]).float(), torch.from_numpy(stored[1])

    # -- ahead of time ----------------------------------------------------------------------------------------------

    def prepare(self, ids: Sequence[str], form: Form, what: str) -> None:
        """Encode what the store lacks, after a line that says the plan, showing progress; killed half-way, the next
        call goes on from there."""
        missing = [self._utterances[i] for i in ids if not self._stored(self._utterances[i], form)]
        if not missing:
            return
        self.store.name(self.backbone.fingerprint, self.backbone.name)
        self.store.name(self.fingerprint, self.upstream.name)
        at_hand, encode = self._parted(missing)
        encode = self._plan(encode, len(ids), form, what)
        for utterance in progress(at_hand, what, len(at_hand)):
            self._keep(utterance, form, None)
        for utterance, frames in progress(self._shared(encode, form), what, len(encode)):
            self._keep(utterance, form, frames)

    def _shared(self, utterances: list[Utterance], form: Form) -> Iterator[tuple[Utterance, Tensor | None]]:
        """Utterances with the backbone's frames, None where another process has stored those meanwhile; without the
        ones that it has left nothing to do for."""
        for window in from_own_place(utterances, LOOKAHEAD * self.batch):
            at_hand, encode = self._parted([u for u in window if not self._stored(u, form)])
            yield from ((utterance, None) for utterance in at_hand)
            yield from self._encoded(encode)

    def _parted(self, utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
        """Those that only need another look at stored frames, and those that need a pass of the encoder."""
        ready = {u.id for u in utterances if self.store.has(self._path(u, "frames", of_base=True))}
        return [u for u in utterances if u.id in ready], [u for u in utterances if u.id not in ready]

    def _plan(self, encode: list[Utterance], count: int, form: Form, what: str) -> list[Utterance]:
        """Says what will be encoded and kept. Returns what to encode now: where frames are wanted and do not all fit
        the budget, those that do."""
        below, room = self.backbone, self.store.room()
        per_second = SAMPLE_RATE / below.stride * below.num_layers * below.dim * 2
        sizes = np.cumsum([u.duration * per_second for u in encode])
        wanted = float(sizes[-1]) if encode else 0.0
        frames_read = form == "frames" and self.level == "frame"
        self._keep_frames = frames_read or wanted * SPARE < room
        if not encode:
            return encode
        keeping = f"{disk(wanted)} of frames kept" if self._keep_frames else f"{form} kept, no frames"
        if frames_read and wanted > room:
            encode = encode[: int(np.searchsorted(sizes, room))]
            keeping = f"{disk(room)} of {disk(wanted)} of frames fit --cache-gb, the rest is encoded at every reading"
        minutes = sum(u.duration for u in encode) / 60
        note(f"{what}: {len(encode):,} of {counted(count, 'clip')} to encode, {minutes:.1f} min of audio; {keeping}")
        return encode

    def _keep(self, utterance: Utterance, form: Form, frames: Tensor | None) -> None:
        if self.level == "utterance":
            self._base_mean(utterance, frames)
        elif form != "frames":
            self._mean(utterance, frames)
            if form == "blocks":
                self._blocks(utterance, frames)

    def _stored(self, utterance: Utterance, form: Form) -> bool:
        if form == "frames" and self.level == "frame":
            return self.store.has(self._path(utterance, "frames", of_base=True))
        if self.level == "utterance":
            return self.store.has(self._path(utterance, "means", of_base=True))
        return self.store.has(self._path(utterance, "counts" if form == "blocks" else form))


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

    def means(self, utterance_ids: Sequence[str]) -> Tensor:
        return torch.stack([self.mean(i) for i in utterance_ids])

    def blocks(self, utterance_id: str) -> tuple[Tensor, Tensor]:
        means, counts = self.source.blocks(utterance_id)
        return means[:, self._layers], counts

    def prepare(self, ids: Sequence[str], form: Form, what: str) -> None:
        self.source.prepare(ids, form, what)
