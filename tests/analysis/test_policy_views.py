"""Views of a policy: enumerations against drawing from the policy itself, quadratures against closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.moments.mixing_views import mixed_views
from analysis.moments.policy_views import views_of
from analysis.moments.weighted_views import WeightedViews, cube
from augnet import AugNet, ClassConditionalPolicy, ConditionalPolicy, MixturePolicy, RangePolicy, TransformSpace
from augnet.baselines import (
    AugMix,
    AutoAugment,
    CutMix,
    Cutout,
    FlipCrop,
    Mixup,
    RandAugment,
    TrivialAugment,
    make_baseline,
)
from augnet.baselines.base import Baseline

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = 0.3 + 0.4 * torch.rand(3, 8, 8, generator=GENERATOR)
DRAWS = 20_000


def ranges(**ops: float) -> AugNet[RangePolicy, TransformSpace]:
    return AugNet.from_ops(ops, initial=1.0)


def assert_same_distribution(views: WeightedViews, drawn: Tensor) -> None:
    """Means and variances of every pixel agree within five standard errors of the draws."""
    moments = views.moments
    assert float(views.weights.sum()) == pytest.approx(1, abs=1e-5)
    mean, variance, fourth = drawn.mean(0), drawn.var(0), (drawn - drawn.mean(0)).pow(4).mean(0)
    draws = 1 / (1 / len(drawn) + (1 / len(views.images) if views.rule == "random" else 0))
    mean_bar = (variance / draws).sqrt()
    variance_bar = ((fourth - variance**2).clamp(min=0) / draws).sqrt()
    assert bool(((moments.mean - mean).abs() <= 5 * mean_bar + 2e-4).all())
    assert bool(((moments.variance - variance).abs() <= 5 * variance_bar + 2e-4).all())
    direction = torch.linspace(-1, 1, mean.numel()).view_as(mean)  # also between pixels
    along = (drawn * direction).flatten(1).sum(1)
    bar = float((((along - along.mean()).pow(4).mean() - along.var() ** 2).clamp(min=0) / draws).sqrt())
    assert abs(float(moments.quadratic(direction)) - float(along.var())) <= 5 * bar + 5e-3


@pytest.mark.parametrize(
    "policy", [TrivialAugment(), RandAugment(), RandAugment(rounds=1), AutoAugment(), FlipCrop(), FlipCrop(flip=0.2)]
)
def test_enumerations_are_the_distribution_of_the_draws(policy: Baseline) -> None:
    views = views_of(policy, IMAGE)
    assert views.rule == "enumeration"
    drawn = policy.augment(IMAGE.repeat(DRAWS, 1, 1, 1), torch.Generator().manual_seed(1))
    assert_same_distribution(views, drawn)
    seen = {tuple(row) for row in (views.images.flatten(1) * 1e4).round().int().tolist()}
    met = {tuple(row) for row in (drawn[:500].flatten(1) * 1e4).round().int().tolist()}
    assert met <= seen  # nothing is drawn that is not enumerated


def test_cutout_is_enumerated_with_every_window() -> None:
    views = views_of(Cutout(0.5), IMAGE)
    assert (views.rule, len(views.images)) == ("enumeration", 64)
    fill, covered = IMAGE.mean(dim=(1, 2), keepdim=True), []
    for low_y in range(-2, 6):
        for low_x in range(-2, 6):  # windows of half the side, centered at every pixel, cut off at the border
            window = torch.zeros(8, 8, dtype=torch.bool)
            window[max(0, low_y) : low_y + 4, max(0, low_x) : low_x + 4] = True
            covered.append(torch.where(window, fill, IMAGE))
    expected = torch.stack(covered)
    torch.testing.assert_close(views.moments.mean, expected.mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(views.moments.variance, expected.var(0, correction=0), atol=1e-5, rtol=0)


def test_a_mixture_of_one_op_is_enumerated_by_its_probabilities() -> None:
    space = TransformSpace({"rotation": 40.0, "brightness": 0.2})
    policy = MixturePolicy.over(space, strengths=5)
    with torch.no_grad():
        policy.op_logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
        policy.level_logits[1] = torch.tensor([0.0, 0.0, 2.0])
    net = AugNet(space, policy)
    views = views_of(net, IMAGE)
    assert (views.rule, len(views.images)) == ("enumeration", 1 + 4 + 4 + 4 + 4)
    drawn = net.train()(IMAGE.repeat(DRAWS, 1, 1, 1), generator=torch.Generator().manual_seed(1)).detach()
    assert_same_distribution(views, drawn)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "rule"),
    [
        (ranges(rotation=30.0), "midpoint"),
        (ranges(translate_x=0.2, translate_y=0.1), "midpoint"),
        (ranges(horizontal_flip=1.0), "midpoint"),
        (ranges(crop=0.4, contrast=0.5, cutout=0.5), "quasi-random"),
        (ranges(noise=0.1, brightness=0.1), "random"),
        (AugNet.from_fields(3, 8, 8), "quasi-random"),
        (AugNet(TransformSpace(["scale"]), ConditionalPolicy(TransformSpace(["scale"]), 3)), "midpoint"),
        (AugNet(*(lambda s: (s, MixturePolicy.over(s, ops_per_image=2)))(TransformSpace(["scale", "hue"]))),
         "quasi-random"),
    ],
)  # fmt: skip
def test_quadratures_are_the_distribution_of_the_draws(net: AugNet, rule: str) -> None:
    views = views_of(net, IMAGE, count=4096)
    assert views.rule == rule
    draws = 2000 if net.policy.kind == "field" else DRAWS
    drawn = net.train()(IMAGE.repeat(draws, 1, 1, 1), generator=torch.Generator().manual_seed(1)).detach()
    net.eval()
    assert_same_distribution(views, drawn)


def blended(image: Tensor, other: Tensor, mean: float, variance: float) -> tuple[Tensor, Tensor]:
    """Mean and variances of `x + a (y - x)` with a random number `a`."""
    return image + mean * (other - image), variance * (other - image).square()


def shifted(image: Tensor, pixels: float) -> tuple[Tensor, Tensor]:
    """Mean and variances under shifts to the right, uniform in `[-pixels, pixels]`, by numpy's interpolation."""
    offsets, columns = (np.arange(4000) + 0.5) / 2000 * pixels - pixels, np.arange(8)
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (1, 1)))
    views = np.stack(
        [[np.interp(columns - k, np.arange(-1, 9), row) for row in padded.reshape(-1, 10)] for k in offsets]
    )
    return (torch.from_numpy(part).view_as(image) for part in (views.mean(0), views.var(0)))  # type: ignore[return-value]


