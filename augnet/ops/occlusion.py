"""Cutout, a patch of the image covered by the mean color."""

import torch
from torch import Tensor

from augnet.ops.base import PixelOp, uniform_noise


def coverage(side: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """Return the share of each pixel that a rectangle covers, `[B, H, W]` in [0, 1].

    `side` `[B]`, which carries gradient, is its width and height as a fraction of those of the image, and `place`
    `[B, 2]` in [0, 1) its center, x and y. The rectangle is cropped at the border.
    """
    across, down = (_overlap(side, place[:, axis], pixels) for axis, pixels in ((0, width), (1, height)))
    return down[:, :, None] * across[:, None, :]


def _overlap(side: Tensor, center: Tensor, pixels: int) -> Tensor:
    """Return the length of the overlap of each pixel with an interval, `[B, pixels]`."""
    left = torch.arange(pixels, dtype=side.dtype, device=side.device)
    start, end = ((center + sign * side / 2)[:, None] * pixels for sign in (-1, 1))
    return (torch.minimum(end, left + 1) - torch.maximum(start, left)).clamp(min=0)


def cutout(images: Tensor, side: Tensor, place: Tensor) -> Tensor:
    """Cover a rectangle of `side` `[B]` (fraction of width and height) by the mean color of the image.

    DeVries and Taylor (2017) cover by the mean of the data set; the image's own needs no data set.
    """
    covered = coverage(side, place, *images.shape[-2:])[:, None]
    return torch.lerp(images, images.mean(dim=(2, 3), keepdim=True), covered)


OCCLUSION_OPS = (
    PixelOp(
        "cutout",
        "fraction of each side",
        0.5,
        "cover a patch of m of width and height",
        signed=False,
        limit=2.0,
        noise=uniform_noise(2),
        apply=cutout,
    ),
)
