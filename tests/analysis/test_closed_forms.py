"""Closed forms of METHODS.md 2.3 against enumeration and quadrature in float64, and the ops of `augnet` themselves."""

import math

import pytest
import torch
from torch import Tensor

from analysis.moments.blends import (
    Spread,
    blend,
    brightness,
    contrast,
    exposure,
    flip,
    saturation,
    switch,
)
from analysis.moments.colours import channel_gains, colour_matrix, hue
from analysis.moments.composition import compose, flipped
from analysis.moments.factored import Moments, moments_of
from analysis.moments.masks import cutout, cutout_windows, pixel_dropout, white_noise
from analysis.moments.shifts import shear, shear_mean, smooth_translation, translation, translation_mean
from augnet import TransformSpace
from augnet.ops import spatial

torch.manual_seed(0)
IMAGE = 0.3 + 0.4 * torch.rand(3, 6, 8, dtype=torch.float64)  # far from 0 and 1: nothing is clamped
TINY = 1e-12


def dense(moments: Moments) -> Tensor:
    """The covariance as the D x D matrix that the library never builds."""
    flat = moments.factor.flatten(1)
    matrix = flat.T @ flat
    return matrix if moments.diagonal is None else matrix + moments.diagonal.flatten().diag()


def dense_of(images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of weighted images by their definition, E t t^T - mu mu^T."""
    flat = images.flatten(1).double()
    mean = weights @ flat
    return mean, (flat.T * weights) @ flat - mean[:, None] * mean


def assert_moments(moments: Moments, images: Tensor, weights: Tensor, tolerance: float = TINY) -> None:
    mean, covariance = dense_of(images, weights)
    torch.testing.assert_close(moments.mean.flatten(), mean, rtol=0, atol=tolerance)
    torch.testing.assert_close(dense(moments), covariance, rtol=0, atol=tolerance)


def by_op(name: str, magnitudes: Tensor, **noise: Tensor) -> Tensor:
    """What the op of `augnet` makes of the image at each magnitude."""
    space = TransformSpace({name: float(magnitudes.abs().max())})
    return space.apply(IMAGE.repeat(len(magnitudes), 1, 1, 1), magnitudes[:, None], noise or None)


def gauss_legendre(width: float, low: float | None = None, count: int = 40) -> tuple[Tensor, Tensor]:
    """Nodes and weights of a uniform density on [low, width], by default [-width, width]."""
    import numpy as np

    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(count))
    start = -width if low is None else low
    return start + (nodes + 1) / 2 * (width - start), weights / 2


# Rank one and rank two, against the ops of augnet


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        ("brightness", brightness(IMAGE, Spread.uniform(-0.2, 0.2))),
        ("exposure", exposure(IMAGE, Spread.factor(0.2))),
        ("contrast", contrast(IMAGE, Spread.factor(0.2))),
        ("saturation", saturation(IMAGE, Spread.factor(0.2))),
    ],
)
def test_linear_colour_is_rank_one_and_what_the_op_does(name: str, moments: Moments) -> None:
    magnitudes, weights = gauss_legendre(0.2)
    assert_moments(moments, by_op(name, magnitudes), weights)
    assert len(moments.factor) == 1


def test_hue_is_rank_two_and_what_the_op_does() -> None:
    magnitudes, weights = gauss_legendre(30.0)
    moments = hue(IMAGE, 30.0)
    assert len(moments.factor) == 2
    assert_moments(moments, by_op("hue", magnitudes), weights, 1e-7)  # YIQ in float32 numbers of the op
    covariance = dense_of(by_op("hue", magnitudes), weights)[1]
    assert int(torch.linalg.matrix_rank(covariance, hermitian=True, rtol=1e-6)) == 2


def test_channel_gains_are_what_the_op_does() -> None:
    nodes, weights = gauss_legendre(1.0, low=0.0, count=8)
    directions = torch.cartesian_prod(nodes, nodes, nodes)
    images = by_op("channel_gain", torch.full((len(directions),), 0.2, dtype=torch.float64), channel_gain=directions)
    assert_moments(channel_gains(IMAGE, Spread.factor(0.2)), images, torch.cartesian_prod(*[weights] * 3).prod(1))


def test_a_random_colour_matrix_has_rank_twelve_at_most() -> None:
    matrices = torch.randn(40, 3, 4, dtype=torch.float64)
    weights = torch.rand(40).double().softmax(0)
    mean, covariance = dense_of(matrices, weights)
    values, vectors = torch.linalg.eigh(covariance)
    factor = (vectors * values.clamp(min=0).sqrt()).T.view(12, 3, 4)
    images = torch.einsum("kcd,dhw->kchw", matrices[..., :3], IMAGE) + matrices[..., 3][..., None, None]
    assert_moments(colour_matrix(IMAGE, mean.view(3, 4), factor), images, weights, 1e-10)
    assert int(torch.linalg.matrix_rank(dense_of(images, weights)[1], hermitian=True, rtol=1e-8)) == 12


def test_contrast_against_monte_carlo() -> None:
    """METHODS.md section 9: contrast, covariance .3 % by Monte Carlo; here with its error bar."""
    draws = 200_000
    factors = torch.exp2(torch.rand(draws, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5)
    expected = Spread.factor(0.5)
    fourth = (factors - expected.mean).pow(4).mean()
    bar = float(((fourth - expected.variance**2) / draws).sqrt())  # standard error of a variance
    assert abs(float(factors.var()) - expected.variance) < 4 * bar
    assert bar / expected.variance < 0.003


def test_mixup_with_a_fixed_partner() -> None:
    shares, weights = gauss_legendre(1.0, low=0.0)
    partner = IMAGE.flip(1)
    images = IMAGE + shares[:, None, None, None] * (partner - IMAGE)
    assert_moments(blend(IMAGE, partner, Spread.uniform(0, 1)), images, weights)


# Switches


def test_a_flip_is_exact_and_dense_of_rank_one() -> None:
    images, weights = torch.stack([IMAGE, IMAGE.flip(-1)]), torch.tensor([0.7, 0.3], dtype=torch.float64)
    moments = flip(IMAGE, 0.3)
    assert_moments(moments, images, weights, 1e-15)
    assert int(torch.linalg.matrix_rank(dense(moments), hermitian=True)) == 1


def test_wrong_formula_a_diagonal_bernoulli_covariance_fails() -> None:
    """Known wrong: variances alone, as if pixels flipped one by one."""
    moments = flip(IMAGE, 0.3)
    wrong = Moments(moments.mean, moments.factor[:0], moments.variance)
    images, weights = torch.stack([IMAGE, IMAGE.flip(-1)]), torch.tensor([0.7, 0.3], dtype=torch.float64)
    with pytest.raises(AssertionError):
        assert_moments(wrong, images, weights, 1e-3)
    torch.testing.assert_close(wrong.variance, moments.variance)  # so a look at the variances does not tell


def test_a_switch_to_a_random_alternative_adds_its_covariance() -> None:
    other = torch.stack([IMAGE * 0.5, IMAGE**2, 1 - IMAGE])
    shares = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    moments = switch(IMAGE, moments_of(other, shares), 0.4)
    assert_moments(
        moments, torch.cat([IMAGE[None], other]), torch.cat([torch.tensor([0.6], dtype=torch.float64), 0.4 * shares])
    )


def test_probabilities_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        flip(IMAGE, 1.5)
    with pytest.raises(ValueError, match="keep"):
        pixel_dropout(IMAGE, 0.0)


# Shifts


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """Content moved down and right by whole pixels, zero outside; by loops."""
    result = torch.zeros_like(image)
    height, width = image.shape[1:]
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[:, row, column] = image[:, row - down, column - right]
    return result


def test_integer_translation_by_enumeration_and_its_mean_by_convolution() -> None:
    probabilities = torch.rand(3, 5).double()
    probabilities /= probabilities.sum()
    images = torch.stack([shifted(IMAGE, k - 1, n - 2) for k in range(3) for n in range(5)])
    moments = translation(IMAGE, probabilities)
    assert_moments(moments, images, probabilities.flatten(), 1e-15)
    torch.testing.assert_close(translation_mean(IMAGE, probabilities), moments.mean, rtol=0, atol=1e-15)
    a, b = (0, 2, 3), (1, 4, 1)  # the autocorrelation weighted by p, at two pixels
    index = [(c * 6 + y) * 8 + x for c, y, x in (a, b)]
    product = sum(
        float(probabilities[k, n] * shifted(IMAGE, k - 1, n - 2)[a] * shifted(IMAGE, k - 1, n - 2)[b])
        for k in range(3)
        for n in range(5)
    )
    assert float(dense(moments)[index[0], index[1]]) == pytest.approx(
        product - float(moments.mean[a] * moments.mean[b]), abs=1e-14
    )


def test_wrong_formula_a_loop_that_leaves_out_the_last_shift_is_too_dark() -> None:
    """Known wrong: shifts from -r to r - 1, normalised by (2 r + 1)^2."""
    reach = 2
    right = torch.full((5, 5), 1 / 25, dtype=torch.float64)
    wrong = right.clone()
    wrong[-1], wrong[:, -1] = 0, 0
    images = torch.stack([shifted(IMAGE, k, n) for k in range(-reach, reach + 1) for n in range(-reach, reach + 1)])
    expected = images.mean(dim=0)
    torch.testing.assert_close(translation_mean(IMAGE, right), expected, rtol=0, atol=1e-14)
    assert float(translation_mean(IMAGE, wrong).sum() / expected.sum()) < 0.75
    with pytest.raises(ValueError, match="sum 1"):
        translation(IMAGE, wrong)


def test_caution_the_sign_of_a_translation() -> None:
    """One convention: a positive shift moves content right and down, in the closed form and in augnet alike."""
    probabilities = torch.zeros(3, 5).double()
    probabilities[2, 4] = 1  # one down, two right
    space = TransformSpace({"translate_x": 1.0, "translate_y": 1.0})
    by_augnet = space.apply(IMAGE[None], torch.tensor([[2 / 6, 1 / 6]], dtype=torch.float64))[0]
    torch.testing.assert_close(translation(IMAGE, probabilities).mean, shifted(IMAGE, 1, 2), rtol=0, atol=1e-15)
    torch.testing.assert_close(by_augnet, shifted(IMAGE, 1, 2), rtol=0, atol=1e-12)


def test_caution_the_zoom_of_augnet_keeps_brightness_and_drops_the_jacobian() -> None:
    """`T(u) = I(u / th)` here: the kernel `delta(u - th x)` would darken by 1 / th^2 and keep the sum instead."""
    image = torch.full((1, 1, 32, 32), 0.5, dtype=torch.float64)
    image[..., :4, :] = image[..., -4:, :] = image[..., :4] = image[..., -4:] = 0
    zoomed = TransformSpace({"scale": 1.0}).apply(image, torch.tensor([[-1.0]], dtype=torch.float64))  # half the size
    torch.testing.assert_close(zoomed[0, 0, 16, 16], image[0, 0, 16, 16])
    assert float(zoomed.sum() / image.sum()) == pytest.approx(1 / 4, abs=0.01)


def test_smooth_translation_is_exact_and_its_mean_a_convolution() -> None:
    across, down = 2.3, 1.0
    moments = smooth_translation(IMAGE, across, down)
    x = (torch.arange(400).double() + 0.5) / 400 * 2 - 1
    y = (torch.arange(200).double() + 0.5) / 200 * 2 - 1
    pairs = torch.cartesian_prod(x * across / 6, y * down / 6)
    mean, second = torch.zeros(144).double(), torch.zeros(144, 144).double()
    for part in pairs.split(8000):
        matrices = spatial.translate_y(part[:, 1]) @ spatial.translate_x(part[:, 0])
        flat = spatial.warp(IMAGE.repeat(len(part), 1, 1, 1), matrices).flatten(1)
        mean, second = mean + flat.sum(0) / len(pairs), second + flat.T @ flat / len(pairs)
    torch.testing.assert_close(moments.mean.flatten(), mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(dense(moments), second - mean[:, None] * mean, rtol=0, atol=1e-5)
    offsets = torch.arange(-4, 5).double()
    kernel = torch.stack([integrated_hat(offsets, width) for width in (down, across)])
    expected = translation_mean(IMAGE, kernel[0][:, None] * kernel[1])
    torch.testing.assert_close(moments.mean, expected, rtol=0, atol=1e-13)


def integrated_hat(offsets: Tensor, width: float) -> Tensor:
    """Density p * hat at whole pixels, by the second difference of the integrated ramp."""
    ramp = torch.stack([(offsets + s * width).clamp(min=-1).clamp(max=1) for s in (1, -1)])
    integral = torch.where(ramp < 0, (1 + ramp) ** 2 / 2, 1 - (1 - ramp) ** 2 / 2)
    return (integral[0] - integral[1]) / (2 * width)


def test_shear_is_exact_and_every_row_a_convolution_of_its_own() -> None:
    moments = shear(IMAGE, 0.5)
    torch.testing.assert_close(moments.mean, shear_mean(IMAGE, 0.5), rtol=0, atol=1e-12)
    tangents = (torch.arange(20_000).double() + 0.5) / 20_000 - 0.5
    matrices = spatial.shear_x(tangents.atan() * 180 / math.pi)
    images = spatial.warp(IMAGE.repeat(len(tangents), 1, 1, 1), matrices)
    assert_moments(moments, images, torch.full((len(tangents),), 1 / 20_000, dtype=torch.float64), 1e-7)


def test_rotation_of_a_polar_image_is_a_convolution_over_the_angle() -> None:
    """On a polar grid a rotation is a circular shift: mean and covariance of 2.3, by the same machinery."""
    polar = torch.rand(4, 12, dtype=torch.float64)  # radius, angle
    weights = torch.rand(12).double().softmax(0)
    moments = moments_of(torch.stack([polar.roll(k, dims=1) for k in range(12)]), weights)
    convolved = torch.fft.irfft(torch.fft.rfft(polar) * torch.fft.rfft(weights), 12)
    torch.testing.assert_close(moments.mean, convolved, rtol=0, atol=1e-14)


# Masks


@pytest.mark.parametrize("side", [1, 2, 3, 5, 16])
def test_cutout_by_enumeration_and_by_the_closed_form(side: int) -> None:
    image = IMAGE[:1]
    covered = []
    for centre_y in range(6):
        for centre_x in range(8):
            window = torch.zeros(6, 8, dtype=torch.bool)
            low_y, low_x = centre_y - side // 2, centre_x - side // 2
            window[max(0, low_y) : max(0, low_y + side), max(0, low_x) : max(0, low_x + side)] = True
            covered.append(torch.where(window, 0.25, image))
    moments = cutout(image, side, 0.25)
    assert_moments(moments, torch.stack(covered), torch.full((48,), 1 / 48, dtype=torch.float64), 1e-15)
    rows, columns = (cutout_windows(side, pixels) for pixels in (6, 8))
    q = rows.mean(0)[:, None] * columns.mean(0)
    joint = torch.kron(rows.T @ rows / 6, columns.T @ columns / 8)
    change = (image - 0.25).flatten()
    expected = change[:, None] * change * (joint - q.flatten()[:, None] * q.flatten())
    torch.testing.assert_close(dense(moments), expected, rtol=0, atol=1e-15)


def test_white_noise_recovers_weight_decay() -> None:
    weight = torch.randn(5, IMAGE.numel()).double()
    moments = white_noise(IMAGE, 0.3)
    added = sum(float(moments.quadratic(row.view_as(IMAGE))) for row in weight)
    assert added == pytest.approx(0.09 * float(weight.square().sum()), rel=1e-12)


def test_pixel_dropout_by_enumeration() -> None:
    image, keep = IMAGE[0, 0, :4], 0.7
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    weights = (masks * keep + (1 - masks) * (1 - keep)).prod(dim=1)
    assert_moments(pixel_dropout(image, keep), masks * image / keep, weights)


# Composition


def test_composition_by_enumeration_and_the_formula_of_a_later_flip() -> None:
    probabilities = torch.rand(3, 3).double()
    probabilities /= probabilities.sum()
    first = translation(IMAGE, probabilities)
    shifts = torch.stack([shifted(IMAGE, k - 1, n - 1) for k in range(3) for n in range(3)])
    weights = torch.cat([0.7 * probabilities.flatten(), 0.3 * probabilities.flatten()])
    images = torch.cat([shifts, shifts.flip(-1)])
    moments = flipped(first, 0.3)
    assert_moments(moments, images, weights, 1e-15)
    turn = torch.eye(144).double().view(144, *IMAGE.shape).flip(-1).flatten(1)
    sigma, mean = dense(first), first.mean.flatten()
    change = turn @ mean - mean
    expected = 0.3 * turn @ sigma @ turn.T + 0.7 * sigma + 0.21 * change[:, None] * change
    torch.testing.assert_close(dense(moments), expected, rtol=0, atol=1e-15)


def test_independent_noise_can_only_come_last() -> None:
    with pytest.raises(ValueError, match="put them last"):
        compose(white_noise(IMAGE, 0.1), [lambda rows: rows], torch.ones(1))