def test_quadratures_converge_to_the_closed_forms() -> None:
    image = IMAGE.double()
    gray = torch.tensordot(torch.tensor([0.299, 0.587, 0.114]).double(), image.mean(dim=(1, 2)), dims=1)
    first, second = (math.sinh(k * 0.3 * math.log(2)) / (k * 0.3 * math.log(2)) for k in (1, 2))  # of 2^m
    for net, (mean, variance) in (
        (ranges(brightness=0.2), blended(image, image + 1, 0.0, 0.4**2 / 12)),
        (ranges(contrast=0.3), blended(gray.expand_as(image), image, first, second - first**2)),
        (ranges(translate_x=0.2), shifted(image, 1.6)),
    ):
        moments = views_of(net.double(), image, count=2000).moments
        torch.testing.assert_close(moments.mean, mean, atol=1e-6, rtol=0)
        torch.testing.assert_close(moments.variance, variance, atol=1e-6, rtol=0)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    crops = torch.stack([padded[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)])
    views = views_of(FlipCrop(flip=0.0), image)
    torch.testing.assert_close(views.moments.variance, crops.var(0, correction=0))


def test_a_policy_that_looks_at_the_label_gets_it() -> None:
    space = TransformSpace({"brightness": 0.2})
    policy = ClassConditionalPolicy(space, 2)
    with torch.no_grad():
        policy.theta.copy_(torch.tensor([[-20.0], [20.0]]))
    net = AugNet(space, policy)
    none, full = (views_of(net, IMAGE, torch.tensor(label)).moments for label in (0, 1))
    assert float(none.trace) == pytest.approx(0, abs=1e-6)
    assert float(full.trace) == pytest.approx(192 * 0.4**2 / 12, rel=1e-3)


