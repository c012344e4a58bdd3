"""Sharpness, blur and noise held to torchvision, kornia and statistics."""

import math

import kornia.filters as kf
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from augnet_images import applied, constant, generator, noise
from sweeps import sweep

SIDES = [(20, 20), (17, 28), (30, 16)]


@sweep("sides", [*SIDES, (3, 3), (2, 9), (1, 1)])
@sweep("amount", [-1.0, -0.4, 0.0, 0.6, 1.0, 4.0])
def test_sharpness_equals_torchvision(sides: tuple[int, int], amount: float) -> None:
    images = noise(2, 3, *sides)
    result = applied("sharpness", images, constant(2, amount))
    torch.testing.assert_close(result, tv.adjust_sharpness(images, 1 + amount), rtol=0, atol=1e-12)
    levels = (images * 255).round()
    whole = tv.adjust_sharpness(levels.to(torch.uint8), 1 + amount).double()
    scaled = 255 * applied("sharpness", levels / 255, constant(2, amount))
    assert (scaled - whole).abs().max() <= 1.5 + abs(amount) / 2  # rounds the smoothed copy, cuts off the result


@sweep("sides", SIDES)
@sweep("sigma", [0.5, 0.8, 1.3, 2.0])
def test_blur_equals_kornia_away_from_the_border(sides: tuple[int, int], sigma: float) -> None:
    images, reach = noise(2, 3, *sides), 7
    narrow = math.ceil(5 * sigma)
    kernel = 2 * min(narrow, reach) + 1  # as wide as the interior allows
    result = applied("blur", images, constant(2, sigma / min(sides)))
    expected = kf.gaussian_blur2d(images, (kernel, kernel), (sigma, sigma), border_type="constant")
    inside = (..., slice(reach, -reach), slice(reach, -reach))
    outside_weight = 2 * math.erfc(kernel / 2 / sigma / math.sqrt(2))
    torch.testing.assert_close(result[inside], expected[inside], rtol=0, atol=max(4 * outside_weight, 1e-7))


def test_a_blur_narrower_than_a_pixel_spreads_a_point_in_proportion_to_the_variance() -> None:
    point = torch.zeros(6, 1, 9, 9, dtype=torch.float64)
    point[:, :, 4, 4] = 1
    sigma = torch.linspace(0.0, 0.5, 6, dtype=torch.float64)
    spread = torch.arange(-4, 5).square().double()
    result = applied("blur", point, sigma / 9)
    variance = (result.sum(2) * spread).sum((1, 2))
    whole = torch.exp(torch.tensor(-2.0)) * 2 / (1 + 2 * torch.exp(torch.tensor(-2.0)))  # of the sampled 0.5
    torch.testing.assert_close(variance, (sigma / 0.5).square() * whole, rtol=1e-2, atol=1e-12)
    torch.testing.assert_close(result.sum((1, 2, 3)), torch.ones(6).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.3, 1.0])
def test_blur_keeps_flat_images_flat_and_needs_no_padding(sigma: float) -> None:
    images = torch.full((2, 3, 12, 17), 0.4, dtype=torch.float64)
    torch.testing.assert_close(applied("blur", images, constant(2, sigma)), images, rtol=0, atol=1e-12)


def test_blur_is_relative_to_the_shorter_side() -> None:
    """The same picture at twice the resolution is blurred by twice the pixels."""
    coarse = noise(1, 1, 12, 18)
    fine = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    finer = fine.repeat_interleave(2, 2).repeat_interleave(2, 3)
    small, large = (applied("blur", images, constant(1, 0.08)) for images in (fine, finer))
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(large, 2), small, rtol=0, atol=2e-3)


@pytest.mark.parametrize("deviation", [0.01, 0.05, 0.1])
def test_noise_is_white_and_normal_with_the_given_deviation(deviation: float) -> None:
    images = torch.full((8, 3, 48, 48), 0.5, dtype=torch.float64)
    residual = (applied("noise", images, constant(8, deviation)) - images) / deviation
    count = residual.numel()
    error = 4 / math.sqrt(count)
    assert abs(float(residual.mean())) < error
    assert abs(float(residual.var()) - 1) < math.sqrt(2) * error
    normal = 0.5 * (1 + torch.erf(residual.flatten().sort().values / math.sqrt(2)))
    assert (normal - torch.linspace(0, 1, count)).abs().max() < 1.63 / math.sqrt(count)  # Kolmogorov-Smirnov at 1 %
    for shifted in (residual.roll(1, 3), residual.roll(1, 2), residual.roll(1, 1), residual.roll(1, 0)):
        assert abs(float((residual * shifted).mean())) < error


def test_noise_is_that_of_the_generator_times_the_deviation() -> None:
    images = noise(3, 2, 5, 6, low=0.4, high=0.6)
    field = torch.randn(3, 2, 5, 6, generator=generator()).double()
    magnitudes = torch.tensor([0.01, 0.02, 0.05], dtype=torch.float64)
    expected = images + magnitudes[:, None, None, None] * field
    torch.testing.assert_close(applied("noise", images, magnitudes), expected.clamp(0, 1), rtol=0, atol=1e-12)
