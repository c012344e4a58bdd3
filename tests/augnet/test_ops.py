"""Properties of every op: identity at 0, growing strength, each image on its own, any shape and type."""

import pytest
import torch
from augnet_images import applied, blob, constant, draw, generator, in_units, noise, rows
from sweeps import kind_of, sweep

from augnet import TransformSpace
from augnet.ops import OPS, ColorOp, MirrorOp, MixingOp, PixelOp, SpatialOp, find_op
from augnet.ops.base import Op

NAMES = tuple(OPS)
ALONE = tuple(name for name, op in OPS.items() if not isinstance(op, MixingOp))  # ops that treat each image by itself
UNMOVED = tuple(name for name, op in OPS.items() if not isinstance(op, SpatialOp))  # ops without resampling
SPATIAL = tuple(name for name, op in OPS.items() if isinstance(op, SpatialOp))
SIDES = [(1, 1), (8, 8), (20, 33), (224, 224)]
LEARNED = sweep("learned", [False, True])  # which of the two paths: active images only, or all


def test_ops_are_applied_kind_by_kind() -> None:
    kinds = [MirrorOp, SpatialOp, ColorOp, PixelOp, MixingOp]
    order = [kinds.index(type(op)) for op in OPS.values()]
    assert order == sorted(order)
    assert set(order) == set(range(5))


@LEARNED
@sweep("name", UNMOVED, by=kind_of)
@sweep("sides", SIDES)
def test_at_zero_no_bit_changes(name: str, sides: tuple[int, int], learned: bool) -> None:
    images = noise(2, 3, *sides, dtype=torch.float32)
    assert torch.equal(applied(name, images, torch.zeros(2, requires_grad=learned)), images)


@sweep("name", [*SPATIAL, NAMES], by=kind_of)
@sweep("sides", SIDES)
def test_at_zero_no_bit_changes_where_nothing_is_learned(name: str | tuple[str, ...], sides: tuple[int, int]) -> None:
    space = TransformSpace([name] if isinstance(name, str) else name)
    images = noise(2, 3, *sides, dtype=torch.float32)
    assert torch.equal(space.apply(images, torch.zeros(2, len(space))), images)


