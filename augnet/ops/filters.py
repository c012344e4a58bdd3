"""Sharpness, blur and noise ops."""

import torch
from torch import Tensor

from augnet.ops.base import PixelOp, gaussian_noise

_SMALLEST = 0.5  # pixels; a sampled Gaussian below is one pixel, with a derivative of 0


def smoothed(images: Tensor) -> Tensor:
    """Return `[B, C, H, W]` smoothed by the 3 x 3 filter of PIL and torchvision, which leaves the border unchanged.

    The weights are 5/13 in the center and 1/13 elsewhere, computed as a sum of three rows, of three columns, and 4
    times the center.
    """
    if min(images.shape[-2:]) < 3:
        return images
    rows = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
    nine = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    result = images.clone()
    result[..., 1:-1, 1:-1] = (nine + 4 * images[..., 1:-1, 1:-1]) / 13
    return result


def sharpness(images: Tensor, amount: Tensor) -> Tensor:
    """Add `amount` `[B]` times the difference from a smoothed copy; negative amounts smooth."""
    return torch.lerp(smoothed(images), images, 1 + amount[:, None, None, None])


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur by a Gaussian of standard deviation `sigma` `[B]`, a fraction of the shorter side.

    Each axis is one product with a matrix per image, so the cost does not depend on `sigma`. At the border the weights
    of the pixels inside are normalized to sum 1.
    """
    height, width = images.shape[-2:]
    pixels = sigma * min(height, width)
    rows, columns = _gaussians(pixels, height), _gaussians(pixels, width)
    return rows[:, None] @ images @ columns[:, None].mT


def _gaussians(sigma: Tensor, side: int) -> Tensor:
    """Return row-normalized Gaussian weights `[B, side, side]` of `sigma` `[B]` pixels.

    Below half a pixel they are those of half a pixel blended with the identity, so that the variance is proportional to
    `sigma ** 2`.
    """
    position = torch.arange(side, dtype=sigma.dtype, device=sigma.device)
    squares = (position - position[:, None]).square()
    weights = torch.exp(-squares / (2 * sigma.clamp(min=_SMALLEST).square())[:, None, None])
    share = (sigma / _SMALLEST).square().clamp(max=1)[:, None, None]
    return torch.lerp((squares == 0).to(weights), weights / weights.sum(dim=2, keepdim=True), share)


def noise(images: Tensor, deviation: Tensor, field: Tensor) -> Tensor:
    """Add white noise of standard deviation `deviation` `[B]`; `field` `[B, C, H, W]` is standard normal."""
    return images + deviation[:, None, None, None] * field


FILTER_OPS = (
    PixelOp("sharpness", "share", 1.0, "add m times the difference from a smoothed copy", limit=10.0, apply=sharpness),
    PixelOp(
        "blur",
        "fraction of the shorter side",
        0.05,
        "Gaussian blur of standard deviation m",
        signed=False,
        limit=1.0,
        apply=blur,
    ),
    PixelOp(
        "noise",
        "fraction of the full range",
        0.2,
        "add white noise of standard deviation m",
        signed=False,
        limit=1.0,
        noise=gaussian_noise,
        apply=noise,
    ),
)
