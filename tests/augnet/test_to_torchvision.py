import pickle
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from augnet_images import noise
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from augnet import AugNet, ClassConditionalPolicy, TransformSpace
from augnet.export import to_torchvision
from augnet.ops import OPS, MixingOp

NAMES = tuple(name for name, op in OPS.items() if not isinstance(op, MixingOp))
SPATIAL = ("horizontal_flip", "crop", "rotation", "translate_x", "scale", "perspective_x")


class Pictures(Dataset):
    """The same picture ten times, transformed; at module level, so that it can be sent to a spawned worker."""

    def __init__(self, transform: v2.Transform) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Tensor:
        result: Tensor = self.transform(noise(3, 8, 9, dtype=torch.float32))
        return result


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def seeded_call(transform: v2.Transform, *sample: object) -> Any:
    torch.manual_seed(7)
    return transform(*sample)


def reference(net: AugNet, image: Tensor, **targets: Tensor) -> tuple[Tensor, ...]:
    """The result of the policy itself for a batch of one."""
    torch.manual_seed(7)
    result = net(image[None], **{name: value[None] for name, value in targets.items()})
    return tuple(part[0].detach() for part in (result if isinstance(result, tuple) else (result,)))


def test_same_pixels_as_the_policy_and_another_draw_each_time() -> None:
    net, image = AugNet.from_ops(NAMES, initial=0.5), noise(3, 17, 12, dtype=torch.float32)
    transform = to_torchvision(net)
    assert torch.equal(seeded_call(transform, image), reference(net, image)[0])
    assert not torch.equal(transform(image), transform(image))


def test_it_always_augments_and_its_copy_is_frozen() -> None:
    net, image = AugNet.from_ops(["rotation"], initial=0.9), noise(3, 8, 8, dtype=torch.float32)
    transform = to_torchvision(net).eval()
    before = seeded_call(transform, image)
    assert not torch.equal(before, image)
    with torch.no_grad():
        net.policy.theta.fill_(-20.0)
    assert torch.equal(seeded_call(transform, image), before)
    assert not any(parameter.requires_grad for parameter in transform.parameters())


def test_every_kind_of_image_keeps_its_type_and_gets_the_same_pixels() -> None:
    transform = to_torchvision(AugNet.from_ops(NAMES, initial=0.3))
    levels = (noise(3, 14, 11) * 255).round().to(torch.uint8)
    precise = seeded_call(transform, levels / 255)
    expected = (precise * 255).round().to(torch.uint8)
    assert torch.equal(seeded_call(transform, levels), expected)
    wrapped = seeded_call(transform, tv_tensors.Image(levels))
    assert isinstance(wrapped, tv_tensors.Image)
    assert torch.equal(wrapped, tv_tensors.Image(expected))
    picture = seeded_call(transform, F.to_pil_image(levels))
    assert isinstance(picture, PIL.Image.Image)
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), expected.permute(1, 2, 0).numpy())
    half = seeded_call(transform, (levels / 255).half())
    assert half.dtype == torch.float16
    double = seeded_call(transform, levels.double() / 255)
    assert double.dtype == torch.float64


def test_a_gray_picture() -> None:
    transform = to_torchvision(AugNet.from_ops(["rotation", "contrast"], initial=0.9))
    levels = (noise(1, 10, 10) * 255).round().to(torch.uint8)
    picture = seeded_call(transform, F.to_pil_image(levels))
    assert picture.mode == "L"
    assert np.array_equal(np.asarray(picture), seeded_call(transform, levels)[0].numpy())


@pytest.mark.parametrize("shape", [(13, 18), (2, 13, 18)])
def test_masks_and_boxes_follow_as_in_the_policy(shape: tuple[int, ...]) -> None:
    net, image = AugNet.from_ops(SPATIAL, initial=0.6), noise(3, 13, 18, dtype=torch.float32)
    mask = (noise(*shape) * 10).long()
    boxes = torch.tensor([[2.0, 3, 9, 8], [0, 0, 18, 13]])
    sample = {
        "image": tv_tensors.Image(image),
        "targets": (tv_tensors.Mask(mask), tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(13, 18))),
        "label": torch.tensor([3.0]),
        "name": "x",
    }
    result = seeded_call(to_torchvision(net), sample)
    expected = reference(net, image, masks=mask, boxes=boxes)
    moved_mask, moved_boxes = result["targets"]
    assert isinstance(moved_mask, tv_tensors.Mask)
    assert isinstance(moved_boxes, tv_tensors.BoundingBoxes)
    assert moved_boxes.canvas_size == (13, 18)
    for part, plain in zip((result["image"], moved_mask, moved_boxes), expected, strict=True):
        assert torch.equal(part.as_subclass(Tensor), plain)
    assert not torch.equal(moved_mask.as_subclass(Tensor), mask)
    assert not torch.equal(moved_boxes.as_subclass(Tensor), boxes)
    assert (result["label"], result["name"]) == (sample["label"], "x")


