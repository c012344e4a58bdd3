import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from augnet_images import draw, generator, noise
from sweeps import sweep
from torch import Tensor

from augnet import TransformSpace
from augnet.ops import OPS, MirrorOp, SpatialOp

NAMES = tuple(OPS)
MOVING = tuple(name for name, op in OPS.items() if isinstance(op, MirrorOp | SpatialOp))
SMOOTH = tuple(name for name in NAMES if name not in ("posterize", "solarize", "equalize"))  # no steps, no rounding


def augmented(space: TransformSpace, images: Tensor, magnitudes: Tensor) -> Tensor:
    """As `space.apply`, with the same noise on every call."""
    return space.apply(images, magnitudes, generator=generator())


@pytest.mark.parametrize("names", [NAMES, ("hue", "rotation", "brightness"), ("shear_y", "translate_x")])
def test_order_of_the_names_does_not_matter(names: tuple[str, ...]) -> None:
    space = TransformSpace(names)
    backwards = TransformSpace(names[::-1])
    mapping = TransformSpace({name: OPS[name].bound for name in names[::-1]})
    assert space.names == backwards.names == mapping.names == tuple(name for name in NAMES if name in names)
    assert space.bounds == backwards.bounds == mapping.bounds
    assert space.units == backwards.units == mapping.units == tuple(OPS[name].unit for name in space.names)
    assert space.signed == backwards.signed == tuple(OPS[name].signed for name in space.names)
    images, magnitudes = noise(3, 3, 6, 7), draw(space, 3)
    assert torch.equal(augmented(space, images, magnitudes), augmented(backwards, images, magnitudes))


