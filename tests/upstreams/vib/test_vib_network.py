"""The network of VIB: mix, variance, sampling, poolers, and what a loss does to its weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harness import ctc
from upstreams.vib.loss import kl
from upstreams.vib.network import AttentionPooler, ClassDecoder, LayerMix, TextDecoder, Vib, padded, seeded

WIDTH, DIM = 6, 4


def text_net(layers: tuple[int, ...] = (1, 2), bottleneck: bool = True, seed: int = 0) -> Vib:
    return seeded(layers, WIDTH, DIM, 5, True, bottleneck, seed)


def hidden(frames: int, layers: int = 3) -> torch.Tensor:
    return torch.randn(frames, layers, WIDTH, generator=torch.Generator().manual_seed(frames))


def test_the_mix_begins_as_the_mean_of_its_layers_and_leaves_the_first_out() -> None:
    mix, x = LayerMix([1, 2], WIDTH), hidden(5)
    assert torch.allclose(mix(x), x[:, 1:].mean(1), atol=1e-6)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, 50.0]))
    assert torch.allclose(mix(x), x[:, 2], atol=1e-5)
    assert mix.layer_weights().sum().item() == pytest.approx(1.0)


def test_one_layer_is_that_layer() -> None:
    mix, x = LayerMix([2], WIDTH), hidden(5)
    assert torch.equal(mix(x), x[:, 2]) and mix.layer_weights().tolist() == [1.0]
    mu, var = text_net((2,)).encode(x)
    assert mu.shape == var.shape == (5, DIM)


def test_standardised_input_and_a_dimension_that_never_varies() -> None:
    mix = LayerMix([0], 2)
    mix.load_state_dict({**mix.state_dict(), "mean": torch.tensor([[1.0, 5.0]]), "std": torch.tensor([[2.0, 0.0]])})
    assert mix(torch.tensor([[[3.0, 5.0]]])).tolist() == [[1.0, 0.0]]


def test_the_variance_is_softplus_of_its_head() -> None:
    net, x = text_net(), hidden(7)
    mu, var = net.encode(x)
    before = F.gelu(net.encoder.enc2(F.gelu(net.encoder.enc1(net.mix(x)))))
    assert torch.allclose(var, torch.log1p(net.encoder.var(before).exp()), atol=1e-6)
    assert torch.equal(mu, net.encoder.mu(before)) and (var > 0).all()


def test_sampling_in_training_has_the_mean_and_variance_that_were_asked_for() -> None:
    net, x = text_net(), hidden(1)[:, 1:].expand(20_000, -1, -1)
    torch.manual_seed(0)
    z, mu, var = net.train().latent(x)
    assert torch.allclose(z.mean(0), mu[0], atol=0.03) and torch.allclose(z.var(0), var[0], rtol=0.05)
    z, mu, _ = net.eval().latent(x)
    assert torch.equal(z, mu)


def test_without_the_bottleneck_training_is_deterministic() -> None:
    net, x = text_net(bottleneck=False).train(), hidden(9)[:, 1:]
    first, second = net.latent(x), net.latent(x)
    assert torch.equal(first[0], second[0]) and torch.equal(first[0], first[1])
    assert not torch.equal(text_net().train().latent(x)[0], text_net().train().latent(x)[0])


def test_the_pooler_is_a_softmax_of_dot_products_and_starts_with_ones() -> None:
    pooler, x = AttentionPooler(2), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert pooler.query.tolist() == [1.0, 1.0]
    first = torch.sigmoid(torch.tensor(1.0))  # scores 2 and 1
    assert torch.allclose(pooler.weights(x), torch.stack([first, 1 - first]))
    assert torch.allclose(pooler(x), torch.stack([first, torch.tensor(1.0)]))


def test_the_pooler_masks_padding() -> None:
    pooler, x = AttentionPooler(DIM), torch.randn(5, DIM)
    whole, mask = padded(torch.cat([x, torch.randn(9, DIM)]), [5, 9])
    assert whole.shape == (2, 9, DIM) and mask.sum(1).tolist() == [5, 9]
    poisoned = whole.masked_fill(~mask[..., None], 1e4)
    assert torch.allclose(pooler(poisoned, mask)[0], pooler(x), atol=1e-6)
    assert (pooler.weights(poisoned, mask)[0, 5:] == 0).all()


def test_attention_and_class_of_one_utterance_are_those_of_a_batch() -> None:
    torch.manual_seed(1)
    decoder = ClassDecoder(DIM, 3)
    with torch.no_grad():
        decoder.cond_attention.query.normal_()
        decoder.z_attention.query.normal_()
    text, acoustic = torch.randn(5, DIM), torch.randn(5, DIM)
    one, other = decoder.attention(text, acoustic)
    assert one.shape == other.shape == (5,) and torch.allclose(one.sum() + other.sum(), torch.tensor(2.0))
    by_hand = decoder.clf(torch.cat([one @ text, other @ acoustic]))
    assert torch.allclose(decoder.classify(text, acoustic), by_hand, atol=1e-6)
    more = torch.randn(8, DIM)
    texts, mask = padded(torch.cat([text, more]), [5, 8])
    acoustics, _ = padded(torch.cat([acoustic, more]), [5, 8])
    assert torch.allclose(decoder(texts, acoustics, mask)[0], by_hand, atol=1e-6)


def test_a_latent_does_not_depend_on_what_is_beside_it() -> None:
    net = text_net().eval()
    alone = net.encode(hidden(5))[0]
    together = net.encode(torch.cat([hidden(7), hidden(5)]))[0][7:]
    assert torch.allclose(alone, together, atol=1e-6)


def total(net: Vib, x: torch.Tensor) -> torch.Tensor:
    """CTC of the symbols 1, 2, 1 on a fixed draw of noise, and 0.3 times the KL."""
    torch.manual_seed(3)
    z, mu, var = net.train().latent(x)
    return ctc.losses(net.decoder(z)[None], torch.tensor([len(x)]), [[1, 2, 1]]).sum() + 0.3 * kl(mu, var).mean()


@pytest.mark.parametrize(
    "name", ["mix.weights", "encoder.enc1.weight", "encoder.enc2.bias", "encoder.mu.weight", "encoder.var.weight"]
)
def test_the_gradient_is_that_of_a_finite_difference(name: str) -> None:
    net, x = text_net().double(), hidden(9)[:, 1:].double()
    weight = dict(net.named_parameters())[name]
    total(net, x).backward()
    assert weight.grad is not None and weight.grad.abs().max() > 0
    at = weight.grad.abs().flatten().argmax()
    sides = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight.view(-1)[at] += step
            sides.append(total(net, x).item())
            weight.view(-1)[at] -= step
    assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(weight.grad.flatten()[at].item(), rel=1e-5)


def test_a_seed_gives_the_same_network_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = text_net(seed=0), text_net(seed=0), text_net(seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.encoder.mu.weight, again.encoder.mu.weight)
    assert not torch.equal(first.encoder.mu.weight, other.encoder.mu.weight)
    assert isinstance(first.decoder, TextDecoder)
