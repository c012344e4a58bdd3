"""The ops of AutoAugment, RandAugment and TrivialAugment held to torchvision's own, on 8-bit images."""

import pytest
import torch
from augnet_images import generator
from sweeps import sweep
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, TrivialAugmentWide

from augnet.classic import CLASSIC_OPS, ClassicOp, classic_magnitudes, classic_space

SIDES = [(32, 32), (20, 28), (28, 20)]
TORCHVISION = {
    name.lower(): name for name in ("AutoContrast", "Brightness", "Color", "Contrast", "Equalize", "Identity")
}
TORCHVISION |= {name.lower(): name for name in ("Invert", "Posterize", "Rotate", "Sharpness", "Solarize")}
TORCHVISION |= {f"{name}_{axis}": f"{name.title()}{axis.upper()}" for name in ("shear", "translate") for axis in "xy"}
STRENGTHS = {
    "shear_x": torch.linspace(-0.99, 0.99, 61),
    "shear_y": torch.linspace(-0.99, 0.99, 61),
    "translate_x": torch.arange(-32.0, 33.0),
    "translate_y": torch.arange(-32.0, 33.0),
    "rotate": torch.linspace(-133, 134, 57),
    "posterize": torch.arange(1.0, 9.0),
    "solarize": torch.linspace(0, 1, 31),
}
GEOMETRY: tuple[ClassicOp, ...] = ("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate")
EXACT: tuple[ClassicOp, ...] = ("posterize", "solarize", "equalize", "invert")
# torchvision cuts fractions off: of the result alone, or of the gray that it blends with, too
CUT_ONCE: tuple[ClassicOp, ...] = ("brightness", "sharpness", "autocontrast")
CUT_TWICE: tuple[ClassicOp, ...] = ("contrast", "color")


def pictures(height: int, width: int) -> Tensor:
    """Noise, and a smooth picture with little contrast: `[2, 3, H, W]`, 8-bit."""
    rough = torch.randint(0, 256, (1, 3, height, width), generator=generator())
    coarse = torch.rand(1, 3, 5, 5, generator=generator())
    smooth = 30 + 150 * torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return torch.cat([rough, smooth.long()]).to(torch.uint8)


def strengths_of(op: ClassicOp) -> Tensor:
    changes = (
        torch.linspace(-0.99, 0.99, 61) if op in ("brightness", "contrast", "color", "sharpness") else torch.ones(1)
    )
    return STRENGTHS.get(op, changes)


def by_torchvision(op: ClassicOp, picture: Tensor, strength: float) -> Tensor:
    level = {"posterize": 8 - strength, "solarize": 1 - strength}.get(op, strength)
    changed: Tensor = TrivialAugmentWide()._apply_image_or_video_transform(
        picture, TORCHVISION[op], level, interpolation=InterpolationMode.NEAREST, fill={}
    )
    return changed.float()


def both(op: ClassicOp, picture: Tensor, strengths: Tensor) -> tuple[Tensor, Tensor]:
    """The results here, on the scale of 255, and torchvision's, both `[B, 3, H, W]`: one strength for each image."""
    images = (picture.float() / 255).expand(len(strengths), -1, -1, -1)
    magnitudes = classic_magnitudes(op, strengths, *picture.shape[-2:])
    expected = [by_torchvision(op, picture, strength) for strength in strengths.tolist()]
    return classic_space().apply(images, magnitudes) * 255, torch.stack(expected)


def test_every_op_is_compared() -> None:
    assert sorted(GEOMETRY + EXACT + CUT_ONCE + CUT_TWICE) == sorted(CLASSIC_OPS)
    assert len({TORCHVISION[op] for op in CLASSIC_OPS}) == len(CLASSIC_OPS)


@sweep("sides", SIDES)
@pytest.mark.parametrize("op", [*GEOMETRY, *EXACT])
def test_moved_pixels_and_whole_levels_are_equal(op: ClassicOp, sides: tuple[int, int]) -> None:
    for picture in pictures(*sides):
        result, expected = both(op, picture, strengths_of(op))
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-3)


@sweep("sides", SIDES)
def test_half_right_angles_differ_only_where_a_pixel_lies_half_way(sides: tuple[int, int]) -> None:
    angles = torch.tensor([-135.0, -45.0, 45.0, 135.0])
    for picture in pictures(*sides):
        result, expected = both("rotate", picture, angles)
        before, after = both("rotate", picture, angles - 1e-3)[0], both("rotate", picture, angles + 1e-3)[0]
        settled = before == after
        assert settled.float().mean() > 0.9
        torch.testing.assert_close(result[settled], expected[settled], rtol=0, atol=1e-3)


@sweep("sides", SIDES)
@pytest.mark.parametrize("op", CUT_ONCE)
def test_colors_are_equal_within_rounding(op: ClassicOp, sides: tuple[int, int]) -> None:
    for picture in pictures(*sides):
        result, expected = both(op, picture, strengths_of(op))
        torch.testing.assert_close(result, expected, rtol=0, atol=1.5)


@sweep("sides", SIDES)
@pytest.mark.parametrize("op", CUT_TWICE)
def test_blends_with_gray_are_equal_within_the_fractions_that_torchvision_cuts_off(
    op: ClassicOp, sides: tuple[int, int]
) -> None:
    strengths = strengths_of(op)
    largest = 1 + strengths.abs() + 0.05  # of the result, of the gray, and 0.2989 for red where 0.299 is meant
    for picture in pictures(*sides):
        result, expected = both(op, picture, strengths)
        assert ((result - expected).abs().amax((1, 2, 3)) <= largest).all()


@sweep("op", [op for op in CLASSIC_OPS if op != "identity"])
def test_the_comparison_sees_the_op_work(op: ClassicOp) -> None:
    picture = pictures(20, 28)[0] // 2
    result, expected = both(op, picture, strengths_of(op))
    assert (expected - picture.float()).abs().amax() > 20
    assert (result - picture.float()).abs().amax() > 20


def test_a_batch_with_another_op_for_each_image() -> None:
    picture = pictures(32, 32)[1]
    rows = [classic_magnitudes(op, strengths_of(op)[-1:], 32, 32) for op in CLASSIC_OPS]
    images = (picture.float() / 255).expand(len(rows), -1, -1, -1)
    result = classic_space().apply(images, torch.cat(rows)) * 255
    expected = torch.stack([by_torchvision(op, picture, float(strengths_of(op)[-1])) for op in CLASSIC_OPS])
    torch.testing.assert_close(result, expected, rtol=0, atol=2.05)