@pytest.mark.parametrize("box_format", ["XYWH", "CXCYWH"])
def test_boxes_of_any_format_are_the_same_boxes(box_format: str) -> None:
    transform, image = to_torchvision(AugNet.from_ops(SPATIAL, initial=0.5)), tv_tensors.Image(noise(3, 16, 16))
    corners = tv_tensors.BoundingBoxes(torch.tensor([[2.0, 3, 9, 8]]), format="XYXY", canvas_size=(16, 16))
    expected = seeded_call(transform, image, corners)[1]
    moved = seeded_call(transform, image, F.convert_bounding_box_format(corners, new_format=box_format))[1]
    assert moved.format.value == box_format
    torch.testing.assert_close(F.convert_bounding_box_format(moved, new_format="XYXY"), expected)


def test_whole_number_boxes_stay_where_nothing_moves() -> None:
    transform = to_torchvision(AugNet.from_ops({"rotation": 0.01}, initial=1e-4))
    boxes = torch.tensor([[left, top, left + 5, top + 7] for left in range(12) for top in range(9)])
    wrapped = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(17, 19))
    moved = transform(tv_tensors.Image(noise(3, 17, 19)), wrapped)[1]
    assert torch.equal(moved.as_subclass(Tensor), boxes)


def test_two_images_of_a_sample_move_together() -> None:
    transform, image = to_torchvision(AugNet.from_ops(NAMES)), tv_tensors.Image(noise(3, 8, 8))
    first, second = transform(image, image)
    assert torch.equal(first, second)


def test_inside_compose() -> None:
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(1.0),
            to_torchvision(AugNet.from_ops({"translate_x": 1e-4}, initial=1e-2)),
            v2.ToImage(),
        ]
    )
    levels = (noise(3, 6, 7) * 255).round().to(torch.uint8)
    assert torch.equal(transform(F.to_pil_image(levels)).as_subclass(Tensor), levels.flip(-1))


def test_a_pickled_copy_is_the_same() -> None:
    net = AugNet.from_ops(NAMES, initial=0.4)
    net.space = type(net.space)(dict(zip(net.space.names, net.space.bounds, strict=True)), interpolation="nearest")
    transform, image = to_torchvision(net), noise(3, 9, 8)
    copy = pickle.loads(pickle.dumps(transform))
    assert torch.equal(seeded_call(copy, image), seeded_call(transform, image))


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.slow)])
def test_in_workers_the_seed_decides(method: str, workers: int) -> None:
    data = Pictures(to_torchvision(AugNet.from_ops(["rotation", "red"], initial=0.9)))

    def epoch() -> Tensor:
        seed = torch.Generator().manual_seed(5)
        loader = DataLoader(data, batch_size=5, num_workers=workers, multiprocessing_context=method, generator=seed)
        return torch.cat(list(loader))

    first = epoch()
    assert len(first.flatten(1).unique(dim=0)) == 10  # within a worker, and between the two
    if method == "fork":  # starting new processes once more would prove the same at a price
        assert torch.equal(epoch(), first)


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if isinstance(op, MixingOp)])
def test_mixing_ops_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"ops: {name} need a second image"):
        to_torchvision(AugNet.from_ops(["rotation", name]))


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (torch.zeros(1, 8, 8), "hue need images with 3 channels"),
        (PIL.Image.new("L", (8, 8)), "hue need images with 3 channels"),
        (PIL.Image.new("RGBA", (8, 8)), "mode L or RGB, found RGBA"),
        (torch.zeros(2, 3, 8, 8), r"one image \[C, H, W\], found \(2, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.int16), "floating-point images .* found torch.int16"),
        ((tv_tensors.Mask(torch.zeros(8, 8)), 3), "expected an image in the sample .*found Mask"),
        ((tv_tensors.Image(torch.zeros(3, 8, 8)), tv_tensors.Mask(torch.zeros(8, 9))), "expected masks"),
        (
            (
                tv_tensors.Image(torch.zeros(3, 8, 8)),
                tv_tensors.BoundingBoxes(torch.zeros(1, 4), format="XYXY", canvas_size=(9, 8)),
            ),
            r"canvas size of the image, \(8, 8\), found \(9, 8\)",
        ),
    ],
)
def test_samples_that_do_not_fit(sample: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_torchvision(AugNet.from_ops(["rotation", "hue"]))(sample)


def test_video_is_refused() -> None:
    image, video = tv_tensors.Image(torch.zeros(3, 8, 8)), tv_tensors.Video(torch.zeros(2, 3, 8, 8))
    with pytest.raises(TypeError, match="found Video"):
        to_torchvision(AugNet.from_ops(["rotation"]))(image, video)


def test_policies_conditioned_on_classes_are_refused() -> None:
    space = TransformSpace(["rotation"])
    with pytest.raises(ValueError, match="conditioned on classes, which a transform is not given"):
        to_torchvision(AugNet(space, ClassConditionalPolicy(space, 3)))
