"""Types of image operations: the name, unit and bound of an op, and its map of an image for a given magnitude.

Every op is the identity at magnitude 0, grows stronger with the absolute magnitude, has a gradient in it, and, mixing
ops aside, treats each image of a batch independently. There are five types: mirrors and spatial matrices move pixels,
color matrices mix channels, pixel ops are all other maps of one image, and mixing ops combine two images of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from augnet import draws

NoiseSampler = Callable[[Tensor, torch.Generator | None], Tensor]  # images -> further random numbers of an op, [B, ...]
Gradient = Literal["exact", "straight-through"]


@dataclass(frozen=True)
class Op:
    """Attributes common to all ops.

    Attributes:
        name: Name in configurations and policy files.
        unit: Physical unit of the magnitude.
        bound: Default of the largest absolute magnitude a policy may draw, > 0.
        meaning: Effect of a magnitude m in one line, for tables.
        signed: True if negative magnitudes are defined; otherwise magnitudes are >= 0.
        limit: Largest allowed bound.
        needs_rgb: True if the op is defined for red, green, blue images only.
        gradient: `exact`, or `straight-through` if the gradient in the magnitude is that of a smooth surrogate.
        noise: Sampler of further random numbers, such as the place of a patch; None if there are none.
    """

    name: str
    unit: str
    bound: float
    meaning: str
    signed: bool = True
    limit: float = float("inf")
    needs_rgb: bool = False
    gradient: Gradient = "exact"
    noise: NoiseSampler | None = None


@dataclass(frozen=True, kw_only=True)
class MirrorOp(Op):
    """A flip of the image with a probability equal to the magnitude, without interpolation.

    Attributes:
        dim: The axis of `[B, C, H, W]` to flip, -1 or -2.
    """

    dim: int


@dataclass(frozen=True, kw_only=True)
class SpatialOp(Op):
    """A homography of the image, for any number of channels.

    Attributes:
        matrix: Magnitudes `[B]` (and noise `[B, ...]`, if the op has any) -> `[B, 3, 3]`, the map of the image content,
            in coordinates with the origin in the image center, x to the right, y downwards, the shorter side of
            length 1.
        affine: True if the last row of the matrix is always 0, 0, 1.
    """

    matrix: Callable[..., Tensor]
    affine: bool = True


@dataclass(frozen=True, kw_only=True)
class ColorOp(Op):
    """An affine map of the channels of each pixel.

    Attributes:
        matrix: Magnitudes `[B]` and the mean color of each image `[B, C]` (and noise `[B, ...]`, if the op has any)
            -> `[B, C, C+1]`: output channels = matrix @ [input channels; 1].
    """

    matrix: Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class PixelOp(Op):
    """Any other map of one image to one of the same size that moves no pixels.

    Attributes:
        apply: Images `[B, C, H, W]` in [0, 1], magnitudes `[B]` (and noise `[B, ...]`, if the op has any) -> images.
    """

    apply: Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class MixingOp(Op):
    """A combination of each image with another one of the batch, its partner.

    Attributes:
        apply: Images, partners (both `[B, C, H, W]`), magnitudes `[B]` and noise `[B, ...]` -> images and the share of
            the partner's label `[B]`; both carry gradient to the magnitudes.
    """

    apply: Callable[..., tuple[Tensor, Tensor]]


def uniform_noise(columns: int) -> NoiseSampler:
    """Return a sampler of uniform numbers in [0, 1), `[B, columns]`."""

    def draw(images: Tensor, generator: torch.Generator | None) -> Tensor:
        numbers = draws.uniform((len(images), columns), images, generator)
        return numbers.to(torch.promote_types(images.dtype, torch.float32))

    return draw


def gaussian_noise(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one standard normal number for each pixel, in the shape of the images."""
    normal = torch.randn(images.shape, generator=generator, device=draws.device_of(images, generator))
    return normal.to(images.device, torch.promote_types(images.dtype, torch.float32))


def straight_through(result: Tensor, magnitudes: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """Return the result `[B, ...]` unchanged, with a given derivative in the magnitudes `[B]` besides its own gradient.

    `slope` returns this derivative, `[B, ...]`, treated as constant; called only if the magnitudes require a gradient.
    """
    if not magnitudes.requires_grad:
        return result
    zero = (magnitudes - magnitudes.detach()).view(-1, *[1] * (result.ndim - 1))
    return result + zero * slope().detach()
