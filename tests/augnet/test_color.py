"""Linear color held to kornia, torchvision and pixels computed by hand."""

import kornia.color as kc
import kornia.enhance as ke
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from augnet_images import applied, constant, generator, noise
from sweeps import sweep

from augnet import TransformSpace
from augnet.ops.color import compose, recolor

LUMA = np.array([0.299, 0.587, 0.114])
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
FRACTIONS = torch.tensor([0.0, 0.3, -0.45, 1.0, -1.0], dtype=torch.float64)
SHARES = torch.tensor([0.0, 0.25, 0.5, 0.8, 1.0], dtype=torch.float64)
BOUNDS = {"brightness": 0.3, "exposure": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 60.0, "red": 0.5, "blue": 0.5}


def by_hand(name: str, image: np.ndarray, magnitude: float) -> np.ndarray:
    """One op on one image `[H, W, 3]`, not clamped."""
    result: np.ndarray
    match name:
        case "brightness":
            result = image + magnitude
        case "exposure":
            result = image * 2**magnitude
        case "red" | "green" | "blue":
            result = image.copy()
            result[..., ("red", "green", "blue").index(name)] *= 2**magnitude
        case "contrast":
            mean = (image @ LUMA).mean()
            result = mean + 2**magnitude * (image - mean)
        case "saturation":
            gray = (image @ LUMA)[..., None]
            result = gray + 2**magnitude * (image - gray)
        case "hue":
            luma, in_phase, quadrature = np.moveaxis(image @ YIQ.T, -1, 0)
            turned = (in_phase + 1j * quadrature) * np.exp(1j * np.deg2rad(magnitude))
            result = np.stack([luma, turned.real, turned.imag], axis=-1) @ np.linalg.inv(YIQ).T
    return result


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_brightness_equals_kornia(channels: int) -> None:
    images, magnitudes = noise(5, channels, 6, 7), FRACTIONS * BOUNDS["brightness"]
    expected = ke.adjust_brightness(images, magnitudes)
    torch.testing.assert_close(applied("brightness", images, magnitudes), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_contrast_equals_kornia(channels: int) -> None:
    images = noise(5, channels, 6, 7)
    expected = ke.adjust_contrast_with_mean_subtraction(images, 2**FRACTIONS)
    torch.testing.assert_close(applied("contrast", images, FRACTIONS), expected, rtol=0, atol=1e-12)


def test_saturation_equals_kornia() -> None:
    images = noise(5, 3, 6, 7)
    expected = ke.adjust_saturation_with_gray_subtraction(images, 2**FRACTIONS)
    torch.testing.assert_close(applied("saturation", images, FRACTIONS), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stops", FRACTIONS.tolist())
def test_contrast_and_saturation_equal_torchvision(stops: float) -> None:
    images, magnitudes = noise(2, 3, 6, 7), torch.full((2,), stops)
    for name, adjust in (("contrast", tv.adjust_contrast), ("saturation", tv.adjust_saturation)):
        expected = adjust(images, 2**stops)  # weighs red with 0.2989
        torch.testing.assert_close(applied(name, images, magnitudes), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", BOUNDS)
def test_one_op_equals_the_same_by_hand(name: str) -> None:
    images, magnitudes = noise(5, 3, 6, 7), FRACTIONS * BOUNDS[name]
    pixels = images.permute(0, 2, 3, 1).numpy()
    rows = [by_hand(name, pixel, magnitude) for pixel, magnitude in zip(pixels, magnitudes.tolist(), strict=True)]
    expected = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).clamp(0, 1)
    torch.testing.assert_close(applied(name, images, magnitudes), expected, rtol=0, atol=1e-10)


@sweep("channels", [1, 3])
@sweep("stops", [-2.0, -0.3, 0.0, 1.0])
def test_exposure_equals_torchvision_and_kornia(stops: float, channels: int) -> None:
    images = noise(2, channels, 6, 7)
    result = applied("exposure", images, constant(2, stops))
    torch.testing.assert_close(result, tv.adjust_brightness(images, 2**stops), rtol=0, atol=1e-12)
    torch.testing.assert_close(result, ke.adjust_brightness_accumulative(images, 2**stops), rtol=0, atol=1e-12)


def test_gray_is_a_blend_with_that_of_kornia_and_torchvision() -> None:
    images = noise(5, 3, 6, 7)
    for gray, bar in ((kc.rgb_to_grayscale(images), 1e-6), (tv.rgb_to_grayscale(images), 2e-4)):  # 0.2989 for red
        expected = torch.lerp(images, gray.expand_as(images), SHARES[:, None, None, None])
        torch.testing.assert_close(applied("grayscale", images, SHARES), expected, rtol=0, atol=bar)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_invert_is_a_blend_with_that_of_torchvision(channels: int) -> None:
    images = noise(5, channels, 6, 7)
    expected = torch.lerp(images, tv.invert(images), SHARES[:, None, None, None])
    torch.testing.assert_close(applied("invert", images, SHARES), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channel", range(3))
def test_red_green_and_blue_are_the_exposure_of_one_channel(channel: int) -> None:
    images = noise(5, 3, 6, 7)
    expected = images.clone()
    for row, stops in enumerate(FRACTIONS.tolist()):
        expected[row, channel] = tv.adjust_brightness(images[row, None, channel], 2**stops)[0]
    result = applied(("red", "green", "blue")[channel], images, FRACTIONS)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_channel_gain_is_a_factor_of_its_own_for_each_channel(channels: int) -> None:
    images, directions = noise(3, channels, 6, 7, high=0.5), torch.rand(3, channels, generator=generator()).double()
    stops = torch.tensor([0.0, 0.3, 0.5], dtype=torch.float64)
    result = TransformSpace(["channel_gain"]).apply(images, stops[:, None], {"channel_gain": directions})
    factors = 2 ** (stops[:, None] * (2 * directions - 1))
    torch.testing.assert_close(result, images * factors[..., None, None], rtol=0, atol=1e-12)
    assert (factors[1:].log2().abs() <= stops[1:, None]).all()


def test_hue_equals_a_turn_of_kornias_chroma_plane() -> None:
    """The plane of YUV is that of YIQ seen from behind, so it turns the other way."""
    images, degrees = noise(5, 3, 6, 7, low=0.3, high=0.7), FRACTIONS * 60
    luma, u, v = kc.rgb_to_yuv(images).unbind(1)
    cos, sin = torch.cos(torch.deg2rad(degrees))[:, None, None], torch.sin(torch.deg2rad(degrees))[:, None, None]
    expected = kc.yuv_to_rgb(torch.stack([luma, cos * u + sin * v, cos * v - sin * u], dim=1))
    torch.testing.assert_close(applied("hue", images, degrees), expected, rtol=0, atol=3e-3)  # coarser constants


def test_hue_keeps_luma_and_gray_and_comes_round() -> None:
    images = noise(3, 3, 6, 7, low=0.3, high=0.7)
    turned = applied("hue", images, torch.full((3,), 50.0))
    luma = torch.from_numpy(LUMA)[None, :, None, None]
    torch.testing.assert_close((turned * luma).sum(1), (images * luma).sum(1), rtol=0, atol=1e-10)
    gray = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(applied("hue", gray, torch.full((3,), 50.0)), gray, rtol=0, atol=1e-10)
    torch.testing.assert_close(applied("hue", images, torch.full((3,), 360.0)), images, rtol=0, atol=1e-10)


def test_signs() -> None:
    images = noise(1, 3, 6, 7, low=0.3, high=0.7)
    assert applied("brightness", images, torch.tensor([0.1])).mean() > images.mean()
    assert applied("contrast", images, torch.tensor([0.5])).std() > images.std()
    assert applied("saturation", images, torch.tensor([0.5])).std(1).mean() > images.std(1).mean()
    red = torch.tensor([0.7, 0.3, 0.3])[None, :, None, None]
    _, green, blue = applied("hue", red, torch.tensor([30.0])).flatten().tolist()
    assert blue > green + 0.1  # towards magenta
    _, green, blue = applied("hue", red, torch.tensor([-30.0])).flatten().tolist()
    assert green > blue + 0.1  # towards yellow


@pytest.mark.parametrize("names", [tuple(BOUNDS), ("brightness", "contrast"), ("contrast", "hue")])
def test_several_ops_are_one_after_another_with_a_single_clamp(names: tuple[str, ...]) -> None:
    space = TransformSpace(names)
    images = noise(6, 3, 6, 7)
    magnitudes = noise(6, len(names), low=-1) * torch.tensor(space.bounds, dtype=torch.float64)
    once, each_time = [], []
    for image, row in zip(images.permute(0, 2, 3, 1).numpy(), magnitudes.tolist(), strict=True):
        free = clamped = image
        for name, magnitude in zip(names, row, strict=True):
            free = by_hand(name, free, magnitude)
            clamped = by_hand(name, clamped, magnitude).clip(0, 1)
        once.append(free.clip(0, 1))
        each_time.append(clamped)
    assert np.abs(np.stack(once) - np.stack(each_time)).max() > 0.05  # else the case could not tell the two apart
    expected = torch.from_numpy(np.stack(once)).permute(0, 3, 1, 2)
    torch.testing.assert_close(space.apply(images, magnitudes), expected, rtol=0, atol=1e-10)


def test_compose_is_recolor_twice() -> None:
    images = noise(2, 3, 4, 5)
    first, second = noise(4, 3, 4, low=-1).split(2)
    expected = recolor(recolor(images, first), second)
    torch.testing.assert_close(recolor(images, compose(first, second)), expected, rtol=0, atol=1e-12)
    assert (recolor(images, compose(second, first)) - expected).abs().max() > 0.1


def test_recolor_is_an_affine_map_of_each_pixel() -> None:
    images, matrix = noise(2, 3, 3, 4), noise(2, 3, 4, low=-1)
    expected = torch.einsum("bij,bjhw->bihw", matrix[..., :3], images) + matrix[..., 3][..., None, None]
    torch.testing.assert_close(recolor(images, matrix), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(recolor, (images.requires_grad_(), matrix.requires_grad_()))
