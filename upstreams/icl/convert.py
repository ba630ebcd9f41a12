"""Reads a checkpoint of the authors' own training code (Lightning), weights only, into one of ours.

    python harness/posttrain.py icl --convert last.ckpt --backbone wavlm_base_plus

Their network reads the raw time-mean of one layer, the last unless `--layers` says otherwise. The widths are those of
the file; which blocks the latent holds is not in it, so `--variant` and `--residual` say so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from harness.contracts import Upstream
from harness.errors import UserError
from upstreams.checkpoints import probe
from upstreams.icl.checkpoint import Checkpoint, Meta, new_network
from upstreams.icl.settings import from_options
from upstreams.weights import load_tensors, sha256_file

LINEAR = re.compile(r"(?:^|\.)disentanglement_network\.encoder\.(\d+)\.(weight|bias)$")
"""Their names of the MLP's tensors: numbers 0, 2, 4 … are the linear layers, those between are ReLUs."""


def converted(path: Path, backbone: Upstream, given: dict[str, Any], seed: int) -> Checkpoint:
    """The checkpoint in `path` on `backbone`; `given` are the command line's settings.

    Raises UserError: a pickle with more than tensors and plain containers, another network, another backbone's width.
    """
    layers = str(given.get("layers", "last"))
    if not (layers == "last" or layers.isdigit()):
        raise UserError(f"--convert: their network reads one layer, `last` or a number, found --layers {layers}")
    index = backbone.num_layers - 1 if layers == "last" else int(layers)
    if index >= backbone.num_layers:
        raise UserError(
            f"--convert: {backbone.name} has layers 0 to {backbone.num_layers - 1}, found --layers {layers}"
        )
    if given.get("standardise"):
        raise UserError("--convert: their network reads the raw time-mean, so --standardise does not go with it")
    linears = _linears(load_tensors(path), path)
    width, latent = linears[0][0].shape[1], linears[-1][0].shape[0]
    if width != backbone.dim:
        raise UserError(
            f"{path} reads {width} dimensions, {backbone.name} gives {backbone.dim}: it is for another backbone"
        )
    sizes = {"preset": "paper", "hidden": [w.shape[0] for w, _ in linears[:-1]], "layers": layers, "standardise": False}
    blocks = len(from_options({**sizes, **given}, "--convert").blocks)
    if latent % blocks:
        raise UserError(
            f"{path}: a latent of {latent} does not divide into {blocks} blocks; give its --variant and --residual"
        )
    settings = from_options({**sizes, **given, "hidden": sizes["hidden"], "block_dim": latent // blocks}, "--convert")
    network = new_network(settings, [index], "concat", width)
    for module, (weight, bias) in zip(list(network.mlp)[::2], linears, strict=True):
        module.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    meta = Meta(
        origin=f"converted from {path.name}, sha256 {sha256_file(path)}",
        settings=settings,
        recipe_hash=settings.hash,
        seed=seed,
        backbone=backbone.name,
        backbone_fingerprint=backbone.fingerprint,
        backbone_layers=backbone.num_layers,
        backbone_dim=backbone.dim,
        stride=backbone.stride,
        layers=[index],
        kind="concat",
        standardise=False,
        licence="as its source",
    )
    return Checkpoint(meta, network, probe(backbone))


def _linears(tensors: dict[str, Tensor], path: Path) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of each linear layer in order, checked to follow on one another."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if match := LINEAR.search(name):
            found.setdefault(int(match[1]), {})[match[2]] = value
    numbers = sorted(found)
    whole = all(set(found[n]) == {"weight", "bias"} and found[n]["weight"].dim() == 2 for n in numbers)
    if not numbers or numbers != list(range(0, 2 * len(numbers), 2)) or not whole:
        raise UserError(
            f"{path}: wanted disentanglement_network.encoder.0, .2, … weight and bias (the authors' MLP), found "
            f"{', '.join(list(tensors)[:3]) or 'no tensors'}"
        )
    linears = [(found[n]["weight"], found[n]["bias"]) for n in numbers]
    for (before, bias), (after, _) in zip(linears, linears[1:], strict=False):
        if after.shape[1] != before.shape[0] or bias.shape != before.shape[:1]:
            raise UserError(f"{path}: the MLP's layers do not follow on one another")
    return linears
