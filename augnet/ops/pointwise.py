"""Tone curves: what happens to a pixel depends on its own value and on statistics of its image.

The 8-bit functions follow torchvision's on 8-bit images; a test holds them to it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from augnet.ops.base import PixelOp, straight_through

_STEP_WIDTH = 0.1  # half-width of the triangle that stands in for the derivative of a step


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def gamma(images: Tensor, stops: Tensor) -> Tensor:
    """`x ** (2 ** stops)`: positive `stops` `[B]` darken the middle tones, black and white stay."""
    positive = images > 0
    curve = torch.where(positive, images, torch.ones_like(images)).pow(_per_image(torch.exp2(stops)))
    return torch.where(positive, curve, torch.zeros_like(images))


def solarize(images: Tensor, share: Tensor) -> Tensor:
    """Invert what is brighter than `1 - share`; `share` `[B]` in [0, 1].

    Straight-through: a pixel near the threshold counts as partly inverted in the derivative.
    """
    threshold = _per_image(torch.where(share > 0, 1 - share, torch.inf))
    result = torch.where(images >= threshold, 1 - images, images)

    def slope() -> Tensor:
        distance = images - (1 - _per_image(share))
        return (1 - 2 * images) * (1 - distance.abs() / _STEP_WIDTH).clamp(min=0) / _STEP_WIDTH

    return straight_through(result, share, slope)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Clear the lowest `round(bits)` of the 8 bits of every value; `bits` `[B]` in [0, 8].

    Straight-through: in the magnitude, what is cut off grows by `ln 2` of itself for each bit; in the image, as if
    nothing were cut.
    """
    cleared = torch.round(_per_image(bits.detach()))
    levels = torch.round(images.detach() * 255)
    cut = torch.remainder(levels, torch.exp2(cleared)) / 255  # 2^0 leaves nothing

    def slope() -> Tensor:
        # with no bit cleared yet, the stand-in for what one bit would cut: half a level
        return -math.log(2) * cut.clamp(min=0.5 / 255)

    return straight_through((images - cut).clamp(min=0), bits, slope)


def equalize(images: Tensor, share: Tensor) -> Tensor:
    """Blend with the image whose histogram is flat in each channel; `share` `[B]` in [0, 1].

    Exact in the share; the gradient in the image ignores that its own histogram makes the curve, and passes as if the
    curve were the identity (straight-through).
    """
    flat = images + (equalized(images.detach()) - images.detach())
    return images + _per_image(share) * (flat - images)


def equalized(images: Tensor) -> Tensor:
    """Images `[B, C, H, W]`, taken as 8-bit, with flat histograms; no gradient."""
    planes = torch.round(images * 255).clamp_(0, 255).flatten(0, 1).flatten(1).long()  # [BC, HW]
    counts = torch.zeros(planes.shape[0], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, planes, torch.ones_like(counts[:1, :1]).expand_as(planes))
    highest = counts.gather(1, planes.amax(dim=1, keepdim=True))
    step = ((planes.shape[1] - highest) // 255).double()  # [BC, 1]; doubles divide faster than integers, and as exactly
    curve = ((counts.cumsum(1) - counts + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(max=255)
    curve = torch.where(step > 0, curve, torch.arange(256, device=images.device))
    return (curve / 255).to(images.dtype).gather(1, planes).view(images.shape)


def autocontrast(images: Tensor, share: Tensor) -> Tensor:
    """Blend with the image stretched to the full range in each channel; `share` `[B]` in [0, 1]."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    span = high - low
    stretched = torch.where(span > 0, (images - low) / torch.where(span > 0, span, torch.ones_like(span)), images)
    return images + _per_image(share) * (stretched - images)


POINTWISE_OPS = (
    PixelOp("gamma", "stops", 1.0, "x to the power of 2^m: darker middle tones", limit=4.0, apply=gamma),
    PixelOp(
        "posterize",
        "bits",
        4.0,
        "clear the lowest m of 8 bits",
        signed=False,
        limit=8.0,
        gradient="straight-through",
        apply=posterize,
    ),
    PixelOp(
        "solarize",
        "share of the full range",
        1.0,
        "invert what is brighter than 1 - m",
        signed=False,
        limit=1.0,
        gradient="straight-through",
        apply=solarize,
    ),
    PixelOp("equalize", "share", 1.0, "blend with a flat histogram by m", signed=False, limit=1.0, apply=equalize),
    PixelOp(
        "autocontrast", "share", 1.0, "blend with the full range by m", signed=False, limit=1.0, apply=autocontrast
    ),
)