@sweep("name", [*SPATIAL, ALONE], by=kind_of)
@sweep("sides", SIDES)
def test_learned_resampling_at_zero_is_exact_up_to_the_rounding_of_the_grid(
    name: str | tuple[str, ...], sides: tuple[int, int]
) -> None:
    space = TransformSpace([name] if isinstance(name, str) else name)
    images = torch.round(noise(2, 3, *sides) * 255) / 255
    zeros = torch.zeros(2, len(space), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(space.apply(images, zeros).detach(), images, rtol=0, atol=1e-12)
    single = space.apply(images.float(), zeros).detach()
    assert torch.equal((single * 255).round(), (images * 255).round().float())
    torch.testing.assert_close(single, images.float(), rtol=0, atol=1e-4)


@sweep("name", SPATIAL)
def test_learned_resampling_at_zero_changes_no_bit_where_the_grid_is_representable(name: str) -> None:
    images = noise(2, 3, 8, 32, dtype=torch.float32)
    assert torch.equal(applied(name, images, torch.zeros(2, requires_grad=True)), images)


@sweep(
    ("name", "sign"),
    [(name, sign) for name, op in OPS.items() for sign in (1, -1) if op.signed or sign > 0],
    by=lambda case: kind_of(case[0]),
)
def test_strength_grows_with_the_magnitude_up_to_the_bound(name: str, sign: int) -> None:
    """On average over places and partners; steps that a rounded op cannot take may be left out."""
    images = blob() * torch.linspace(0.4, 1, 24, dtype=torch.float64)[:, None, None, None]
    strengths = [
        float((applied(name, images, constant(24, sign * share * OPS[name].bound)) - images).norm()) / 24**0.5
        for share in torch.linspace(0, 1, 9).tolist()
    ]
    steps = torch.tensor(strengths).diff()
    smallest = 1e-3 if OPS[name].gradient == "exact" else 0.0
    assert strengths[0] == 0
    assert (steps >= smallest).all(), strengths
    assert strengths[-1] > 0.1


@sweep("name", ALONE, by=kind_of)
def test_equal_images_with_different_magnitudes_come_out_different(name: str) -> None:
    images = noise(1, 3, 24, 22, low=0.2, high=0.8).expand(3, -1, -1, -1)
    space = TransformSpace([name])
    same = rows(space.noise(images, generator()), torch.zeros(3, dtype=torch.long))
    magnitudes = torch.tensor([[0.9], [0.2], [0.9]], dtype=torch.float64) * OPS[name].bound
    first, second, third = space.apply(images, magnitudes, same)
    assert (first - second).abs().max() > 0.02
    assert torch.equal(first, third)


@LEARNED
def test_an_image_does_not_depend_on_its_batch(learned: bool) -> None:
    space = TransformSpace(ALONE)
    images, draws = noise(6, 3, 9, 8), space.noise(noise(6, 3, 9, 8), generator())
    sparse = noise(6, len(space), low=-1).flip(0) > 0  # about half of the ops are off in each image
    magnitudes = (draw(space, 6) * sparse).requires_grad_(learned)
    alone = [
        space.apply(images[row : row + 1], magnitudes[row : row + 1], rows(draws, slice(row, row + 1)))
        for row in range(6)
    ]
    torch.testing.assert_close(space.apply(images, magnitudes, draws), torch.cat(alone), rtol=0, atol=1e-12)


@sweep("name", NAMES, by=kind_of)
def test_images_with_magnitude_zero_are_left_alone_among_others(name: str) -> None:
    images = noise(6, 3, 9, 8, dtype=torch.float32)
    off = torch.tensor([True, False, True, True, False, False])
    result = applied(name, images, OPS[name].bound * (~off).float())
    assert torch.equal(result[off], images[off])
    assert (result[~off] != images[~off]).flatten(1).any(1).all()


@sweep("name", NAMES, by=kind_of)
def test_treating_only_active_images_gives_the_same(name: str) -> None:
    images = noise(6, 3, 9, 8)
    magnitudes = OPS[name].bound * torch.tensor([0.0, 0.3, 0.0, 0.9, 0.6, 0.0], dtype=torch.float64)
    fast, full = applied(name, images, magnitudes), applied(name, images, magnitudes.clone().requires_grad_())
    torch.testing.assert_close(fast, full.detach(), rtol=0, atol=1e-12)


@sweep("name", NAMES, by=kind_of)
@sweep("channels", [1, 2, 4, 6])
def test_any_number_of_channels_unless_an_op_needs_colors(name: str, channels: int) -> None:
    images = noise(3, channels, 6, 9, dtype=torch.float32)
    magnitudes = torch.full((3,), OPS[name].bound)
    if OPS[name].needs_rgb and channels != 3:
        with pytest.raises(ValueError, match=rf"ops: {name} need images with 3 channels .*, found {channels}; remove"):
            applied(name, images, magnitudes)
    else:
        result = applied(name, images, magnitudes)
        assert result.shape == images.shape
        assert not torch.equal(result, images)


@sweep("name", NAMES, by=kind_of)
@sweep("shape", [(3, 3, 5, 11), (1, 3, 1, 1), (2, 3, 1, 6), (2, 3, 6, 2)])
@sweep("learned", [False, True])
def test_extreme_magnitudes_on_small_images_stay_in_range(name: str, shape: tuple[int, ...], learned: bool) -> None:
    """Flat images too: no range to stretch, no histogram to flatten, nothing to divide by."""
    op = OPS[name]
    space = TransformSpace({name: min(op.limit, 1e3)})
    for images in (noise(*shape, dtype=torch.float32), torch.zeros(shape), torch.ones(shape)):
        for fraction in (1.0, -1.0, 1e-3):
            magnitudes = in_units(space, torch.full((len(images), 1), fraction)).requires_grad_(learned)
            result = space.apply(images.clone().requires_grad_(learned), magnitudes, generator=generator())
            assert result.shape == images.shape
            assert result.isfinite().all()
            assert result.min() >= 0
            assert result.max() <= 1
            if learned:
                result.sum().backward()
                assert magnitudes.grad is not None
                assert magnitudes.grad.isfinite().all()


@sweep("op", OPS.values())
def test_find_op_knows_every_op_and_its_unit(op: Op) -> None:
    assert find_op(op.name) is op
    assert 0 < op.bound <= op.limit
    assert op.unit
    assert op.meaning


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rotatoin", r"unknown op 'rotatoin'; did you mean rotation\? Known ops: horizontal_flip, .*, mixup\.$"),
        ("translate", r"did you mean translate_\w or translate_\w\? Known ops"),
        ("posterized", r"unknown op 'posterized'; did you mean posterize"),
        ("zoom", r"unknown op 'zoom'\. Known ops: horizontal_flip"),
    ],
)
def test_unknown_op(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_op(name)
