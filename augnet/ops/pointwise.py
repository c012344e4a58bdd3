"""Tone curves: maps of a pixel that depend on its own value and on statistics of its image.

On 8-bit images the 8-bit functions equal torchvision's.
"""

import math

import torch
from torch import Tensor

from augnet.ops.base import PixelOp, straight_through

_STEP_WIDTH = 0.1  # half-width of the triangle that replaces the derivative of a step


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def gamma(images: Tensor, stops: Tensor) -> Tensor:
    """Return `x ** (2 ** stops)`: positive `stops` `[B]` darken the midtones, black and white are fixed."""
    exponent = _per_image(torch.exp2(stops))
    if not (images.requires_grad or stops.requires_grad):
        return images.clamp(min=0).pow(exponent)
    positive = images > 0  # the slope at black is infinite
    curve = torch.where(positive, images, torch.ones_like(images)).pow(exponent)
    return torch.where(positive, curve, torch.zeros_like(images))


def solarize(images: Tensor, share: Tensor) -> Tensor:
    """Invert values of `1 - share` and above; `share` `[B]` in [0, 1].

    Straight-through: the derivative in the share is that of a smooth threshold, not 0.
    """
    threshold = _per_image(torch.where(share > 0, 1 - share, torch.inf))
    inverted = (images >= threshold).to(images.dtype)
    result = torch.lerp(images, 1 - images, inverted)  # exact at 0 and 1; torch.where takes four times as long

    def slope() -> Tensor:
        distance = images - (1 - _per_image(share))
        return (1 - 2 * images) * (1 - distance.abs() / _STEP_WIDTH).clamp(min=0) / _STEP_WIDTH

    return straight_through(result, share, slope)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Clear the lowest `round(bits)` of the 8 bits of every value; `bits` `[B]` in [0, 8].

    Straight-through: the derivative in the magnitude is `-ln 2` times the cleared part, which doubles with each bit;
    the derivative in the image is 1.
    """
    cleared = torch.round(_per_image(bits.detach()))
    levels = torch.round(images.detach() * 255)
    step = torch.exp2(cleared)  # a power of 2, so that the products are exact; 1 clears nothing
    cut = (levels - (levels / step).floor_() * step) / 255

    def slope() -> Tensor:
        # with no bit cleared, the mean of the part that one bit would clear: half a level
        return -math.log(2) * cut.clamp(min=0.5 / 255)

    return straight_through((images - cut).clamp(min=0), bits, slope)


def equalize(images: Tensor, share: Tensor) -> Tensor:
    """Blend with the histogram-equalized image of each channel; `share` `[B]` in [0, 1].

    The gradient is exact in the share. In the image it is straight-through, that of the identity: the dependence of the
    curve on the histogram is ignored.
    """
    flat = equalized(images.detach())
    if images.requires_grad:
        flat = images + (flat - images.detach())
    return torch.lerp(images, flat, _per_image(share))


def equalized(images: Tensor) -> Tensor:
    """Equalize the histogram of each channel of `[B, C, H, W]`, rounded to 8 bits; no gradient."""
    planes = torch.round(images * 255).clamp_(0, 255).flatten(0, 1).flatten(1).long()  # [BC, HW]
    counts = torch.zeros(planes.shape[0], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, planes, torch.ones_like(counts[:1, :1]).expand_as(planes))
    levels = torch.arange(256, device=images.device)
    highest = counts.gather(1, ((counts > 0) * levels).amax(dim=1, keepdim=True))
    step = ((planes.shape[1] - highest) // 255).double()  # [BC, 1]; doubles divide faster, and exactly here
    curve = ((counts.cumsum(1) - counts + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(max=255)
    curve = torch.where(step > 0, curve, levels)
    return (curve / 255).to(images.dtype).gather(1, planes).view(images.shape)


def autocontrast(images: Tensor, share: Tensor) -> Tensor:
    """Blend with the image stretched to the full range in each channel; `share` `[B]` in [0, 1]."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = high <= low  # these stay as they are
    low, span = torch.where(flat, 0.0, low), torch.where(flat, 1.0, high - low)
    return torch.lerp(images, (images - low) / span, _per_image(share))


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
