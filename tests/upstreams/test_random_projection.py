"""Random projections of a backbone: their size, what a draw depends on, and that a frame depends on nothing else."""

import pytest
import torch

from harness.contracts import Upstream
from harness.errors import UserError
from upstreams import catalogue
from upstreams.random_projection.model import build

STATES = (5, 384)
"""Of whisper_tiny."""


@pytest.fixture(scope="module")
def drawn():
    made = {name: catalogue.build(name) for name in ("randproj128_a", "randproj128_b")}
    made["again"] = catalogue.build("randproj128_a")
    made["seed 1"] = catalogue.build("randproj128_a", recipe_seed=1)
    return made


def states(frames, seed=0):
    return torch.randn(frames, *STATES, generator=torch.Generator().manual_seed(seed))


def test_size(drawn):
    upstream = drawn["randproj128_a"]
    assert isinstance(upstream, Upstream)
    assert (upstream.dim, upstream.num_layers, upstream.stride) == (128, 1, 320)
    assert (upstream.base, upstream.level) == ("whisper_tiny", "frame")
    assert [part.shape for part in upstream.transform([states(7), states(1)])] == [(7, 1, 128), (1, 1, 128)]
    # as much power out as in: nothing that follows has to undo a scale
    power = upstream.transform([states(400)])[0].square().mean() / (1 / STATES[0])
    assert 0.8 < float(power) < 1.25


def test_a_draw_is_its_name_and_the_recipe_seed(drawn):
    a, b, again, other = (drawn[name] for name in ("randproj128_a", "randproj128_b", "again", "seed 1"))
    given = [states(9)]
    assert torch.equal(a.transform(given)[0], again.transform(given)[0]) and a.fingerprint == again.fingerprint
    for one in (b, other):
        alike = torch.nn.functional.cosine_similarity(a.matrix.flatten(), one.matrix.flatten(), dim=0)
        assert abs(float(alike)) < 0.05 and one.fingerprint != a.fingerprint
    moved = catalogue.build("randproj128_b", recipe_seed=1)
    assert not torch.equal(moved.matrix, b.matrix) and not torch.equal(moved.matrix, other.matrix)


def test_a_frame_depends_on_itself_alone(drawn):
    upstream, whole = drawn["randproj128_a"], states(30)
    alone = upstream.transform([whole[4:5]])[0]
    padded = torch.cat([whole[4:9], torch.zeros(3, *STATES)])
    for found, place in ((upstream.transform([states(3, 1), whole])[1], 4), (upstream.transform([padded])[0], 0)):
        torch.testing.assert_close(found[place : place + 1], alone, rtol=1e-5, atol=1e-6)
    # digital silence may leave states without any spread
    assert bool(torch.isfinite(upstream.transform([torch.zeros(2, *STATES)])[0]).all())


def test_no_state_outweighs_the_others(drawn):
    upstream, plain = drawn["randproj128_a"], states(12)
    louder = plain.clone()
    louder[:, -1] *= 50
    torch.testing.assert_close(upstream.transform([louder])[0], upstream.transform([plain])[0], rtol=1e-3, atol=1e-4)


def test_another_backbone(hf_folder):
    folder = hf_folder("hubert")
    upstream = catalogue.build("randproj128_b@hubert_base", folder=folder)
    assert upstream.backbone_shape == (3, 32) and upstream.dim == 128
    with pytest.raises(UserError, match="3 x 32 states x dimensions of hubert_base wanted, found 5 x 384"):
        upstream.transform([states(2)])


def test_what_it_refuses(tmp_path):
    card = catalogue.card("randproj128_a")
    with pytest.raises(UserError, match="drawn, not trained: leave out --checkpoint"):
        build(card, "randproj128_a", "whisper_tiny", 0, tmp_path)
    with pytest.raises(UserError, match="size"):
        build(card.model_copy(update={"options": {"size": 0, "draw": "a"}}), "x", "whisper_tiny", 0, None)
    with pytest.raises(UserError, match="`backbone` is missing"):
        build(card, "x", None, 0, None)
    with pytest.raises(UserError, match="encode waves with that"):
        catalogue.build("randproj128_a@fbank").layers([])