def test_chains_and_augmix_are_drawn() -> None:
    for policy in (AugMix(), make_baseline("flip_crop+trivial_augment")):
        assert isinstance(policy, Baseline)
        first, again = views_of(policy, IMAGE, count=50, seed=3), views_of(policy, IMAGE, count=50, seed=3)
        assert first.rule == "random"
        assert torch.equal(first.images, again.images)
        assert not torch.equal(first.images, views_of(policy, IMAGE, count=50, seed=4).images)


def test_the_policy_is_left_as_it_is() -> None:
    net = ranges(rotation=30.0, crop=0.2)
    net.eval()
    before = torch.get_rng_state()
    views_of(net, IMAGE)
    assert not net.training
    assert torch.equal(torch.get_rng_state(), before)
    assert net.policy.theta.requires_grad
    assert not views_of(net, IMAGE).images.requires_grad


# Mixing

PAIR = torch.stack([IMAGE, IMAGE.flip(0, 2)])
TARGETS = torch.eye(2)


def test_mixup_has_the_closed_form_of_a_blend_and_mixes_labels() -> None:
    views = mixed_views(Mixup(), PAIR, TARGETS, count=4096)
    mean, variance = blended(PAIR[0], PAIR[1], 0.5, 1 / 12)
    torch.testing.assert_close(views.moments.mean, mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(views.moments.variance, variance, atol=1e-3, rtol=0)
    assert views.targets is not None
    share = views.targets[:, 1]
    torch.testing.assert_close(views.images, PAIR[0] + share[:, None, None, None] * (PAIR[1] - PAIR[0]))


def test_a_beta_share_has_its_moments() -> None:
    targets = mixed_views(Mixup(alpha=0.3), PAIR, TARGETS, count=4096).targets
    assert targets is not None
    assert float(targets[:, 1].mean()) == pytest.approx(0.5, abs=1e-3)
    assert float(targets[:, 1].var()) == pytest.approx(1 / (4 * (2 * 0.3 + 1)), abs=1e-3)


@pytest.mark.parametrize("policy", [CutMix(), AugNet.from_ops({"cutmix": 0.5, "rotation": 20.0}, initial=1.0)])
def test_cutmix_is_the_distribution_of_the_draws_in_a_batch_of_the_two(policy: AugNet | CutMix) -> None:
    views = mixed_views(policy, PAIR, TARGETS, count=4096)
    generator = torch.Generator().manual_seed(1)
    drawn = [policy.train()(PAIR, TARGETS, generator=generator) for _ in range(600)]
    assert_same_distribution(views, torch.stack([images[0] for images, _ in drawn]).detach())
    assert views.targets is not None
    labels = torch.stack([targets[0] for _, targets in drawn]).detach()
    assert float(views.targets[:, 1].mean()) == pytest.approx(float(labels[:, 1].mean()), abs=0.03)


# Misuse


def test_mixing_policies_need_a_partner_and_others_do_not() -> None:
    with pytest.raises(ValueError, match="mixed_views"):
        views_of(ranges(mixup=0.5), IMAGE)
    with pytest.raises(ValueError, match="views_of"):
        mixed_views(ranges(rotation=5.0), PAIR, TARGETS)
    with pytest.raises(ValueError, match="two images"):
        mixed_views(Mixup(), PAIR[:1], TARGETS[:1])


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="count"):
        views_of(ranges(rotation=5.0), IMAGE, count=0)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_the_cube_is_filled_evenly(dimensions: int) -> None:
    points, _ = cube(1024, dimensions)
    assert points.shape == (1024, dimensions)
    assert bool(((points >= 0) & (points < 1)).all())
    torch.testing.assert_close(points.mean(0), torch.full((dimensions,), 0.5).double(), atol=3e-3, rtol=0)
    torch.testing.assert_close(points.var(0), torch.full((dimensions,), 1 / 12).double(), atol=3e-3, rtol=0)


def test_what_is_drawn_before_the_mixing_is_refused() -> None:
    with pytest.raises(ValueError, match="take the policy without the baseline before it"):
        mixed_views(Mixup(before=FlipCrop()), PAIR, TARGETS)
