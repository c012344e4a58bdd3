"""Moments of outputs and losses: exact where they say so, and as wrong as Taylor's series where not."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.moments.factored import Moments, alignment, moments_of
from analysis.moments.network import curvature, loss_gradient, loss_moments, output_moments
from analysis.moments.regularizer import RegularizedLoss, explicit_regularizer
from analysis.moments.sample_size import TargetPrecision, samples_for_covariance, samples_for_image, samples_for_mean
from analysis.moments.weighted_views import Distribution, WeightedViews, distribution, losses_of, outputs_of

torch.manual_seed(0)
SHAPE = (1, 3, 4)
VIEWS = torch.rand(20, *SHAPE, dtype=torch.float64)
WEIGHTS = torch.rand(20, dtype=torch.float64).softmax(dim=0)
MOMENTS = moments_of(VIEWS, WEIGHTS)
TARGET = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


def smooth_network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()


class Linear(nn.Linear):
    """Of flattened images."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flatten(1))


def linear_network() -> Linear:
    torch.manual_seed(2)
    return Linear(12, 3).double()


def shrunk(scale: float) -> tuple[Tensor, Moments]:
    """The views drawn towards their mean, and their moments."""
    views = MOMENTS.mean + scale * (VIEWS - MOMENTS.mean)
    return views, moments_of(views, WEIGHTS)


# Networks


def test_output_moments_of_a_linear_network_are_exact() -> None:
    network = linear_network()
    for moments in (MOMENTS, MOMENTS.compressed(2)):  # by outputs, and by columns
        outputs = output_moments(network, moments)
        if moments is MOMENTS:
            exact = moments_of(network(VIEWS).detach(), WEIGHTS)
            torch.testing.assert_close(outputs.mean, exact.mean)
            torch.testing.assert_close(outputs.factor.T @ outputs.factor, exact.factor.T @ exact.factor)
        flat, weight = moments.factor.flatten(1), network.weight
        torch.testing.assert_close(outputs.factor.T @ outputs.factor, weight @ flat.T @ flat @ weight.T)


def test_curvature_is_the_trace_of_hessian_times_covariance() -> None:
    network, moments = smooth_network(), MOMENTS
    hessian = torch.func.hessian(lambda flat: network(flat.view(1, *SHAPE))[0])(MOMENTS.mean.flatten())
    flat = moments.factor.flatten(1)
    expected = torch.einsum("kij,ij->k", hessian, flat.T @ flat) / 2
    torch.testing.assert_close(curvature(network, moments), expected)
    torch.testing.assert_close(curvature(network, moments, step=1e-3), expected, rtol=1e-4, atol=1e-6)


def test_second_order_output_mean_is_of_third_order() -> None:
    network = smooth_network()
    errors = {}
    for scale in (0.2, 0.1):
        views, moments = shrunk(scale)
        exact = WEIGHTS @ network(views).detach()
        first = network(moments.mean[None])[0].detach()
        second = first + curvature(network, moments)
        errors[scale] = (float((first - exact).norm()), float((second - exact).detach().norm()))
    assert errors[0.1][1] < 0.1 * errors[0.1][0]
    assert errors[0.2][0] / errors[0.1][0] == pytest.approx(4, rel=0.2)
    assert errors[0.2][1] / errors[0.1][1] > 6  # eight, or sixteen where third moments vanish


def test_gauss_newton_loss_is_second_order_for_linear_logits() -> None:
    network = linear_network().requires_grad_(False)
    for scale, share in ((0.5, 0.1), (0.1, 0.01)):
        views, moments = shrunk(scale)
        exact = distribution(losses_of(network(views).detach(), TARGET), WEIGHTS)
        estimate = loss_moments(network, moments, TARGET)
        correction = float(estimate.gauss_newton - estimate.at_mean)
        assert abs(float(estimate.gauss_newton) - exact.mean) < share * correction
        assert float(estimate.variance) == pytest.approx(exact.variance, rel=scale)
    hessian = torch.func.hessian(lambda flat: losses_of(network(flat.view(1, *SHAPE)), TARGET)[0])
    flat = MOMENTS.factor.flatten(1)
    expected = torch.einsum("ij,ij->", hessian(MOMENTS.mean.flatten()), flat.T @ flat) / 2
    estimate = loss_moments(network, MOMENTS, TARGET)
    torch.testing.assert_close(estimate.gauss_newton - estimate.at_mean, expected)


