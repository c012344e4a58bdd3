"""Closed forms of what covers or disturbs single pixels: Cutout, pixel dropout, white noise. METHODS.md 2.3.

Images are `[C, H, W]`; not clamped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .factored import Moments


def cutout_windows(side: int, pixels: int) -> Tensor:
    """For every centre, which pixels of an axis a window covers, `[pixels, pixels]` of 0 and 1, float64.

    The window of centre i begins at `i - side // 2` and is cut off at the border. With `A` the result,
    `q = A.mean(0)` is how often each pixel is covered, and `A^T A / pixels` how often two of them are.
    """
    place = torch.arange(pixels)
    offset = place - (place[:, None] - side // 2)
    return ((offset >= 0) & (offset < side)).double()


def cutout(image: Tensor, side: int, fill: float | Tensor) -> Moments:
    """A square window, its centre uniform over all pixels, is filled.

    Args:
        image: `[C, H, W]`.
        side: Of the window in pixels, >= 1.
        fill: One value, or anything that broadcasts to the image.

    Returns:
        `mu = (1 - q) x + q c` and one column for each centre.
    """
    height, width = image.shape[1:]
    rows, columns = cutout_windows(side, height).to(image), cutout_windows(side, width).to(image)
    change = fill - image
    covered = rows.mean(dim=0)[:, None] * columns.mean(dim=0)
    windows = torch.einsum("ih,jw->ijhw", rows, columns).flatten(0, 1)
    factor = (windows - covered)[:, None] * change / (height * width) ** 0.5
    return Moments(image + covered * change, factor)


def pixel_dropout(image: Tensor, keep: float) -> Moments:
    """Every value is kept with a probability and divided by it, or 0; independent.

    Args:
        image: `[...]`.
        keep: In (0, 1].

    Raises:
        ValueError: If it is out of range.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep: expected a probability in (0, 1], found {keep}")
    return Moments(image, image.new_zeros(0, *image.shape), image.square() * ((1 - keep) / keep))


def white_noise(image: Tensor, deviation: float) -> Moments:
    """Independent noise of mean 0 and a standard deviation, >= 0, on every value: `Sigma = deviation^2 I`."""
    return Moments(image, image.new_zeros(0, *image.shape), torch.full_like(image, deviation**2))
