"""Geometry held to kornia and torchvision, and to single pixels moved by hand."""

import kornia.geometry as kg
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from augnet_images import generator, noise
from sweeps import sweep
from torch import Tensor

from augnet import TransformSpace
from augnet.ops import OPS, SpatialOp
from augnet.ops.spatial import warp

SIDES = [(8, 8), (9, 9), (7, 12), (13, 6)]
SPATIAL = tuple(name for name, op in OPS.items() if isinstance(op, SpatialOp) and op.noise is None)
NAMED = ("rotation", "translate_x", "translate_y", "scale", "aspect")  # kornia.geometry has a function for these
FRACTIONS = torch.tensor([0.0, 0.3, -0.45, 0.8, -1.0], dtype=torch.float64)


def matrix(name: str, magnitude: float) -> np.ndarray:
    """The map of the content, written out by hand: origin in the center, y downwards."""
    radians = np.deg2rad(magnitude)
    rows: dict[str, list[list[float]]] = {
        "rotation": [[np.cos(radians), np.sin(radians), 0], [-np.sin(radians), np.cos(radians), 0]],
        "translate_x": [[1, 0, magnitude], [0, 1, 0]],
        "translate_y": [[1, 0, 0], [0, 1, magnitude]],
        "scale": [[2**magnitude, 0, 0], [0, 2**magnitude, 0]],
        "aspect": [[2 ** (magnitude / 2), 0, 0], [0, 2 ** (-magnitude / 2), 0]],
        "shear_x": [[1, np.tan(radians), 0], [0, 1, 0]],
        "shear_y": [[1, 0, 0], [np.tan(radians), 1, 0]],
        "perspective_x": [[1, 0, 0], [0, 1, 0], [magnitude, 0, 1]],
        "perspective_y": [[1, 0, 0], [0, 1, 0], [0, magnitude, 1]],
    }
    return np.array([*rows[name], [0, 0, 1]][:3], dtype=float)