def test_bounds_are_those_of_the_ops_unless_given() -> None:
    assert TransformSpace(["contrast", "rotation"]).bounds == (90.0, 1.0)
    space = TransformSpace({"contrast": 0.25, "rotation": 30})
    assert space.bounds == (30.0, 0.25)
    assert len(space) == 2


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([], "expected at least one op, found none. Known ops: horizontal_flip"),
        ({}, "expected at least one op, found none. Known ops: horizontal_flip"),
        (["rotation", "hue", "rotation"], "each op may be given once, found"),
        (["rotatoin"], r"unknown op 'rotatoin'; did you mean rotation\?"),
        ({"brightnes": 0.1}, r"unknown op 'brightnes'; did you mean brightness\?"),
        (
            {"rotation": -5.0},
            "bound of 'rotation' is .* in degrees and must be > 0 and at most 180, found -5.0; 90.0 is",
        ),
        ({"hue": 10.0, "scale": 0.0}, "bound of 'scale' is .* in octaves and must be > 0 and at most 6, found 0.0"),
        ({"crop": 1.0}, "bound of 'crop' is .* in fraction of each side and .* at most 0.95, found 1.0"),
        ({"mixup": 1.5}, "bound of 'mixup' .* must be > 0 and at most 1, found 1.5"),
        ({"translate_x": math.inf}, "bound of 'translate_x' .* must be > 0 and at most 2, found inf"),
        ({"hue": math.nan}, "bound of 'hue' .* found nan"),
        ({"hue": math.inf}, "bound of 'hue' .* found inf"),
    ],
)
def test_impossible_spaces(ops: Sequence[str] | Mapping[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformSpace(ops)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_color_of_images_without_color(channels: int) -> None:
    space = TransformSpace(["saturation", "rotation", "brightness", "hue"])
    message = rf"saturation, hue need images with 3 channels \(red, green, blue\), found {channels}; remove them"
    with pytest.raises(ValueError, match=message):
        space.apply(noise(2, channels, 4, 4), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=message):
        space.check_channels(channels)
    space.check_channels(3)


@pytest.mark.parametrize(
    ("images", "magnitudes"),
    [((3, 4, 4), (3, 2)), ((2, 3, 4, 4), (2, 3)), ((2, 3, 4, 4), (1, 2)), ((2, 3, 4, 4), (2,)), ((2, 4), (2, 2))],
)
def test_shapes_that_do_not_match(images: tuple[int, ...], magnitudes: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"expected images \[B, C, H, W\] and magnitudes \[B, 2\], found \(.*\) and \("
    ):
        TransformSpace(["rotation", "hue"]).apply(torch.zeros(images), torch.zeros(magnitudes))


def test_integer_images() -> None:
    with pytest.raises(ValueError, match=r"expected floating-point images in \[0, 1\], found torch.uint8; divide"):
        TransformSpace(["rotation"]).apply(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 1))


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_any_number_of_channels_is_moved_alike(channels: int) -> None:
    space = TransformSpace([*MOVING, "brightness"])
    images, magnitudes = noise(3, channels, 6, 9), draw(space, 3)
    result = augmented(space, images, magnitudes)
    for channel in range(channels):
        alone = augmented(space, images[:, channel : channel + 1], magnitudes)
        torch.testing.assert_close(result[:, channel : channel + 1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@sweep("shape", [(64, 3, 8, 8), (3, 3, 5, 11), (3, 3, 11, 5), (1, 3, 1, 1), (2, 3, 1, 6)])
def test_shape_and_type_are_kept_and_values_are_in_range(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    space = TransformSpace(NAMES)
    result = space.apply(noise(*shape, dtype=dtype), draw(space, shape[0]))
    assert result.shape == shape
    assert result.dtype == dtype
    assert result.isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1


def test_result_is_clamped_on_both_sides() -> None:
    images = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    space = TransformSpace(["brightness"])
    bright, dark = space.apply(images, torch.tensor([[0.3]])), space.apply(images, torch.tensor([[-0.3]]))
    torch.testing.assert_close(bright.flatten(), torch.tensor([0.3, 0.8, 1.0]))
    torch.testing.assert_close(dark.flatten(), torch.tensor([0.0, 0.2, 0.7]))


def test_geometry_comes_before_color() -> None:
    images = torch.full((1, 1, 4, 4), 0.5)
    result = TransformSpace(["brightness", "translate_x"]).apply(images, torch.tensor([[0.25, 0.2]]))  # (x, brightness)
    torch.testing.assert_close(result[0, 0, 0], torch.tensor([0.2, 0.7, 0.7, 0.7]))


def test_half_precision_differs_by_rounding_alone() -> None:
    space = TransformSpace(NAMES)
    images, magnitudes = noise(4, 3, 9, 7, dtype=torch.bfloat16), draw(space, 4, dtype=torch.float32)
    result, single = augmented(space, images, magnitudes), augmented(space, images.float(), magnitudes)
    assert torch.equal(result, single.bfloat16())
    torch.testing.assert_close(result.float(), single, rtol=2**-8, atol=1e-6)


def test_autocast_changes_nothing() -> None:
    space = TransformSpace(NAMES)
    images, magnitudes = noise(4, 3, 9, 7, dtype=torch.float32), draw(space, 4, dtype=torch.float32).requires_grad_()
    outside = augmented(space, images, magnitudes)
    (gradient_outside,) = torch.autograd.grad(outside.sum(), magnitudes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (images[0, 0] @ images[0, 0].T).dtype == torch.bfloat16  # autocast is at work
        inside = augmented(space, images, magnitudes)
    (gradient_inside,) = torch.autograd.grad(inside.sum(), magnitudes)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    assert torch.equal(gradient_inside, gradient_outside)


def test_memory_format_changes_nothing() -> None:
    space = TransformSpace(SMOOTH)
    images, magnitudes = noise(4, 3, 9, 7), draw(space, 4)
    expected = augmented(space, images, magnitudes)
    channels_last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(augmented(space, channels_last, magnitudes), expected, rtol=0, atol=1e-12)
    transposed = images.mT.contiguous().mT
    torch.testing.assert_close(augmented(space, transposed, magnitudes), expected, rtol=0, atol=1e-12)


def test_double_precision_differs_by_rounding_alone() -> None:
    space = TransformSpace(SMOOTH)
    images, magnitudes = noise(4, 3, 9, 7), draw(space, 4)
    single = augmented(space, images.float(), magnitudes.float())
    torch.testing.assert_close(single.double(), augmented(space, images, magnitudes), rtol=0, atol=2e-4)


def test_color_comes_before_tone_filters_before_cutout_and_mixing_last() -> None:
    """One image for each boundary between two kinds; the other order would give something else."""
    images = torch.tensor([0.2, 0.4, 0.6, 0.8]).expand(1, 1, 4, 4).double()
    tone = TransformSpace(["gamma", "brightness"]).apply(images, torch.tensor([[0.1, 1.0]]).double())
    torch.testing.assert_close(tone, (images + 0.1) ** 2)
    sharp = TransformSpace(["sharpness", "gamma"])
    squared = TransformSpace(["sharpness"]).apply(images**2, torch.ones(1, 1).double())
    torch.testing.assert_close(sharp.apply(images, torch.ones(1, 2).double()), squared)
    covered = TransformSpace({"cutout": 2.0, "gamma": 1.0}).apply(images, torch.tensor([[1.0, 2.0]]).double())
    torch.testing.assert_close(covered, (images**2).mean().expand_as(images))
    pair = torch.cat([images, 1 - images])
    mixed = TransformSpace(["mixup", "gamma"]).apply(pair, torch.tensor([[1.0, 0.5], [1.0, 0.5]]).double())
    torch.testing.assert_close(mixed, (pair**2).mean(0, keepdim=True).expand_as(pair))


def test_noise_of_an_image_does_not_depend_on_the_other_ops_magnitudes() -> None:
    space, images = TransformSpace(["crop", "noise"]), noise(3, 3, 6, 7)
    off, on = torch.tensor([[0.0, 0.1]]).repeat(3, 1), torch.tensor([[0.0, 0.1], [0.3, 0.1], [0.2, 0.0]])
    assert torch.equal(augmented(space, images, off)[0], augmented(space, images, on)[0])


@sweep("name", [name for name in MOVING if name not in ("horizontal_flip", "vertical_flip")])
def test_nearest_resampling_invents_no_value(name: str) -> None:
    images = (noise(3, 2, 9, 12) * 5).round() / 5
    space = TransformSpace([name], interpolation="nearest")
    result = augmented(space, images, draw(space, 3))
    assert not torch.equal(result, images)
    assert set(result.unique().tolist()) <= {0.0, *images.unique().tolist()}


def test_compiling_and_treating_active_images_give_the_same() -> None:
    """`torch.compile` takes the path without a choice of images."""
    space = TransformSpace(SMOOTH)
    images, magnitudes = noise(4, 3, 9, 7), draw(space, 4) * torch.tensor([0.0, 1, 1, 0])[:, None]
    expected = augmented(space, images, magnitudes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        torch.testing.assert_close(augmented(space, images, magnitudes), expected, rtol=0, atol=1e-12)