def test_a_relu_network_has_no_second_derivative_but_its_kinks_are_felt_by_a_step() -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3)).double().requires_grad_(False)
    assert float(curvature(network, MOMENTS).abs().max()) == 0
    column = 3 * MOMENTS.factor[:1]
    two = torch.cat([MOMENTS.mean + column, MOMENTS.mean - column])
    exact = (network(two).mean(dim=0) - network(MOMENTS.mean[None])[0]).detach()
    assert float(exact.norm()) > 1e-3
    torch.testing.assert_close(curvature(network, moments_of(two).compressed(1), step=1.0).detach(), exact)


def test_the_saliency_is_that_of_autograd() -> None:
    network = smooth_network()
    image = MOMENTS.mean.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(losses_of(network(image[None]), TARGET)[0], image)
    torch.testing.assert_close(loss_gradient(network, MOMENTS.mean, TARGET), expected)


def test_outputs_of_views_keep_their_order() -> None:
    network = smooth_network()
    views = WeightedViews(VIEWS.repeat(40, 1, 1, 1), WEIGHTS.repeat(40) / 40, "enumeration")  # more than a batch
    torch.testing.assert_close(outputs_of(network, views), network(views.images).detach())


def test_steps_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="step"):
        curvature(smooth_network(), MOMENTS, step=0.0)


# The explicit regularizer


def problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four images with all their views, weights and targets."""
    generator = torch.Generator().manual_seed(5)
    views = torch.rand(4, 6, *SHAPE, dtype=torch.float64, generator=generator)
    weights = torch.rand(6, dtype=torch.float64, generator=generator).softmax(dim=0)
    targets = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    moments = [moments_of(image, weights) for image in views]
    means, factors = (torch.stack(parts) for parts in zip(*((m.mean, m.factor) for m in moments), strict=True))
    return views, weights, targets, torch.cat([means[:, None], factors], dim=1)


def test_training_with_it_is_training_on_infinitely_many_augmentations() -> None:
    """Linear model, squared error: every step of the two trainings is the same."""
    views, weights, targets, moments = problem()
    sampled, regularized = linear_network(), linear_network()
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9) for network in (sampled, regularized)]
    for _ in range(200):
        every = (sampled(views.flatten(0, 1)).view(4, 6, 3) - targets[:, None]).square().sum(dim=2)
        mean_image = (regularized(moments[:, 0]) - targets).square().sum(dim=1).mean()
        added = explicit_regularizer(regularized, moments[:, 0], moments[:, 1:], "squared")
        for optimizer, loss in zip(optimizers, ((every @ weights).mean(), mean_image + added), strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(sampled.weight, regularized.weight, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(sampled.bias, regularized.bias, rtol=1e-10, atol=1e-12)
    plain = linear_network()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        (plain(moments[:, 0]) - targets).square().sum(dim=1).mean().backward()
        optimizer.step()
    assert float((plain.weight - sampled.weight).detach().norm()) > 0.1  # so it does something


def test_the_cross_entropy_form_is_the_gauss_newton_term_of_each_image() -> None:
    *_, moments = problem()
    network = smooth_network()
    total = explicit_regularizer(network, moments[:, 0], moments[:, 1:], "cross_entropy")
    each = [loss_moments(network, Moments(image[0], image[1:]), TARGET) for image in moments]
    torch.testing.assert_close(total, torch.stack([one.gauss_newton - one.at_mean for one in each]).mean())


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_it_carries_gradient_to_parameters(loss: RegularizedLoss) -> None:
    *_, moments = problem()
    network = smooth_network()
    explicit_regularizer(network, moments[:, 0], moments[:, 1:], loss).backward()
    parameter = next(network.parameters())
    assert parameter.grad is not None
    step = 1e-6
    values = []
    for sign in (1, -1):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            next(moved.parameters())[0, 0] += sign * step
        values.append(float(explicit_regularizer(moved, moments[:, 0], moments[:, 1:], loss).detach()))
    assert float(parameter.grad[0, 0]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_what_the_regularizer_cannot_take_is_refused() -> None:
    *_, moments = problem()
    with pytest.raises(ValueError, match="expected factors"):
        explicit_regularizer(smooth_network(), moments[:, 0], moments[:, 0], "squared")
    with pytest.raises(ValueError, match="loss must be"):
        explicit_regularizer(smooth_network(), moments[:, 0], moments[:, 1:], "hinge")  # type: ignore[arg-type]


# How many samples, and alignment


def test_the_counts_of_section_9() -> None:
    """1 % at 95 % took 29,899 samples in the toy case, 5 % took 1,196."""
    z = 1.959963984540054
    variance = 29_898.5 * 0.01**2 / z**2  # of a loss of mean 1
    assert samples_for_mean(Distribution(1.0, variance), TargetPrecision(0.01)) == 29_899
    five = TargetPrecision(0.05)
    assert samples_for_mean(Distribution(1.0, variance), five) == 1_196
    assert samples_for_mean(Distribution(3.0, 9 * variance), five) == 1_196  # relative
    assert samples_for_mean(Distribution(1.0, variance), five, bound="chebyshev") == math.ceil(variance / 0.05**3)


def test_the_count_holds_the_error_that_it_promises() -> None:
    values = torch.tensor([0.1, 0.2, 4.0], dtype=torch.float64)
    shares = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    exact = distribution(values, shares)
    needed = samples_for_mean(exact, TargetPrecision(error=0.1, confidence=0.9))
    assert needed is not None
    generator = torch.Generator().manual_seed(0)
    trials = 2000
    drawn = torch.multinomial(shares, trials * needed, replacement=True, generator=generator).view(trials, needed)
    missed = float(((values[drawn].mean(dim=1) / exact.mean - 1).abs() > 0.1).double().mean())
    assert missed == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / trials))
    safe = samples_for_mean(exact, TargetPrecision(error=0.1, confidence=0.9), bound="chebyshev")
    assert safe is not None
    assert safe > needed


def test_the_count_of_a_mean_image_holds_its_error() -> None:
    needed = samples_for_image(MOMENTS, TargetPrecision(0.05))
    assert needed is not None
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(WEIGHTS, 1000 * needed, replacement=True, generator=generator).view(1000, needed)
    means = torch.stack([VIEWS[rows].mean(dim=0) for rows in drawn])
    squares = (means - MOMENTS.mean).square().flatten(1).sum(dim=1) / MOMENTS.mean.square().sum()
    bar = float(squares.std() / math.sqrt(1000))
    assert abs(float(squares.mean()) - float(MOMENTS.trace / MOMENTS.mean.square().sum()) / needed) < 4 * bar
    assert float(squares.mean()) < 0.05**2 + 4 * bar


def test_counts_at_the_edges() -> None:
    assert samples_for_mean(Distribution(0.0, 1.0), TargetPrecision()) is None
    assert samples_for_mean(Distribution(0.0, 0.0), TargetPrecision()) == 1
    one_column = Moments(MOMENTS.mean, MOMENTS.factor[:1])
    assert samples_for_covariance(one_column, TargetPrecision(0.1)) == math.ceil(100 * math.log(12))
    for error, confidence in ((0.0, 0.95), (0.01, 1.0)):
        with pytest.raises(ValueError, match="found"):
            TargetPrecision(error, confidence)


def test_alignment_is_one_along_the_leading_direction_and_zero_in_the_null_space() -> None:
    few = MOMENTS.compressed(3)
    flat = few.factor.flatten(1)
    leading = few.factor[0]
    assert alignment(few, leading).worst == pytest.approx(1, abs=1e-10)
    assert alignment(few, leading).random > 1
    null = torch.linalg.svd(flat)[2][-1].view(SHAPE)
    assert alignment(few, null).worst == pytest.approx(0, abs=1e-12)
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([
        alignment(few, torch.randn(SHAPE, dtype=torch.float64, generator=generator)).random for _ in range(4000)
    ])  # fmt: skip
    assert float(mean.mean()) == pytest.approx(1, abs=4 * float(mean.std()) / math.sqrt(4000))
    assert alignment(few, torch.zeros(SHAPE).double()) == (0.0, 0.0)


def test_losses_are_cross_entropy() -> None:
    logits = torch.randn(20, 3, dtype=torch.float64)
    labels = torch.full((20,), 1)
    torch.testing.assert_close(losses_of(logits, TARGET), F.cross_entropy(logits, labels, reduction="none"))
