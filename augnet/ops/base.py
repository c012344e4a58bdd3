"""What an op is: a name, a unit, a bound, and what a magnitude does to an image.

Every op is the identity at magnitude 0, grows stronger with the absolute magnitude, has a gradient in it, and treats
each image of a batch on its own. Five kinds: mirrors and matrices move pixels, color matrices mix channels, pixel ops
do what no matrix can, mixing ops bring in a second image of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from augnet import draws

Noise = Callable[[Tensor, torch.Generator | None], Tensor]  # images -> what an op draws besides its magnitude, [B, ...]
Gradient = Literal["exact", "straight-through"]


@dataclass(frozen=True)
class Op:
    """The part all ops share.

    Attributes:
        name: As users write it in a configuration.
        unit: Physical unit of the magnitude.
        bound: Default for the largest absolute magnitude a policy may draw, > 0.
        meaning: One line for tables and documentation: what a magnitude m does.
        signed: Whether negative magnitudes mean something; otherwise magnitudes are >= 0.
        limit: Largest bound that makes sense.
        needs_rgb: Whether the op means anything only for red, green, blue.
        gradient: Whether the gradient in the magnitude is that of the output, or that of a smooth stand-in.
        noise: Draws what the op needs besides the magnitude, for instance the place of a patch; None if nothing.
    """

    name: str
    unit: str
    bound: float
    meaning: str
    signed: bool = True
    limit: float = float("inf")
    needs_rgb: bool = False
    gradient: Gradient = "exact"
    noise: Noise | None = None


@dataclass(frozen=True, kw_only=True)
class MirrorOp(Op):
    """Mirrors the whole image with a probability equal to the magnitude; pixels are moved, never interpolated.

    Attributes:
        dim: The axis of `[B, C, H, W]` that is turned round, -1 or -2.
    """

    dim: int


@dataclass(frozen=True, kw_only=True)
class SpatialOp(Op):
    """Moves pixels. Works for any number of channels.

    Attributes:
        matrix: Magnitudes `[B]` (and noise `[B, ...]`, if the op has any) -> `[B, 3, 3]`, the map of the image content,
            in coordinates with the origin in the image center, x to the right, y downwards, the shorter side of
            length 1.
        affine: Whether the last row of the matrix is 0, 0, 1.
    """

    matrix: Callable[..., Tensor]
    affine: bool = True


@dataclass(frozen=True, kw_only=True)
class ColorOp(Op):
    """Maps the channels of each pixel linearly.

    Attributes:
        matrix: Magnitudes `[B]` and the mean color of each image `[B, C]` (and noise `[B, ...]`, if the op has any)
            -> `[B, C, C+1]`: output channels = matrix @ [input channels; 1].
    """

    matrix: Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class PixelOp(Op):
    """Any other map of one image to one of its size, pixels staying where they are.

    Attributes:
        apply: Images `[B, C, H, W]` in [0, 1], magnitudes `[B]` (and noise `[B, ...]`, if the op has any) -> images.
    """

    apply: Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class MixingOp(Op):
    """Brings in another image of the batch.

    Attributes:
        apply: Images, partners (both `[B, C, H, W]`), magnitudes `[B]` and noise `[B, ...]` -> images and the share of
            the partner's label `[B]`; both carry gradient to the magnitudes.
    """

    apply: Callable[..., tuple[Tensor, Tensor]]


def uniform_noise(columns: int) -> Noise:
    """Noise of `columns` uniform numbers in [0, 1) for each image, `[B, columns]`."""

    def draw(images: Tensor, generator: torch.Generator | None) -> Tensor:
        numbers = draws.uniform((len(images), columns), images, generator)
        return numbers.to(torch.promote_types(images.dtype, torch.float32))

    return draw


def gaussian_noise(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise of one standard normal number for each pixel, of the shape of the images."""
    normal = torch.randn(images.shape, generator=generator, device=draws.device_of(images, generator))
    return normal.to(images.device, torch.promote_types(images.dtype, torch.float32))


def straight_through(result: Tensor, magnitudes: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """The result `[B, ...]` as it is, with a given derivative in the magnitudes `[B]`.

    Args:
        result: `[B, ...]`; carries gradient to whatever it came from.
        magnitudes: `[B]`; carries gradient.
        slope: Gives `[B, ...]`, taken as the derivative of the result in the magnitude, a constant; called only where
            a gradient is asked for.
    """
    if not magnitudes.requires_grad:
        return result
    nothing = (magnitudes - magnitudes.detach()).view(-1, *[1] * (result.ndim - 1))
    return result + nothing * slope().detach()
