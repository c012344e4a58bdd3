"""Masks and boxes that follow their images, held to kornia, torchvision and to each other."""

import kornia.geometry as kg
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from augnet_images import draw, generator, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import sweep
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from augnet import TransformSpace
from augnet.batch import Batch
from augnet.fused import geometry
from augnet.ops import OPS, MirrorOp, MixingOp, SpatialOp

MOVING = tuple(name for name, op in OPS.items() if isinstance(op, MirrorOp | SpatialOp))
STILL = tuple(name for name, op in OPS.items() if not isinstance(op, MirrorOp | SpatialOp | MixingOp))
SIDES = [(16, 16), (13, 22)]
TYPES = (torch.int64, torch.bool, torch.uint8, torch.float32, torch.int32, torch.bfloat16)


def moved(space: TransformSpace, batch: Batch, magnitudes: Tensor) -> Batch:
    return space.apply_to(batch, magnitudes, generator=generator())


def masks_of(result: Batch) -> Tensor:
    assert result.masks is not None
    return result.masks


def boxes_of(result: Batch) -> Tensor:
    assert result.boxes is not None
    return result.boxes


def one(name: str, magnitude: float) -> tuple[TransformSpace, Tensor]:
    return TransformSpace([name]), torch.full((1, 1), magnitude, dtype=torch.float64)


@pytest.mark.parametrize("dtype", TYPES)
@sweep("sides", SIDES)
def test_masks_equal_the_nearest_neighbor_warp_of_kornia(dtype: torch.dtype, sides: tuple[int, int]) -> None:
    height, width = sides
    space = TransformSpace(MOVING)
    masks = (noise(4, 3, *sides) * 200).to(dtype)
    magnitudes = draw(space, 4, 0.5)
    result = masks_of(moved(space, Batch(noise(4, 3, *sides), masks=masks), magnitudes))
    columns = dict(zip(space.names, magnitudes.unbind(1), strict=True))
    matrix, affine = geometry(space.ops, columns, space.noise(noise(4, 3, *sides), generator()))
    assert matrix is not None
    assert not affine
    side = min(sides)
    pixels = torch.tensor([[side, 0, (width - 1) / 2], [0, side, (height - 1) / 2], [0, 0, 1]], dtype=torch.float64)
    expected = kg.warp_perspective(
        masks.double(), pixels @ matrix @ pixels.inverse(), sides, mode="nearest", align_corners=True
    )
    assert result.dtype == dtype
    assert torch.equal(result, expected.to(dtype))
    assert not torch.equal(result, masks)


@pytest.mark.parametrize("angle", [-40.0, 17.0, 110.0])
@sweep("sides", SIDES)
def test_masks_equal_torchvision(angle: float, sides: tuple[int, int]) -> None:
    masks = (noise(1, *sides) * 200).to(torch.uint8)
    space, magnitudes = TransformSpace({"rotation": 180.0}), torch.full((1, 1), angle, dtype=torch.float64)
    result = masks_of(moved(space, Batch(noise(1, 3, *sides), masks=masks), magnitudes))
    assert torch.equal(result, tv.rotate_mask(masks, angle))


@pytest.mark.parametrize("shape", [(2, 9, 12), (2, 1, 9, 12), (2, 4, 9, 12), (2, 0, 9, 12)])
def test_masks_keep_their_shape_and_largest_numbers(shape: tuple[int, ...]) -> None:
    masks = torch.full(shape, 2**40 + 1)
    result = masks_of(moved(TransformSpace(["translate_x"]), Batch(noise(2, 3, 9, 12), masks=masks), torch.ones(2, 1)))
    assert result.shape == shape
    assert set(result.flatten().tolist()) <= {0, 2**40 + 1}
    assert not result[..., :9].any()
    assert result[..., 9:].all()


@pytest.mark.parametrize("names", [STILL, MOVING])
def test_masks_and_boxes_stay_where_images_stay(names: tuple[str, ...]) -> None:
    space = TransformSpace(names)
    masks, boxes = (
        torch.randint(0, 9, (3, 9, 14), generator=generator()),
        torch.tensor([[[1.0, 2, 6, 7]]]).repeat(3, 1, 1),
    )
    magnitudes = draw(space, 3) * (names is STILL)  # ops that move nothing, or move by 0
    result = moved(space, Batch(noise(3, 3, 9, 14), masks=masks, boxes=boxes), magnitudes)
    assert torch.equal(masks_of(result), masks)
    torch.testing.assert_close(boxes_of(result), boxes)


def test_mask_and_image_move_together() -> None:
    space = TransformSpace(MOVING, interpolation="nearest")
    images = (noise(6, 1, 15, 20) * 255).round() / 255
    result = moved(space, Batch(images, masks=images), draw(space, 6, 0.4))
    torch.testing.assert_close(masks_of(result), result.images, rtol=0, atol=0)


def as_boxes(corners: Tensor, sides: tuple[int, int]) -> BoundingBoxes:
    return BoundingBoxes(corners, format=BoundingBoxFormat.XYXY, canvas_size=sides, clamping_mode="hard")


