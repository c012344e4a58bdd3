"""A batch of images with its labels, masks and boxes."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from augnet.ops.spatial import MIN_DEPTH, warp


@dataclass(frozen=True, eq=False)
class Batch:
    """Images with their labels, masks and boxes.

    Attributes:
        images: `[B, C, H, W]` floating point in [0, 1].
        labels: `[B]` int64 or `[B, K]` probabilities, or None.
        masks: `[B, H, W]` or `[B, N, H, W]`, any type, or None.
        boxes: `[B, N, 4]` as (left, top, right, bottom) in pixels, or None.
    """

    images: Tensor
    labels: Tensor | None = None
    masks: Tensor | None = None
    boxes: Tensor | None = None

    def check(self) -> None:
        """Raise ValueError if shapes or types do not match."""
        images = self.images
        if images.ndim != 4:
            raise ValueError(f"expected images [B, C, H, W], found {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(
                f"expected floating-point images in [0, 1], found {images.dtype}; divide 8-bit ones by 255"
            )
        count, size = images.shape[0], tuple(images.shape[-2:])
        if self.labels is not None and (self.labels.ndim not in (1, 2) or self.labels.shape[0] != count):
            raise ValueError(f"expected labels [{count}] or [{count}, K], found {tuple(self.labels.shape)}")
        masks = self.masks
        if masks is not None and (
            masks.ndim not in (3, 4) or masks.shape[0] != count or tuple(masks.shape[-2:]) != size
        ):
            raise ValueError(f"expected masks [{count}, (N,) {size[0]}, {size[1]}], found {tuple(masks.shape)}")
        if self.boxes is not None and (self.boxes.ndim != 3 or self.boxes.shape[::2] != (count, 4)):
            raise ValueError(f"expected boxes [{count}, N, 4] in pixels, found {tuple(self.boxes.shape)}")

    def moved(self, matrix: Tensor, affine: bool) -> Self:
        """Return a batch of the same images with masks and boxes moved by a matrix; arguments as for `warp`.

        Masks are resampled to the nearest pixel, zero outside; boxes are the bounding boxes of the moved corners,
        cropped at the border (of width or height 0 if nothing is left) and rounded if they are integers.
        """
        masks = None if self.masks is None else _move_masks(self.masks, matrix, affine)
        boxes = None if self.boxes is None else _move_boxes(self.boxes, matrix, *self.images.shape[-2:])
        return replace(self, masks=masks, boxes=boxes)

    def mixed(self, images: Tensor, share: Tensor, partners: Tensor) -> Self:
        """Return a batch of new images whose labels are mixed with those of the rows `partners` `[B]` int64.

        The weight of the partner's label is the share, `[B]` in [0, 1], which carries gradient.
        """
        labels = self.labels
        if labels is None:
            return replace(self, images=images)
        share = share.to(labels.dtype)[:, None]
        return replace(self, images=images, labels=(1 - share) * labels + share * labels[partners])


def _move_masks(masks: Tensor, matrix: Tensor, affine: bool) -> Tensor:
    planes = masks if masks.ndim == 4 else masks[:, None]
    precise = planes.to(torch.float64)  # represents all class numbers and 8-bit values exactly
    moved = warp(precise, matrix.detach().double(), affine, "nearest")
    return moved.to(masks.dtype).view(masks.shape)


def _move_boxes(boxes: Tensor, matrix: Tensor, height: int, width: int) -> Tensor:
    size = torch.tensor([width, height], dtype=torch.float64, device=boxes.device)
    shorter = min(height, width)
    corners = (boxes.double()[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2)) - size / 2) / shorter  # clockwise
    points = torch.cat([corners, torch.ones_like(corners[..., :1])], dim=-1) @ matrix.detach().double()[:, None].mT
    points, visible = _in_front(points)
    pixels = points[..., :2] / points[..., 2:] * shorter + size / 2
    low = torch.where(visible, pixels, size).amin(dim=2)
    high = torch.where(visible, pixels, 0.0).amax(dim=2)
    low, high = (torch.minimum(corner.clamp(min=0), size) for corner in (low, torch.maximum(low, high)))
    moved = torch.cat([low, high], dim=-1)
    return (moved if boxes.is_floating_point() else moved.round()).to(boxes.dtype)


def _in_front(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Clip quadrangles to the half-space in front of the viewer, at depth `MIN_DEPTH`.

    Args:
        corners: `[B, N, 4, 3]`, homogeneous, in order around the quadrangle.

    Returns:
        The corners and the crossings of edges with the clipping plane, `[B, N, 8, 3]`, and the mask of those that
        exist and are visible, `[B, N, 8, 1]`; the others are filled with 1.
    """
    following = corners.roll(-1, dims=2)
    depth, next_depth = corners[..., 2:], following[..., 2:]
    crosses = (depth > MIN_DEPTH) != (next_depth > MIN_DEPTH)
    share = (MIN_DEPTH - depth) / torch.where(crosses, next_depth - depth, 1.0)
    crossings = torch.where(crosses, torch.lerp(corners, following, share), 1.0)
    visible = torch.cat([depth > MIN_DEPTH, crosses], dim=2)
    points = torch.cat([corners, crossings], dim=2)
    return torch.where(visible, points, 1.0), visible
