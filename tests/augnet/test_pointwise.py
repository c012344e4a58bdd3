"""Tone curves held to torchvision's functions, on 8-bit images where they count in levels."""

import kornia.enhance as ke
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from augnet_images import applied, constant, generator, noise
from sweeps import sweep
from torch import Tensor

SHARES = torch.linspace(0, 1, 11, dtype=torch.float64)


def levels(*shape: int, low: int = 0, high: int = 256) -> Tensor:
    return torch.randint(low, high, shape, generator=generator()).to(torch.uint8)


def flat(count: int, *sides: int) -> Tensor:
    """8-bit images with everything at one level, and with two levels."""
    return torch.cat([levels(count, 3, 1, 1).expand(-1, -1, *sides), levels(count, 3, *sides, low=7, high=9)])


IMAGES = {
    "all levels": levels(3, 3, 24, 31),
    "few levels": levels(3, 3, 33, 24, low=90, high=140),
    "one channel": levels(2, 1, 40, 40),
    "small": levels(3, 3, 8, 8),
    "flat": flat(2, 20, 30),
    "black and white": levels(2, 3, 30, 30, high=2) * 255,
}
ALL_IMAGES = pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)


def on_levels(name: str, images: Tensor, magnitude: float) -> Tensor:
    """One op on 8-bit images, the result on the scale of 255."""
    return applied(name, images.double() / 255, constant(len(images), magnitude)) * 255


@pytest.mark.parametrize("stops", [-1.0, -0.4, 0.0, 0.7, 1.0, 3.0])
def test_gamma_equals_torchvision_and_kornia(stops: float) -> None:
    images = torch.cat([noise(2, 3, 6, 7), torch.zeros(1, 3, 6, 7), torch.ones(1, 3, 6, 7)]).double()
    result = applied("gamma", images, constant(4, stops))
    torch.testing.assert_close(result, tv.adjust_gamma(images, 2**stops), rtol=0, atol=1e-12)
    torch.testing.assert_close(result, ke.adjust_gamma(images, 2**stops), rtol=0, atol=1e-12)


def test_gamma_has_a_finite_gradient_at_black() -> None:
    images = torch.zeros(2, 1, 3, 3, requires_grad=True)
    magnitudes = torch.tensor([-1.0, 1.0], requires_grad=True)
    applied("gamma", images, magnitudes).sum().backward()
    assert images.grad is not None
    assert magnitudes.grad is not None
    assert images.grad.isfinite().all()
    assert magnitudes.grad.isfinite().all()


@ALL_IMAGES
@sweep("cleared", range(9))
def test_posterize_equals_torchvision(images: Tensor, cleared: int) -> None:
    expected = tv.posterize(images, 8 - cleared).double()
    torch.testing.assert_close(on_levels("posterize", images, cleared), expected, rtol=0, atol=1e-9)


@ALL_IMAGES
@sweep("share", [0.05, 0.3, 0.5, 0.9, 1.0])
def test_solarize_equals_torchvision(images: Tensor, share: float) -> None:
    expected = tv.solarize(images, 255 * (1 - share)).double()
    torch.testing.assert_close(on_levels("solarize", images, share), expected, rtol=0, atol=1e-9)


@ALL_IMAGES
def test_equalize_equals_torchvision(images: Tensor) -> None:
    torch.testing.assert_close(on_levels("equalize", images, 1.0), tv.equalize(images).double(), rtol=0, atol=1e-9)


@ALL_IMAGES
def test_autocontrast_equals_torchvision(images: Tensor) -> None:
    exact = tv.autocontrast(images.double() / 255) * 255
    torch.testing.assert_close(on_levels("autocontrast", images, 1.0), exact, rtol=0, atol=1e-4)  # float32 inside
    whole = tv.autocontrast(images).double()
    torch.testing.assert_close(
        on_levels("autocontrast", images, 1.0), whole, rtol=0, atol=1 + 1e-9
    )  # fractions cut off


@pytest.mark.parametrize("name", ["equalize", "autocontrast"])
def test_shares_are_blends_with_the_whole_op(name: str) -> None:
    images = IMAGES["few levels"][:1].double() / 255
    whole = applied(name, images, torch.ones(1).double())
    expected = torch.lerp(images, whole, SHARES[:, None, None, None])
    torch.testing.assert_close(applied(name, images.expand(11, -1, -1, -1), SHARES), expected, rtol=0, atol=1e-12)


def test_posterize_clears_the_nearest_number_of_bits() -> None:
    images = IMAGES["all levels"]
    assert torch.equal(on_levels("posterize", images, 2.4), on_levels("posterize", images, 2.0))
    assert torch.equal(on_levels("posterize", images, 2.6), on_levels("posterize", images, 3.0))