BOXES = torch.tensor([[2.0, 3.0, 9.5, 8.0], [0.0, 0.0, 13.0, 13.0], [10.0, 1.0, 12.0, 12.5]], dtype=torch.float64)


@sweep("sides", SIDES)
@pytest.mark.parametrize(
    ("name", "magnitude", "affine"),
    [
        ("rotation", 33.0, {"angle": -33.0}),
        ("rotation", -80.0, {"angle": 80.0}),
        ("translate_x", 0.5, {"translate": [0.5, 0.0]}),
        ("translate_y", -1.0, {"translate": [0.0, -1.0]}),
        ("scale", 0.5, {"scale": 2**0.5}),
        ("scale", -0.5, {"scale": 2**-0.5}),
        ("shear_x", 20.0, {"shear": [-20.0, 0.0]}),
        ("shear_y", -25.0, {"shear": [0.0, 25.0]}),
    ],
)
def test_boxes_equal_torchvision(
    name: str, magnitude: float, affine: dict[str, float | list[float]], sides: tuple[int, int]
) -> None:
    parts = {"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0], **affine}
    assert isinstance(parts["translate"], list)
    parts["translate"] = [part * min(sides) for part in parts["translate"]]
    expected = tv.affine(as_boxes(BOXES, sides), **parts)
    space, magnitudes = one(name, magnitude)
    result = boxes_of(moved(space, Batch(noise(1, 3, *sides), boxes=BOXES[None]), magnitudes))[0]
    torch.testing.assert_close(result, expected.as_subclass(Tensor), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@sweep("sides", SIDES)
def test_boxes_are_mirrored_as_in_torchvision(sides: tuple[int, int], dtype: torch.dtype) -> None:
    boxes = BOXES.floor().to(dtype)
    for name, flip in (("horizontal_flip", tv.horizontal_flip), ("vertical_flip", tv.vertical_flip)):
        space, magnitudes = one(name, 1.0)
        result = boxes_of(moved(space, Batch(noise(1, 3, *sides), boxes=boxes[None]), magnitudes))[0]
        assert torch.equal(result, flip(as_boxes(boxes, sides)).as_subclass(Tensor))


@pytest.mark.parametrize("tilt", [-0.8, 0.3, 0.8])
@sweep("sides", SIDES)
def test_boxes_in_perspective_equal_torchvision(tilt: float, sides: tuple[int, int]) -> None:
    height, width = sides
    start = torch.tensor([[0.0, 0], [width, 0], [width, height], [0, height]], dtype=torch.float64)
    centered = start - torch.tensor([width, height]) / 2
    end = centered / (1 + tilt * centered[:, :1] / min(sides)) + torch.tensor([width, height]) / 2
    expected = tv.perspective(as_boxes(BOXES, sides), start.tolist(), end.tolist())
    space, magnitudes = one("perspective_x", tilt)
    result = boxes_of(moved(space, Batch(noise(1, 3, *sides), boxes=BOXES[None]), magnitudes))[0]
    torch.testing.assert_close(result, expected.as_subclass(Tensor), rtol=0, atol=1e-3)  # solves in float32


@settings(deadline=None, max_examples=100)
@given(
    sides=st.sampled_from([(24, 24), (16, 40), (33, 15)]),
    corners=st.tuples(*[st.floats(0, 1, width=32)] * 4),
    share=st.sampled_from([0.2, 0.6, 1.0]),
    names=st.sampled_from([MOVING, ("perspective_x", "perspective_y"), ("rotation", "scale")]),
    seed=st.integers(0, 2**31),
)
def test_a_box_contains_every_moved_pixel_of_its_mask(
    sides: tuple[int, int], corners: tuple[float, ...], share: float, names: tuple[str, ...], seed: int
) -> None:
    """Also where a part of the box lies behind the viewer."""
    space = TransformSpace({name: min(OPS[name].limit, 2 * OPS[name].bound) for name in names})
    (top, bottom), (left, right) = sorted(corners[:2]), sorted(corners[2:])
    height, width = sides
    rows, columns = slice(int(top * height), int(bottom * height) + 1), slice(int(left * width), int(right * width) + 1)
    masks = torch.zeros(1, height, width, dtype=torch.bool)
    masks[0, rows, columns] = True
    boxes = torch.tensor([[[columns.start, rows.start, min(columns.stop, width), min(rows.stop, height)]]]).double()
    magnitudes = torch.rand(1, len(space), generator=generator(seed), dtype=torch.float64) * 2 - 1
    magnitudes = share * torch.where(torch.tensor(space.signed), magnitudes, magnitudes.abs())
    magnitudes = magnitudes * torch.tensor(space.bounds, dtype=torch.float64)
    result = space.apply_to(Batch(noise(1, 1, *sides), masks=masks, boxes=boxes), magnitudes, generator=generator(seed))
    low_x, low_y, high_x, high_y = boxes_of(result)[0, 0].tolist()
    assert 0 <= low_x <= high_x <= width
    assert 0 <= low_y <= high_y <= height
    y, x = masks_of(result)[0].nonzero().double().add(0.5).unbind(1)  # the middles of pixels
    assert ((x >= low_x - 1e-3) & (x <= high_x + 1e-3) & (y >= low_y - 1e-3) & (y <= high_y + 1e-3)).all()


def test_boxes_equal_the_hull_of_all_their_points_in_front_of_the_viewer() -> None:
    space = TransformSpace({"scale": 3.0, "rotation": 180.0, "perspective_x": 1.8, "perspective_y": 1.8})
    magnitudes = draw(space, 60)
    edge = torch.linspace(0, 1, 4001, dtype=torch.float64)
    left, top, right, bottom = 3.0, 5.0, 20.0, 21.0
    x = torch.cat([left + (right - left) * edge] * 2 + [left + 0 * edge, right + 0 * edge])
    y = torch.cat([top + 0 * edge, bottom + 0 * edge] + [top + (bottom - top) * edge] * 2)
    matrix, _ = geometry(space.ops, dict(zip(space.names, magnitudes.unbind(1), strict=True)), {})
    assert matrix is not None
    points = matrix @ torch.stack([x / 24 - 0.5, y / 24 - 0.5, torch.ones_like(x)])  # [60, 3, points]
    pixels, in_front = points[:, :2] / points[:, 2:] * 24 + 12, points[:, 2:] > 0
    partly = in_front.any(2) & ~in_front.all(2)
    assert partly.sum() > 5  # else the case could not tell
    low = torch.where(in_front, pixels, 24).amin(2).clamp(0, 24)
    high = torch.where(in_front, pixels, 0).amax(2).clamp(0, 24)
    boxes = torch.tensor([[[left, top, right, bottom]]], dtype=torch.float64).expand(60, -1, -1)
    result = boxes_of(moved(space, Batch(noise(60, 3, 24, 24), boxes=boxes), magnitudes))[:, 0]
    expected = torch.cat([low, torch.maximum(low, high)], dim=1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_a_box_pushed_out_of_the_picture_is_empty() -> None:
    space, magnitudes = TransformSpace({"translate_x": 2.0}), torch.tensor([[1.5]])
    result = boxes_of(moved(space, Batch(noise(1, 3, 8, 8), boxes=torch.tensor([[[1.0, 2, 6, 7]]])), magnitudes))
    assert result.tolist() == [[[8.0, 2.0, 8.0, 7.0]]]


def test_a_box_behind_the_viewer_is_empty() -> None:
    space = TransformSpace({"scale": 3.0, "perspective_x": 1.8})
    batch = Batch(noise(1, 3, 8, 8), boxes=torch.tensor([[[0.0, 2, 1, 7]]]))
    left, top, right, bottom = boxes_of(moved(space, batch, torch.tensor([[2.0, 1.8]])))[0, 0].tolist()
    assert left == right
    assert top == bottom


def test_integer_boxes_are_rounded() -> None:
    space, magnitudes = one("scale", 0.5)
    batch = Batch(noise(1, 3, 64, 64), boxes=torch.tensor([[[30, 20, 40, 50]]]))
    exact = boxes_of(moved(space, Batch(batch.images, boxes=torch.tensor([[[30.0, 20, 40, 50]]])), magnitudes))
    assert torch.equal(boxes_of(moved(space, batch, magnitudes)), exact.round().long())


@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_boxes(count: int) -> None:
    space = TransformSpace(MOVING)
    boxes = torch.zeros(2, count, 4)
    assert boxes_of(moved(space, Batch(noise(2, 3, 8, 8), boxes=boxes), draw(space, 2))).shape == (2, count, 4)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"masks": torch.zeros(2, 8, 9)}, r"expected masks \[2, \(N,\) 8, 8\], found \(2, 8, 9\)"),
        ({"masks": torch.zeros(3, 8, 8)}, r"expected masks \[2, .* found \(3, 8, 8\)"),
        ({"masks": torch.zeros(8, 8)}, r"expected masks \[2, .* found \(8, 8\)"),
        ({"boxes": torch.zeros(2, 4)}, r"expected boxes \[2, N, 4\] in pixels, found \(2, 4\)"),
        ({"boxes": torch.zeros(2, 3, 5)}, r"expected boxes \[2, N, 4\] in pixels, found \(2, 3, 5\)"),
        ({"boxes": torch.zeros(1, 3, 4)}, r"expected boxes \[2, N, 4\] in pixels, found \(1, 3, 4\)"),
        ({"labels": torch.zeros(3)}, r"expected labels \[2\] or \[2, K\], found \(3,\)"),
        ({"labels": torch.zeros(())}, r"expected labels \[2\] or \[2, K\], found \(\)"),
    ],
)
def test_shapes_that_do_not_fit(extra: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        moved(TransformSpace(["rotation"]), Batch(noise(2, 3, 8, 8), **extra), torch.zeros(2, 1))
