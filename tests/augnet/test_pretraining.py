"""Adversarial losses in closed form, and the pretraining of the field decoder."""

import copy
import math

import pytest
import torch
from augnet_images import noise
from torch import Tensor, nn

from augnet import AugNet, FieldPolicy, FieldSpace
from augnet.pretraining import Discriminators, discriminator_loss, pretrain_field


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    return discriminator_loss(fake, real)


def test_the_losses_at_equilibrium() -> None:
    scores = torch.full((5,), 1.7, dtype=torch.float64)
    assert discriminator_loss(scores, scores).item() == pytest.approx(2 * math.log(2), abs=1e-12)


def test_the_losses_are_cross_entropies_of_relative_scores() -> None:
    real, fake = noise(4, low=-2, high=3), noise(6, low=-3, high=1).flip(0)
    entropy = nn.functional.binary_cross_entropy_with_logits
    above, below = real - fake.mean(), fake - real.mean()
    for loss, target in ((discriminator_loss, 1.0), (generator_loss, 0.0)):
        expected = entropy(above, torch.full_like(above, target)) + entropy(below, torch.full_like(below, 1 - target))
        torch.testing.assert_close(loss(real, fake), expected)
    shifted = discriminator_loss(real + 9, fake + 9)
    torch.testing.assert_close(shifted, discriminator_loss(real, fake))


def test_the_losses_pull_the_scores_in_opposite_directions() -> None:
    real, fake = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    for loss, sign in ((discriminator_loss, 1), (generator_loss, -1)):
        to_real, to_fake = torch.autograd.grad(loss(real, fake), (real, fake))
        assert (sign * to_real < 0).all()
        assert (sign * to_fake > 0).all()


def test_discriminators() -> None:
    images, features = noise(2, 3, 9, 12, dtype=torch.float32), noise(2, 7, dtype=torch.float32)
    both, same = (Discriminators(3, 9, 12, 7, generator()) for _ in range(2))
    scores = both(images, features)
    assert [tuple(score.shape) for score in scores] == [(2,), (2,)]
    assert all(torch.equal(a, b) for a, b in zip(scores, same(images, features), strict=True))
    assert len(Discriminators(3, 9, 12, None)(images)) == 1
    slopes = [layer.negative_slope for layer in both.modules() if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.2] * 4


def pairs(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Noise of the digits' size, and the same moved up by one pixel."""
    images = noise(count, 32, 1, 8, 8, dtype=torch.float32)
    return [(batch, nn.functional.pad(batch[:, :, 1:], (0, 0, 0, 1))) for batch in images]


def small_network(appearance: bool = False) -> AugNet[FieldPolicy, FieldSpace]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AugNet.from_fields(1, 8, 8, appearance=appearance)


def extractor() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU()).eval()


def test_pretraining_changes_the_decoder_alone() -> None:
    net, features = small_network(), extractor()
    before, frozen = copy.deepcopy(net.state_dict()), copy.deepcopy(features.state_dict())
    state = torch.get_rng_state()
    losses = pretrain_field(net, pairs(), features, steps=4, generator=generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert losses.shape == (4, 2)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("policy.decoder."))
    assert all(torch.equal(value, frozen[name]) for name, value in features.state_dict().items())
    everything = [*net.parameters(), *features.parameters()]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in everything)


def test_pretraining_repeats_with_its_generator() -> None:
    first, same, other = small_network(), small_network(), small_network()
    for net, seed in ((first, 0), (same, 0), (other, 1)):
        pretrain_field(net, pairs(), steps=3, generator=generator(seed))
    weights, same_weights, other_weights = (net.policy.decoder.dense.weight for net in (first, same, other))
    assert torch.equal(weights, same_weights)
    assert not torch.equal(weights, other_weights)


def test_the_first_losses_are_near_equilibrium_for_each_discriminator() -> None:
    # at the start G is nearly the identity; shown the identity, no discriminator can tell the two kinds
    images = noise(64, 1, 8, 8, dtype=torch.float32)
    same = [(images, images)]
    alone = pretrain_field(small_network(), same, steps=1, generator=generator())
    both = pretrain_field(small_network(), same, extractor(), steps=1, generator=generator())
    assert alone[0].tolist() == pytest.approx([2 * math.log(2)] * 2, abs=0.2)
    assert both[0].tolist() == pytest.approx([4 * math.log(2)] * 2, abs=0.4)


@pytest.mark.parametrize(("factor", "bias"), [(1.0, 0.3), (0.5, 0.0)])
def test_pretraining_brings_the_images_nearer_to_the_wanted_ones(factor: float, bias: float) -> None:
    # few steps, of which every one goes the right way; later the two networks chase each other around the goal
    net = small_network(appearance=True)
    images = noise(3, 16, 1, 8, 8, high=0.6, dtype=torch.float32)
    codes = 2 * torch.rand(16, 128, generator=generator(5)) - 1
    wanted = factor * images[0].mean() + bias
    before = (net.space.apply(images[0], net.policy.decoder(codes)).mean() - wanted).abs().item()
    pretrain_field(net, [(batch, factor * batch + bias) for batch in images], steps=8, generator=generator())
    after = (net.space.apply(images[0], net.policy.decoder(codes)).mean() - wanted).abs().item()
    assert before > 0.1
    assert after < 0.6 * before


def test_the_features_lead_the_decoder_too() -> None:
    # features that say nothing draw the same random numbers, so that only the gradient through features differs
    silent, telling = small_network(), small_network()
    pretrain_field(silent, pairs(), lambda images: torch.zeros(len(images), 64), steps=2, generator=generator())
    pretrain_field(telling, pairs(), lambda images: images.flatten(1), steps=2, generator=generator())
    assert (silent.policy.decoder.dense.weight - telling.policy.decoder.dense.weight).abs().max() > 1e-5


@pytest.mark.parametrize("batches", [[], "iterator"])
def test_batches_that_run_out(batches: list | str) -> None:
    given = iter(pairs(2)) if batches == "iterator" else []
    with pytest.raises(ValueError, match="batches: expected 5, found"):
        pretrain_field(small_network(), given, steps=5, generator=generator())


def test_lists_of_batches_start_again() -> None:
    assert len(pretrain_field(small_network(), pairs(2), steps=5, generator=generator())) == 5
    assert len(pretrain_field(small_network(), [], steps=0)) == 0


def test_what_cannot_be_pretrained() -> None:
    with pytest.raises(ValueError, match=r"call its eval\(\)"):
        pretrain_field(small_network(), pairs(), extractor().train(), steps=1)
    with pytest.raises(ValueError, match="frozen parameters"):
        pretrain_field(small_network().requires_grad_(False), pairs(), steps=1)