def in_pixels(centered: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same map between pixel indices, one unit = one pixel, origin in the middle of the first pixel."""
    side = min(height, width)
    pixels = np.array([[side, 0, (width - 1) / 2], [0, side, (height - 1) / 2], [0, 0, 1]])
    moved: np.ndarray = pixels @ centered @ np.linalg.inv(pixels)
    return moved


def kornia_warp(images: Tensor, centered: list[np.ndarray]) -> Tensor:
    height, width = images.shape[-2:]
    matrices = torch.from_numpy(np.stack([in_pixels(one, height, width) for one in centered]))
    warped: Tensor = kg.warp_perspective(images, matrices, (height, width), align_corners=True)
    return warped


def kornia_named(name: str, images: Tensor, magnitudes: Tensor) -> Tensor:
    """The function of kornia.geometry that does the same."""
    zeros, side = torch.zeros_like(magnitudes), min(images.shape[-2:])
    result: Tensor
    match name:
        case "rotation":
            result = kg.rotate(images, magnitudes, align_corners=True)
        case "translate_x":
            result = kg.translate(images, torch.stack([magnitudes * side, zeros], 1), align_corners=True)
        case "translate_y":
            result = kg.translate(images, torch.stack([zeros, magnitudes * side], 1), align_corners=True)
        case "scale":
            result = kg.scale(images, (2**magnitudes)[:, None].expand(-1, 2), align_corners=True)
        case "aspect":
            factors = torch.stack([2 ** (magnitudes / 2), 2 ** (-magnitudes / 2)], 1)
            result = kg.scale(images, factors, align_corners=True)
    return result


@pytest.mark.parametrize("name", NAMED)
@sweep("sides", SIDES)
def test_one_op_equals_the_function_of_kornia(name: str, sides: tuple[int, int]) -> None:
    images, magnitudes = noise(5, 2, *sides), FRACTIONS * OPS[name].bound
    expected = kornia_named(name, images, magnitudes)
    torch.testing.assert_close(TransformSpace([name]).apply(images, magnitudes[:, None]), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", SPATIAL)
@sweep("sides", SIDES)
def test_one_op_equals_its_matrix_applied_by_kornia(name: str, sides: tuple[int, int]) -> None:
    images, magnitudes = noise(5, 2, *sides), FRACTIONS * OPS[name].bound
    expected = kornia_warp(images, [matrix(name, magnitude) for magnitude in magnitudes.tolist()])
    torch.testing.assert_close(TransformSpace([name]).apply(images, magnitudes[:, None]), expected, rtol=0, atol=1e-10)


@sweep("sides", SIDES)
def test_rotation_turns_as_in_torchvision(sides: tuple[int, int]) -> None:
    images = noise(1, 3, *sides)
    expected = tv.rotate(images, 25.0, interpolation=tv.InterpolationMode.BILINEAR)
    result = TransformSpace(["rotation"]).apply(images, torch.full((1, 1), 25.0))
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)  # torchvision builds its grid in float32


@pytest.mark.parametrize("name", ["shear_x", "shear_y"])
def test_shear_is_that_of_torchvision_the_other_way(name: str) -> None:
    images = noise(1, 3, 9, 7)
    angles = [-20.0, 0.0] if name == "shear_x" else [0.0, -20.0]
    expected = tv.affine(images, 0.0, [0, 0], 1.0, angles, interpolation=tv.InterpolationMode.BILINEAR)
    result = TransformSpace([name]).apply(images, torch.full((1, 1), 20.0))
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


@sweep("sides", SIDES)
@pytest.mark.parametrize("names", [SPATIAL, ("rotation", "translate_x"), ("translate_y", "scale", "shear_x")])
def test_several_ops_are_one_resampling_by_the_product_in_order(names: tuple[str, ...], sides: tuple[int, int]) -> None:
    space = TransformSpace(names)
    images = noise(4, 2, *sides)
    magnitudes = noise(4, len(names), low=-0.4, high=0.4) * torch.tensor(space.bounds, dtype=torch.float64)
    products = []
    for row in magnitudes.tolist():
        product = np.eye(3)
        for name, magnitude in zip(names, row, strict=True):
            product = matrix(name, magnitude) @ product
        products.append(product)
    torch.testing.assert_close(space.apply(images, magnitudes), kornia_warp(images, products), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "magnitude", "start", "end"),
    [
        ("rotation", 90.0, (4, 7), (1, 4)),  # counter-clockwise: from the right to the top
        ("rotation", -90.0, (4, 7), (7, 4)),
        ("translate_x", 2 / 9, (4, 4), (4, 6)),  # to the right
        ("translate_y", 2 / 9, (4, 4), (6, 4)),  # down
        ("scale", 1.0, (4, 5), (4, 6)),  # away from the center
        ("scale", -1.0, (4, 6), (4, 5)),
        ("aspect", 2.0, (4, 5), (4, 6)),  # wider
        ("aspect", 2.0, (6, 4), (5, 4)),  # and flatter
        ("shear_x", 45.0, (6, 4), (6, 6)),  # below the center to the right
        ("shear_y", 45.0, (4, 6), (6, 6)),  # right of the center downwards
        ("perspective_x", 1.5, (4, 7), (4, 6)),  # away: towards the vanishing point
        ("perspective_x", -1.5, (4, 6), (4, 7)),  # nearer: larger
        ("perspective_y", 1.5, (7, 4), (6, 4)),
        ("horizontal_flip", 1.0, (2, 7), (2, 1)),
        ("vertical_flip", 1.0, (2, 7), (6, 7)),
    ],
)
def test_signs_and_units_on_a_single_pixel(
    name: str, magnitude: float, start: tuple[int, int], end: tuple[int, int]
) -> None:
    images = torch.zeros(1, 1, 9, 9)
    images[0, 0, *start] = 1
    result = TransformSpace([name]).apply(images, torch.full((1, 1), magnitude).double())[0, 0]
    assert divmod(int(result.argmax()), 9) == end
    assert result.max() > 0.4


@pytest.mark.parametrize(("height", "width"), [(5, 10), (10, 5)])
@pytest.mark.parametrize(("name", "axis"), [("translate_x", 1), ("translate_y", 0)])
def test_translation_is_a_fraction_of_the_shorter_side(height: int, width: int, name: str, axis: int) -> None:
    images = noise(1, 1, height, width)
    result = TransformSpace([name]).apply(images, torch.full((1, 1), 0.2))[0, 0]  # one pixel of five
    expected = images[0, 0].roll(1, dims=axis)
    expected.select(axis, 0).zero_()
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_scale_enlarges_by_octaves() -> None:
    images = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    images[:, :, 24:40, 24:40] = 1
    areas = [float(TransformSpace(["scale"]).apply(images, torch.full((1, 1), octaves)).sum()) for octaves in (0.5, -1)]
    assert areas == pytest.approx([2 * 16**2, 16**2 / 4], rel=0.02)


def test_aspect_keeps_the_area() -> None:
    images = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    images[:, :, 24:40, 24:40] = 1
    result = TransformSpace(["aspect"]).apply(images, torch.full((1, 1), 0.7))[0, 0]
    assert float(result.sum()) == pytest.approx(16**2, rel=0.02)
    assert float(result.amax(0).sum() / result.amax(1).sum()) == pytest.approx(2**0.7, rel=0.02)


def test_warp_is_differentiable_in_any_affine_matrix() -> None:
    images = noise(2, 1, 4, 6).requires_grad_()
    affine = (torch.eye(3, dtype=torch.float64) + 0.2 * noise(2, 3, 3, low=-1))[:, :2].requires_grad_()
    last = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(2, 1, 3)
    assert torch.autograd.gradcheck(lambda x, rows: warp(x, torch.cat([rows, last], dim=1)), (images, affine))


@sweep("sides", SIDES)
def test_flips_are_those_of_torch_where_the_chance_is_below_the_probability(sides: tuple[int, int]) -> None:
    images, chances = noise(5, 3, *sides), torch.tensor([0.0, 0.29, 0.3, 0.5, 0.99])[:, None]
    for name, dim in (("horizontal_flip", -1), ("vertical_flip", -2)):
        for probability, mirrored in ((0.0, 0), (0.3, 2), (1.0, 5)):
            result = TransformSpace([name]).apply(images, torch.full((5, 1), probability), {name: chances})
            assert torch.equal(result, torch.cat([images[:mirrored].flip(dim), images[mirrored:]]))


def test_flips_happen_as_often_as_their_probability_says() -> None:
    images = torch.tensor([0.0, 1.0]).expand(4000, 1, 2, 2)
    result = TransformSpace(["horizontal_flip"]).apply(images, torch.full((4000, 1), 0.3), generator=generator())
    assert float(result[:, 0, 0, 0].mean()) == pytest.approx(0.3, abs=4 * (0.21 / 4000) ** 0.5)


@sweep("sides", SIDES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_crop_equals_that_of_kornia_at_the_same_window(share: float, sides: tuple[int, int]) -> None:
    height, width = sides
    shorter = min(sides)
    images, places = noise(5, 2, *sides), noise(5, 2)
    result = TransformSpace({"crop": 0.9}).apply(images, torch.full((5, 1), share).double(), {"crop": places})
    middle = torch.tensor([width, height]) / 2 + (places - 0.5) * share * shorter
    size = (1 - share) * torch.tensor([width, height], dtype=torch.float64)
    start = middle - size / 2 + size / torch.tensor([width, height]) / 2 - 0.5  # where the first output pixel lies
    end = middle + size / 2 - size / torch.tensor([width, height]) / 2 - 0.5
    corners = torch.stack(
        [start, torch.stack([end[:, 0], start[:, 1]], 1), end, torch.stack([start[:, 0], end[:, 1]], 1)], 1
    )
    expected = kg.crop_and_resize(images, corners, sides, align_corners=True)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("place", "left", "top"), [((0.0, 0.0), 0, 0), ((1.0, 0.5), 8, 4), ((0.25, 0.75), 2, 6)])
def test_crop_equals_that_of_torchvision_away_from_the_border(place: tuple[float, float], left: int, top: int) -> None:
    """At the border torchvision repeats the last pixels of the window, here the picture goes on."""
    images = noise(2, 3, 16, 16)
    expected = tv.resized_crop(images, top, left, 8, 8, [16, 16], antialias=False)
    draws = {"crop": torch.tensor([place], dtype=torch.float64).expand(2, -1)}
    result = TransformSpace(["crop"]).apply(images, torch.full((2, 1), 0.5), draws)
    torch.testing.assert_close(result[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=0, atol=1e-6)


@sweep("sides", SIDES)
def test_crop_stays_in_the_picture(sides: tuple[int, int]) -> None:
    images, places = torch.ones(4, 1, *sides), torch.tensor([[0.0, 0.0], [0.999, 0.0], [0.0, 0.999], [0.999, 0.999]])
    result = TransformSpace(["crop"]).apply(images, torch.full((4, 1), 0.5), {"crop": places})
    assert (result[..., 1:-1, 1:-1] == 1).all()


def test_perspective_equals_torchvision_given_the_moved_corners() -> None:
    images = noise(1, 3, 24, 24)
    start = [[0, 0], [24, 0], [24, 24], [0, 24]]
    in_middles = in_pixels(matrix("perspective_x", 0.4), 24, 24)  # torchvision counts from the corner of a pixel
    moved = [in_middles @ np.array([x - 0.5, y - 0.5, 1]) for x, y in start]
    end = [(point[:2] / point[2] + 0.5).tolist() for point in moved]
    expected = tv.perspective(images, start, end, interpolation=tv.InterpolationMode.BILINEAR)
    result = TransformSpace(["perspective_x"]).apply(images, torch.full((1, 1), 0.4).double())
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-4)  # torchvision solves for its coefficients


def test_points_behind_the_viewer_are_invisible() -> None:
    """Along a row, the content at x goes to x / (1 + 1.8 x): all of the left edge is pushed out to the left."""
    ramp = torch.linspace(0.1, 1, 40, dtype=torch.float64).expand(1, 1, 10, 40)
    result = TransformSpace({"perspective_x": 1.8}).apply(ramp, torch.full((1, 1), 1.8).double())
    x = (torch.arange(40) + 0.5 - 20) / 10  # output, in units of the shorter side
    source = x / (1 - 1.8 * x)
    column = source * 10 + 19.5
    seen = (1 - 1.8 * x > 0) & (column >= 0) & (column <= 39)
    expected = torch.where(seen, 0.1 + 0.9 * column / 39, torch.zeros(())).double()
    assert 3 < seen.sum() < 37
    surely = (column + 1).abs().minimum((column - 40).abs()) > 1
    middle = result[0, 0, 5]
    torch.testing.assert_close(middle[seen], expected[seen], rtol=0, atol=1e-5)
    assert not middle[~seen & surely].any()
