"""A batch and what must follow its images: labels, masks, boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from augnet.ops.spatial import warp


@dataclass(frozen=True, eq=False)
class Batch:
    """Images with what belongs to them.

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
        """Raise ValueError, saying what was expected, if shapes or types do not fit together."""
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
        """Masks and boxes moved like the images; the images as they are.

        Args:
            matrix: `[B, 3, 3]` as for `warp`, the geometry of each image.
            affine: Whether its last rows are 0, 0, 1.

        Returns:
            Masks resampled to the nearest pixel, zero outside; boxes around the four moved corners, cut off at the
            border (empty ones, of width or height 0, are gone from the picture).
        """
        masks = None if self.masks is None else _move_masks(self.masks, matrix, affine)
        boxes = None if self.boxes is None else _move_boxes(self.boxes, matrix, *self.images.shape[-2:])
        return replace(self, masks=masks, boxes=boxes)

    def mixed(self, images: Tensor, share: Tensor, partners: Tensor) -> Self:
        """With new images, and labels of which a `share` `[B]` is that of the partner (`[B]`, row numbers)."""
        labels = self.labels
        if labels is None:
            return replace(self, images=images)
        share = share.to(labels.dtype)[:, None]
        return replace(self, images=images, labels=(1 - share) * labels + share * labels[partners])


def _move_masks(masks: Tensor, matrix: Tensor, affine: bool) -> Tensor:
    planes = masks if masks.ndim == 4 else masks[:, None]
    precise = planes.to(torch.float64)  # holds every class number and bit of other types
    moved = warp(precise, matrix.detach().double(), affine, "nearest")
    return moved.to(masks.dtype).view(masks.shape)


def _move_boxes(boxes: Tensor, matrix: Tensor, height: int, width: int) -> Tensor:
    shorter = min(height, width)
    x, y = boxes[..., 0::2].to(matrix), boxes[..., 1::2].to(matrix)
    x = (x / width - 0.5) * (width / shorter)
    y = (y / height - 0.5) * (height / shorter)
    corners = torch.stack([x[..., [0, 1, 0, 1]], y[..., [0, 0, 1, 1]], torch.ones_like(x[..., [0, 1, 0, 1]])], dim=-1)
    moved = corners @ matrix.detach()[:, None].mT  # [B, N, 4, 3]
    flat = moved[..., :2] / moved[..., 2:].clamp(min=1e-6)
    size = matrix.new_tensor([width, height])
    pixels = torch.minimum((flat * shorter + size / 2).clamp(min=0), size)
    around = torch.cat([pixels.amin(dim=2), pixels.amax(dim=2)], dim=-1)
    return (around if boxes.is_floating_point() else around.round()).to(boxes.dtype)
