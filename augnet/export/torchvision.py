"""Export of a policy as a torchvision v2 transform of single samples, for data sets and DataLoader workers."""

from copy import deepcopy
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from augnet.batch import Batch
from augnet.network import AugNet
from augnet.ops import MixingOp
from augnet.space import TransformSpace

_MODES = ("L", "RGB")
_BOXES = ("XYXY", "XYWH", "CXCYWH")


def to_torchvision(augnet: AugNet) -> v2.Transform:
    """Return a frozen copy of a policy as a transform for `v2.Compose`.

    Its inputs are those of torchvision's own transforms, any nesting of: PIL images (gray or RGB), tensors
    `[C, H, W]` (uint8, or floating point in [0, 1]), `tv_tensors.Image`, `Mask` and `BoundingBoxes` (not rotated ones).
    Type, dtype and size of each are kept. One draw transforms all parts of a sample; other objects, and labels, are
    returned unchanged. It always augments, as torchvision's transforms do.

    The draws come from torch's default generator, which a DataLoader seeds in every worker. The transform can be
    pickled, so workers may be spawned.

    Args:
        augnet: The policy and its space; it is copied to the CPU, and learning it further does not change the copy.

    Raises:
        ValueError: If an op mixes images, since a transform is given only one, or the policy is conditioned on
            classes; or, when called, if there is no image, or one of the wrong shape or number of channels.
        TypeError: If it is called with an unsupported kind of input.

    Example:
        >>> transform = v2.Compose([to_torchvision(AugNet.from_ops(["rotation"])), v2.ToDtype(torch.float32)])
        >>> transform(PIL.Image.new("RGB", (32, 24))).size
        (32, 24)
    """
    if not isinstance(augnet.space, TransformSpace):
        raise ValueError("a field network is for images of one size and moves no masks or boxes: call it on batches.")
    mixing = [op.name for op in augnet.space.ops if isinstance(op, MixingOp)]
    if mixing:
        raise ValueError(
            f"ops: {', '.join(mixing)} need a second image, and a transform is given one at a time; remove them "
            "from the ops, or call the policy itself on whole batches."
        )
    if augnet.policy.num_classes:
        raise ValueError("this policy is conditioned on classes, which a transform is not given: call it on batches.")
    return _PolicyTransform(augnet)


class _PolicyTransform(v2.Transform):
    """The transform that `to_torchvision` returns."""

    def __init__(self, augnet: AugNet) -> None:
        super().__init__()
        self.augnet = deepcopy(augnet).cpu().requires_grad_(False)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw magnitudes `[1, P]` and noise for one sample, and return them with its first image."""
        image = next((part for part in flat_inputs if _is_image(part)), None)
        if image is None:
            raise ValueError(
                "expected an image in the sample (PIL, tensor [C, H, W] or tv_tensors.Image), found "
                f"{', '.join(type(part).__name__ for part in flat_inputs) or 'none'}"
            )
        images = _to_batch(image)
        return {"images": images, "magnitudes": self.augnet.sample(images), "noise": self.augnet.space.noise(images)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Transform one part of the sample by the draw of `make_params`."""
        if isinstance(inpt, tv_tensors.Mask):
            moved = self._follow(params, masks=inpt.as_subclass(Tensor)[None])
            return tv_tensors.wrap(moved.masks[0], like=inpt)
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            corners = _to_corners(inpt, tuple(params["images"].shape[-2:]))
            moved = self._follow(params, boxes=corners[None])
            boxes = F.convert_bounding_box_format(
                moved.boxes[0], old_format=tv_tensors.BoundingBoxFormat.XYXY, new_format=inpt.format
            )
            return tv_tensors.wrap(boxes, like=inpt)
        if not _is_image(inpt):
            raise TypeError(
                f"expected images, tv_tensors.Mask or tv_tensors.BoundingBoxes, found {type(inpt).__name__}; take it "
                "out of the sample before this transform."
            )
        augmented = self.augnet.space.apply(_to_batch(inpt), params["magnitudes"], params["noise"])
        return _from_batch(augmented, inpt)

    def _follow(self, params: dict[str, Any], **targets: Tensor) -> Any:
        batch = Batch(params["images"], **targets)
        batch.check()
        return self.augnet.space.follow(batch, params["magnitudes"], params["noise"])


def _is_image(part: Any) -> bool:
    return isinstance(part, (PIL.Image.Image, tv_tensors.Image)) or type(part) is Tensor


def _to_batch(image: PIL.Image.Image | Tensor) -> Tensor:
    """Return a batch `[1, C, H, W]` of one image, floating point in [0, 1]."""
    if isinstance(image, PIL.Image.Image) and image.mode not in _MODES:
        raise ValueError(f"expected a PIL image of mode L or RGB, found {image.mode}; use image.convert('RGB')")
    pixels: Tensor = F.pil_to_tensor(image) if isinstance(image, PIL.Image.Image) else image.as_subclass(Tensor)
    if pixels.ndim != 3:
        raise ValueError(
            f"expected one image [C, H, W], found {tuple(pixels.shape)}; for batches call the policy itself, in train()"
        )
    plain = pixels[None]
    return plain / 255 if plain.dtype == torch.uint8 else plain


def _from_batch(images: Tensor, like: PIL.Image.Image | Tensor) -> Any:
    """Return the image of a batch of one, in the type and dtype of `like`."""
    image = images[0]
    if isinstance(like, PIL.Image.Image) or like.dtype == torch.uint8:
        image = (image * 255).round().to(torch.uint8)
    if isinstance(like, PIL.Image.Image):
        return F.to_pil_image(image, like.mode)
    return tv_tensors.wrap(image, like=like) if isinstance(like, tv_tensors.Image) else image


def _to_corners(boxes: tv_tensors.BoundingBoxes, size: tuple[int, int]) -> Tensor:
    """Return boxes `[N, 4]` as (left, top, right, bottom)."""
    if boxes.format.value not in _BOXES:
        raise ValueError(f"expected boxes of format {', '.join(_BOXES)}, found {boxes.format.value}")
    if tuple(boxes.canvas_size) != size:
        raise ValueError(f"expected boxes with the canvas size of the image, {size}, found {tuple(boxes.canvas_size)}")
    corners: Tensor = F.convert_bounding_box_format(boxes, new_format=tv_tensors.BoundingBoxFormat.XYXY)
    return corners.as_subclass(Tensor)
