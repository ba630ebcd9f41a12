"""Both ways between s3prl and this project; importing it is enough.

    import upstreams.s3prl_bridge
    s3prl.nn.S3PRLUpstream("icl_speaker")   # our cards are in s3prl.hub, for its recipes and its runner's -u

Every card gets an entry there, and every post-trained card one for each backbone,
`icl_speaker@wavlm_base_plus`; a name that s3prl has already keeps its own meaning. The other way,
`S3PRLBackbone` makes any of s3prl's upstreams one of ours.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.contracts import SAMPLE_RATE, Upstream
from harness.encode import base_of, encode
from harness.errors import UserError
from harness.progress import note
from harness.registry import unknown
from upstreams import backbones, catalogue, s3prl_shims, weights

s3prl_shims.install()
# Importing the hub warns of a package that a single one of its upstreams wants.
logging.getLogger("s3prl.upstream.espnet_hubert").setLevel(logging.ERROR)

from s3prl import hub  # noqa: E402 - only after the shims

OWN_STRIDE = 320
"""Samples between the frames by which s3prl is given an utterance-level vector, 20 ms."""


class S3PRLModule(nn.Module):
    """One of our upstreams as s3prl wants it: forward(list of 1-D waves) -> {"hidden_states": [(B, T, D),
    ...]}.

    Every wave is encoded free of its batch, then padded with zeros to T = ceil(n_max / stride). s3prl knows
    no vector of an utterance (its runner would round the length to zero frames), so at level 'utterance' the
    vector is held constant over frames of 20 ms: any mean over time gives it back.
    """

    _place: Tensor

    def __init__(self, upstream: Upstream, base: Upstream | None = None):
        super().__init__()
        self.upstream, self.base = upstream, base
        self.stride = upstream.stride if upstream.level == "frame" else OWN_STRIDE
        self.register_buffer("_place", torch.empty(0), persistent=False)

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples at 16 kHz from one frame to the next, whatever the key."""
        return self.stride

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        for part in (self.upstream, self.base):
            if part is not None and not isinstance(part, nn.Module):
                part.to(self._place.device)  # a module has been moved with this one
        features = encode(self.upstream, [wave.detach().float() for wave in wavs], self.base)
        if self.upstream.level == "utterance":
            features = [f.expand(-(-len(wave) // self.stride), -1, -1) for f, wave in zip(features, wavs, strict=True)]
        states = list(nn.utils.rnn.pad_sequence(features, batch_first=True).unbind(dim=2))
        return {"hidden_states": states, "last_hidden_state": states[-1]}

    def train(self, mode: bool = True) -> S3PRLModule:
        """Frozen: s3prl leaves upstreams in training mode, which would turn dropout on."""
        return super().train(False)


class S3PRLBackbone(backbones.Backbone):
    """One of s3prl's own upstreams as one of ours: in eval mode, one wave at a time, its frame count checked.

    `ckpt` is what s3prl's entry takes under that name, a file or a folder; `name` is the upstream's own where a
    card gives it one. The length check of s3prl itself lets up to half of the frames be cut in silence; here a
    count further than 2 frames (or 30 ms, where that is more) from ceil(n / stride) is a UserError. Frames within
    that are cut or the last repeated.
    """

    def __init__(self, entry: str, ckpt: str | Path | None = None, *, name: str | None = None):
        if entry not in THEIRS:
            raise unknown("s3prl upstream", entry, THEIRS)
        own = name or f"s3prl:{entry}"
        if ckpt is not None and not Path(ckpt).exists():
            raise UserError(f"{own}: checkpoint {ckpt} does not exist: wanted the file or folder its entry takes")
        model = _built(entry, own, {} if ckpt is None else {"ckpt": str(ckpt)})
        stride = model.get_downsample_rates("hidden_states")
        if not isinstance(stride, int) or isinstance(stride, bool):
            raise UserError(f"{own} has stride {stride!r}: only one integer stride for all layers fits here")
        with torch.no_grad():
            states = model([torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))])["hidden_states"]
        if len({state.shape[1:] for state in states}) != 1:
            raise UserError(f"{own} has layers of different sizes: only one size for all layers fits here")
        super().__init__(
            own,
            _identity(name or entry, model),
            dim=states[0].shape[2],
            num_layers=len(states),
            stride=stride,
        )
        self.model = model
        self.requires_grad_(False).eval()

    def encode(self, waves: Tensor) -> Tensor:
        """(B, n) -> (B, T, L, D)."""
        encoded = [torch.stack(list(self.model([wave])["hidden_states"]), dim=2) for wave in waves]
        due, found = -(-waves.shape[1] // self.stride), encoded[0].shape[1]
        if abs(found - due) > max(2, -(-480 // self.stride)):
            raise UserError(
                f"{self.name} gave {found} frames for {waves.shape[1]} samples, where stride {self.stride} makes"
                f" {due}: its stride or its lengths are wrong"
            )
        return torch.cat(encoded)


def _built(entry: str, name: str, arguments: dict[str, str]) -> Any:
    try:
        with _no_code_in_pickles():
            return getattr(hub, entry)(**arguments).eval()
    except UserError:
        raise
    except Exception as error:  # s3prl's entries raise whatever they like
        hint = "" if arguments else ", and -k FOLDER_OR_FILE if it needs a checkpoint"
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{name} could not be built ({reason}): check its requirements{hint}") from error


@contextmanager
def _no_code_in_pickles() -> Iterator[None]:
    """Some of s3prl's loaders ask torch.load to run a pickle's code; here it is never done."""
    plain = torch.load

    def load(*args: Any, **kwargs: Any) -> Any:
        # s3prl's own checkpoints keep their settings in argparse's plain container.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return plain(*args, **kwargs | {"weights_only": True})

    torch.load = load
    try:
        yield
    finally:
        torch.load = plain


def _identity(name: str, model: nn.Module) -> str:
    """Fingerprint: name, every weight's bytes, s3prl's version, and the source of the module that defines the model."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + str(tuple(value.shape)).encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    module = inspect.getmodule(type(model))
    assert module is not None
    own = [backbones, sys.modules[__name__], module]
    return weights.fingerprint(own, digest.hexdigest(), {"name": name, "s3prl": version("s3prl")})


def _entry(name: str) -> Callable[..., S3PRLModule]:
    """What s3prl.hub holds for one of our names.

    `ckpt`, its runner's -k, is a backbone's folder or a post-trained upstream's checkpoint; `base_folder`, the folder
    of the backbone below or of the one that the checkpoint's weights go into, and `recipe_seed` can be given in
    S3PRLUpstream's extra_conf.
    """

    def entry(
        ckpt: str | None = None,
        model_config: str | None = None,
        refresh: bool = False,
        base_folder: str | None = None,
        recipe_seed: int = 0,
    ) -> S3PRLModule:
        if model_config is not None:
            raise UserError(f"{name} takes no model_config (-g): write a card instead")
        own_folder = catalogue.takes_folder(name)
        if own_folder and catalogue.card(name).backbone is None:
            upstream = catalogue.build(name, recipe_seed=recipe_seed, folder=ckpt)
        else:
            into = base_folder if own_folder else None
            upstream = catalogue.build(name, recipe_seed=recipe_seed, checkpoint=ckpt, folder=into)
        return S3PRLModule(upstream, base_of(upstream, folder=base_folder))

    entry.__doc__ = f"Post-SUPERB's upstream {name}."
    return entry


def _hub_names() -> list[str]:
    cards = {}
    for name in catalogue.names():
        try:
            cards[name] = catalogue.card(name)
        except UserError as error:  # one broken card is not to keep the others out
            note(f"left out of s3prl.hub: {error}")
    plain = [name for name, card in cards.items() if card.family == catalogue.BACKBONES]
    above = [name for name, card in cards.items() if card.backbone is not None]
    return [*cards, *(f"{name}@{base}" for name in above for base in plain)]


def register() -> list[str]:
    """Give s3prl.hub an entry for each of our names that it lacks; returns the names that are new in it."""
    added = [name for name in _hub_names() if not hasattr(hub, name)]
    for name in added:
        setattr(hub, name, _entry(name))
    return added


def accepts(upstream: Upstream, base: Upstream | None = None) -> str:
    """Runs s3prl's own S3PRLUpstream on the upstream and compares with `encode`; a UserError says where they differ."""
    from s3prl.nn import S3PRLUpstream

    name = "post_superb_under_check"
    setattr(hub, name, lambda **_: S3PRLModule(upstream, base))
    try:
        wrapped = S3PRLUpstream(name)
    finally:
        delattr(hub, name)
    generator = torch.Generator().manual_seed(0)
    waves = [torch.randn(n, generator=generator) * 0.1 for n in (24_000, 16_001)]
    states, lengths = wrapped(nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(w) for w in waves]))
    for index, expected in enumerate(encode(upstream, waves, base)):
        found = torch.stack(
            [state[index, : int(n[index])] for state, n in zip(states, lengths, strict=True)], dim=1
        ).cpu()
        expected = expected.cpu()
        if upstream.level == "utterance":
            expected = expected.expand(found.shape[0], -1, -1)
        if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
            raise UserError(
                f"s3prl gets {tuple(found.shape)} from {upstream.name}, encode gives {tuple(expected.shape)}"
                " or other values"
            )
    size, stride = wrapped.hidden_sizes[0], wrapped.downsample_rates[0]
    return f"S3PRLUpstream: {wrapped.num_layers} layers of {size}, stride {stride}"


THEIRS = frozenset(name for name in hub.options() if getattr(hub, name).__module__.startswith("s3prl."))
"""s3prl's own upstreams, taken before ours join them; helpers that its modules also export are left out."""

register()
