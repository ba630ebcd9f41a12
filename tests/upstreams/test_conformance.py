"""Every card keeps the upstream contract; those that need a download are built from a small random folder."""

from __future__ import annotations

import pytest

from harness.check import check
from upstreams import catalogue

SHIPPED = {"speech_ft_asr"}
"""Of the family speech_ft."""
GIVEN = {"decoar2"} | {
    name
    for name in catalogue.names()
    if name.startswith("speech_ft") and name not in SHIPPED or name.startswith("vib_") and name.endswith("_control")
}
"""Cards whose weights are not shipped: they come by -k or --checkpoint, or a command makes them; the family's own tests
run the checks."""


def _hub_cards() -> list[str]:
    return [n for n in catalogue.names() if (weights := catalogue.card(n).weights) is not None and weights.hub]


@pytest.mark.parametrize("name", [n for n in catalogue.names() if n not in _hub_cards() and n not in GIVEN])
def test_embedded_card_passes_every_check(name):
    results = check(catalogue.build(name))
    assert len(results) == 9
    assert [str(result) for result in results if not result.ok] == []


@pytest.mark.parametrize("name", _hub_cards())
def test_hub_card_passes_every_check_on_a_random_folder(name, hf_folder):
    large = name.endswith("large")
    config = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True} if large else {}
    upstream = catalogue.build(name, folder=hf_folder(catalogue.card(name).options["kind"], **config))
    results = check(upstream)
    assert len(results) == 9
    assert [str(result) for result in results if not result.ok] == []
    assert (upstream.dim, upstream.num_layers, upstream.stride) == (32, 3, 320)
