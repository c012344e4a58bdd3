"""Gradients of every op, in magnitude and image: finite differences, or the stand-in that its docstring names."""

import math

import pytest
import torch
from augnet_images import applied, constant, draw, generator, noise
from sweeps import kind_of, sweep
from torch import Tensor

from augnet import TransformSpace
from augnet.ops import OPS, MirrorOp

NAMES = tuple(OPS)
EXACT = tuple(name for name, op in OPS.items() if op.gradient == "exact")
MIRRORS = tuple(op for op in OPS.values() if isinstance(op, MirrorOp))
EIGHT_BIT = ("posterize", "equalize")  # count in levels: in the image, as if nothing were done


def middle(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Images far from black and white, where the clamp would stop gradients."""
    return noise(*shape, low=0.25, high=0.75, dtype=dtype)


@pytest.mark.slow
@sweep("name", EXACT, by=kind_of)
def test_gradient_in_the_magnitude_by_finite_differences(name: str) -> None:
    images, space = middle(2, 3, 4, 5), TransformSpace([name])
    draws = space.noise(images, generator())
    signs = [1, -1 if OPS[name].signed else 1]
    magnitudes = OPS[name].bound * torch.tensor([[0.37], [0.61]], dtype=torch.float64) * torch.tensor(signs)[:, None]
    assert torch.autograd.gradcheck(lambda rows: space.apply(images, rows, draws), (magnitudes.requires_grad_(),))


@pytest.mark.slow
@sweep("name", [name for name in NAMES if name not in EIGHT_BIT], by=kind_of)
def test_gradient_in_the_image_by_finite_differences(name: str) -> None:
    images, magnitudes = middle(2, 3, 3, 4).requires_grad_(), OPS[name].bound * torch.tensor([0.37, 0.61]).double()
    assert torch.autograd.gradcheck(lambda pixels: applied(name, pixels, magnitudes), (images,))


@pytest.mark.parametrize("name", EIGHT_BIT)
@sweep("share", [0.0, 0.4, 1.0])
def test_eight_bit_ops_pass_the_gradient_of_the_image_on_as_it_is(name: str, share: float) -> None:
    images, weights = middle(2, 3, 6, 5).requires_grad_(), noise(2, 3, 6, 5, low=-1)
    result = applied(name, images, constant(2, share * OPS[name].bound))
    inside = (result > 0) & (result < 1)  # the others are stopped by the clamp
    assert inside.double().mean() > 0.8
    (gradient,) = torch.autograd.grad((result * weights).sum(), images)
    torch.testing.assert_close(gradient[inside], weights[inside], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_gradient_of_all_exact_ops_together_by_finite_differences() -> None:
    space = TransformSpace([name for name in EXACT if name not in EIGHT_BIT])
    images = middle(2, 3, 3, 4).requires_grad_()
    draws = space.noise(images, generator())
    magnitudes = draw(space, 2, 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, m: space.apply(x, m, draws), (images, magnitudes))


def slope(name: str, images: Tensor, magnitudes: Tensor, weights: Tensor) -> Tensor:
    """Derivative `[B]` of the weighted sum of each image in its magnitude."""
    learned = magnitudes.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((applied(name, images, learned) * weights).sum(), learned)
    return gradient


@sweep("dtype", [torch.float32, torch.float64])
@sweep("name", NAMES, by=kind_of)
def test_every_magnitude_of_every_image_has_a_gradient(name: str, dtype: torch.dtype) -> None:
    op = OPS[name]
    images = noise(5, 3, 22, 24, low=0.05, high=0.95, dtype=dtype)
    weights = noise(5, 3, 22, 24, low=-1, dtype=dtype)
    for sign in (1, -1) if op.signed else (1,):
        magnitudes = sign * op.bound * torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=dtype)
        strength = op.bound * slope(name, images, magnitudes, weights)
        assert (strength.abs() > 1e-3).all(), strength


def test_every_magnitude_has_a_gradient_when_all_ops_are_at_work() -> None:
    space = TransformSpace(NAMES)
    images, weights = noise(6, 3, 22, 24, low=0.05, high=0.95), noise(6, 3, 22, 24, low=-1)
    magnitudes = draw(space, 6, 0.15).requires_grad_()
    loss = (space.apply(images, magnitudes, generator=generator()) * weights).sum()
    (gradient,) = torch.autograd.grad(loss, magnitudes)
    assert gradient.isfinite().all()
    assert (gradient.abs().amax(0) > 1e-3).all(), dict(zip(NAMES, gradient.abs().amax(0).tolist(), strict=True))


@pytest.mark.parametrize("op", MIRRORS, ids=lambda op: op.name)
def test_stand_in_of_a_mirror_is_the_derivative_of_the_expected_image(op: MirrorOp) -> None:
    images, weights = noise(4, 3, 5, 6), noise(4, 3, 5, 6, low=-1)
    expected = ((images.flip(op.dim) - images) * weights).sum((1, 2, 3))
    for probability in (0.0, 0.5, 1.0):
        found = slope(op.name, images, constant(4, probability), weights)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("bits", [0.0, 1.0, 3.0, 4.4])
def test_stand_in_of_posterize_is_what_is_cut_off_times_ln_2(bits: float) -> None:
    levels = torch.randint(40, 250, (4, 1, 5, 6), generator=generator())
    cut = levels % 2 ** round(bits)
    expected = -math.log(2) * cut.double().clamp(min=0.5) / 255
    found = slope("posterize", levels.double() / 255, constant(4, bits), torch.ones(1).double())
    torch.testing.assert_close(found, expected.sum((1, 2, 3)), rtol=0, atol=1e-10)


def test_stand_in_of_solarize_is_a_triangle_around_the_threshold() -> None:
    """Its integral over all thresholds is what inverting the pixel does: `1 - 2 x`."""
    gray = torch.tensor([0.2, 0.35, 0.7, 0.8], dtype=torch.float64)
    shares = torch.linspace(0.0, 1.0, 2001, dtype=torch.float64)
    for pixel in gray:
        found = slope("solarize", pixel.expand(2001, 1, 1, 1), shares, torch.ones(1).double())
        near = (shares - (1 - pixel)).abs() < 0.1
        assert (found[near] * (1 - 2 * pixel) > -1e-12).all()
        assert not found[~near].any()
        assert float(torch.trapezoid(found, shares)) == pytest.approx(float(1 - 2 * pixel), abs=1e-6)


@sweep("name", NAMES, by=kind_of)
def test_gradient_reaches_the_images(name: str) -> None:
    images = middle(4, 3, 6, 7, dtype=torch.float32).requires_grad_()
    magnitudes = OPS[name].bound * torch.tensor([0.0, 0.2, 0.3, 0.4])
    (gradient,) = torch.autograd.grad((applied(name, images, magnitudes) * noise(3, 6, 7).float()).sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0.1).all()
