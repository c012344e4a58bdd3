"""What every op promises: identity at 0, growing strength, exact gradients, each image on its own."""

import pytest
import torch
from augnet_images import blob, noise

from augnet import TransformSpace
from augnet.ops import OPS, ColourOp, SpatialOp, find_op

NAMES = tuple(OPS)
COLOUR = tuple(name for name, op in OPS.items() if isinstance(op, ColourOp))
SPATIAL = tuple(name for name, op in OPS.items() if isinstance(op, SpatialOp))
SIDES = [(1, 1), (8, 8), (28, 28), (20, 33), (224, 224)]


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_the_ops_and_their_order() -> None:
    assert SPATIAL == ("rotation", "translate_x", "translate_y", "scale", "aspect", "shear_x", "shear_y")
    assert COLOUR == ("brightness", "contrast", "saturation", "hue")
    assert NAMES == SPATIAL + COLOUR


@pytest.mark.parametrize("name", [*COLOUR, COLOUR])
@pytest.mark.parametrize("sides", SIDES)
def test_colour_at_zero_changes_no_bit(name: str | tuple[str, ...], sides: tuple[int, int]) -> None:
    space = TransformSpace([name] if isinstance(name, str) else name)
    images = noise(2, 3, *sides, dtype=torch.float32)
    assert torch.equal(space.apply(images, torch.zeros(2, len(space))), images)


@pytest.mark.parametrize("name", [*SPATIAL, NAMES])
@pytest.mark.parametrize("sides", SIDES)
def test_resampling_at_zero_is_exact_up_to_the_rounding_of_the_grid(
    name: str | tuple[str, ...], sides: tuple[int, int]
) -> None:
    space = TransformSpace([name] if isinstance(name, str) else name)
    images = torch.round(noise(2, 3, *sides) * 255) / 255
    zeros = torch.zeros(2, len(space), dtype=torch.float64)
    torch.testing.assert_close(space.apply(images, zeros), images, rtol=0, atol=1e-12)
    single = space.apply(images.float(), zeros)
    assert torch.equal((single * 255).round(), (images * 255).round().float())
    torch.testing.assert_close(single, images.float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SPATIAL)
def test_resampling_at_zero_changes_no_bit_where_the_grid_is_representable(name: str) -> None:
    images = noise(2, 3, 8, 32, dtype=torch.float32)
    assert torch.equal(TransformSpace([name]).apply(images, torch.zeros(2, 1)), images)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", NAMES)
def test_strength_grows_with_the_magnitude_up_to_the_bound(name: str, sign: int) -> None:
    strengths = sign * OPS[name].bound * torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    images = blob().expand(9, -1, -1, -1)
    distances = (TransformSpace([name]).apply(images, strengths) - images).flatten(1).norm(dim=1)
    assert distances[0] < 1e-10
    assert (distances.diff() > 0.1).all(), distances


@pytest.mark.parametrize("name", NAMES)
def test_gradient_in_magnitude_and_image_by_finite_differences(name: str) -> None:
    images = noise(2, 3, 4, 5, low=0.25, high=0.75).requires_grad_()
    magnitudes = (OPS[name].bound * column(0.37, -0.61)).requires_grad_()
    assert torch.autograd.gradcheck(TransformSpace([name]).apply, (images, magnitudes))


def test_gradient_of_all_ops_together_by_finite_differences() -> None:
    space = TransformSpace(NAMES)
    images = noise(2, 3, 4, 5, low=0.25, high=0.75).requires_grad_()
    magnitudes = 0.5 * noise(2, len(NAMES), low=-1) * torch.tensor(space.bounds, dtype=torch.float64)
    assert torch.autograd.gradcheck(space.apply, (images, magnitudes.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_magnitude_of_every_image_has_a_gradient(dtype: torch.dtype) -> None:
    space = TransformSpace(NAMES)
    images = noise(4, 3, 9, 8, low=0.25, high=0.75, dtype=dtype)
    magnitudes = 0.3 * noise(4, len(NAMES), low=-1, dtype=dtype) * torch.tensor(space.bounds, dtype=dtype)
    weights = noise(3, 9, 8, low=-1, dtype=dtype)
    loss = (space.apply(images, magnitudes.requires_grad_()) * weights).sum()
    (gradient,) = torch.autograd.grad(loss, magnitudes)
    strength = (gradient * torch.tensor(space.bounds, dtype=dtype)).abs()
    assert (strength > 1e-3).all(), strength


@pytest.mark.parametrize("name", NAMES)
def test_equal_images_with_different_magnitudes_come_out_different(name: str) -> None:
    images = noise(1, 3, 9, 9).expand(3, -1, -1, -1)
    first, second, third = TransformSpace([name]).apply(images, OPS[name].bound * column(0.5, -0.5, 0.5))
    assert (first - second).abs().max() > 0.02
    assert torch.equal(first, third)


def test_an_image_does_not_depend_on_its_batch() -> None:
    space = TransformSpace(NAMES)
    images = noise(5, 3, 9, 8)
    magnitudes = noise(5, len(NAMES), low=-1) * torch.tensor(space.bounds, dtype=torch.float64)
    alone = [space.apply(images[row : row + 1], magnitudes[row : row + 1]) for row in range(5)]
    torch.testing.assert_close(space.apply(images, magnitudes), torch.cat(alone), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_find_op_knows_every_op_and_its_unit(name: str) -> None:
    op = find_op(name)
    assert op is OPS[name]
    assert op.name == name
    assert op.bound > 0
    assert op.unit
    assert op.meaning


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rotatoin", r"unknown op 'rotatoin'; did you mean rotation\? Known ops: rotation, translate_x, .*, hue\.$"),
        ("translate", r"did you mean translate_\w or translate_\w\? Known ops"),
        ("posterize", r"unknown op 'posterize'\. Known ops: rotation"),
    ],
)
def test_unknown_op(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_op(name)
