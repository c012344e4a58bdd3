"""Spatial ops as homogeneous matrices, the resampling that applies their product, and mirrors.

Coordinates: origin in the image center, x to the right, y downwards, one unit = the shorter side of the image. A
matrix maps the content: a point of the input at `v` is found at `matrix @ v` in the output. Angles turn
counter-clockwise on the screen, as in kornia and in torchvision's tensor functions.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from augnet.ops.base import MirrorOp, SpatialOp, straight_through, uniform_noise


def _matrix(rows: list[list[Tensor | float]]) -> Tensor:
    """Stack entries, each a number or `[B]`, to `[B, 3, 3]`."""
    flat = [entry for row in rows for entry in row]
    reference = next(entry for entry in flat if isinstance(entry, Tensor))
    numbers = {entry for entry in flat if not isinstance(entry, Tensor)}
    constants = {number: torch.full_like(reference, number) for number in numbers}
    entries = [entry if isinstance(entry, Tensor) else constants[entry] for entry in flat]
    return torch.stack(entries, dim=-1).view(-1, 3, 3)


def rotation(degrees: Tensor) -> Tensor:
    """Rotate counter-clockwise by `degrees` `[B]`; returns `[B, 3, 3]`."""
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    return _matrix([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def translate_x(fraction: Tensor) -> Tensor:
    """Shift to the right by a `fraction` `[B]` of the shorter side; returns `[B, 3, 3]`."""
    return _matrix([[1.0, 0.0, fraction], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def translate_y(fraction: Tensor) -> Tensor:
    """Shift downwards by a `fraction` `[B]` of the shorter side; returns `[B, 3, 3]`."""
    return _matrix([[1.0, 0.0, 0.0], [0.0, 1.0, fraction], [0.0, 0.0, 1.0]])


def scale(octaves: Tensor) -> Tensor:
    """Enlarge about the center by a factor `2 ** octaves` `[B]`; returns `[B, 3, 3]`."""
    factor = torch.exp2(octaves)
    return _matrix([[factor, 0.0, 0.0], [0.0, factor, 0.0], [0.0, 0.0, 1.0]])


def aspect(octaves: Tensor) -> Tensor:
    """Change width : height by a factor `2 ** octaves` `[B]` at constant area; returns `[B, 3, 3]`."""
    factor = torch.exp2(octaves / 2)
    return _matrix([[factor, 0.0, 0.0], [0.0, 1.0 / factor, 0.0], [0.0, 0.0, 1.0]])


def shear_x(degrees: Tensor) -> Tensor:
    """Lean vertical lines counter-clockwise by `degrees` `[B]`; returns `[B, 3, 3]`."""
    return _matrix([[1.0, torch.tan(degrees * (math.pi / 180)), 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def shear_y(degrees: Tensor) -> Tensor:
    """Lean horizontal lines clockwise by `degrees` `[B]`; returns `[B, 3, 3]`."""
    return _matrix([[1.0, 0.0, 0.0], [torch.tan(degrees * (math.pi / 180)), 1.0, 0.0], [0.0, 0.0, 1.0]])


def perspective_x(tilt: Tensor) -> Tensor:
    """Rotate the picture plane about its vertical axis, the right side away by `tilt` `[B]`; returns `[B, 3, 3]`.

    A point at x is divided by `1 + tilt * x`; the right edge of a square image (x = 1/2) shrinks to
    `1 / (1 + tilt / 2)`.
    """
    return _matrix([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [tilt, 0.0, 1.0]])


def perspective_y(tilt: Tensor) -> Tensor:
    """Rotate the picture plane about its horizontal axis, the bottom away by `tilt` `[B]`; returns `[B, 3, 3]`."""
    return _matrix([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, tilt, 1.0]])


def crop(share: Tensor, place: Tensor) -> Tensor:
    """Crop a window and enlarge it to the image; returns `[B, 3, 3]`.

    Args:
        share: `[B]` in [0, 1): the window has `1 - share` of the width and of the height.
        place: `[B, 2]` in [0, 1): position of the window from left to right and from top to bottom. The offsets are
            fractions of the shorter side, so windows of long images stay near the center of the longer side.
    """
    factor = 1 / (1 - share)
    x, y = ((0.5 - place) * (share * factor)[:, None]).unbind(1)
    return _matrix([[factor, 0.0, x], [0.0, factor, y], [0.0, 0.0, 1.0]])


def mirror(images: Tensor, probability: Tensor, chance: Tensor, dim: int) -> Tensor:
    """Flip the images `[B, C, H, W]` whose `chance` `[B, 1]`, uniform in [0, 1), is below the probability `[B]`.

    The derivative in the probability is that of the expected image, `mirrored - image` (straight-through); `dim` is the
    axis, -1 or -2.
    """
    mirrored = images.flip(dim)
    turned = torch.where((chance < probability[:, None])[..., None, None], mirrored, images)
    return straight_through(turned, probability, lambda: mirrored - images)


def mirror_matrix(probability: Tensor, chance: Tensor, dim: int) -> Tensor:
    """Return the matrices `[B, 3, 3]` of `mirror` for the same arguments; without gradient."""
    sign = 1 - 2 * (chance[:, 0] < probability).to(probability)
    return _matrix([[sign if dim == -1 else 1.0, 0.0, 0.0], [0.0, sign if dim == -2 else 1.0, 0.0], [0.0, 0.0, 1.0]])


def inverse(matrix: Tensor) -> Tensor:
    """Invert `[B, 3, 3]` by cofactors, several times faster than a factorization."""
    cofactors: Tensor = torch.linalg.cross(matrix.roll(-1, 1), matrix.roll(-2, 1), dim=-1)
    determinant: Tensor = (matrix[:, :1] * cofactors[:, :1]).sum(-1, keepdim=True)
    return cofactors.transpose(1, 2) / determinant


Interpolation = Literal["bilinear", "nearest"]
MIN_DEPTH = 1e-6  # depth in front of the viewer, relative to the picture plane, below which a point is invisible
_OUTSIDE = 1e6  # a coordinate outside of any image


def warp(images: Tensor, matrix: Tensor, affine: bool = True, interpolation: Interpolation = "bilinear") -> Tensor:
    """Resample `images` so that their content is moved by `matrix`; zero outside.

    Args:
        images: `[B, C, H, W]` floating point; carries gradient.
        matrix: `[B, 3, 3]`, invertible, in the coordinates of this module; carries gradient if bilinear.
        affine: True if the last rows of all matrices are 0, 0, 1; otherwise points behind the viewer become 0.
        interpolation: `nearest` for masks.
    """
    height, width = images.shape[-2:]
    shorter = min(height, width)
    # the map from output to input, in coordinates that run from -1 to 1 along each side
    to_unit = matrix.new_tensor([2 * shorter / width, 2 * shorter / height, 1.0])
    backwards = inverse(matrix) * to_unit[:, None] / to_unit[None, :]
    grid = _grid(backwards, height, width, affine)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def _grid(backwards: Tensor, height: int, width: int, affine: bool) -> Tensor:
    """Return the input position of each output pixel, `[B, H, W, 2]`.

    Computed from the axes by broadcasting, faster than a product of matrices with all pixels.
    """
    x, y = (
        torch.linspace(1 / side - 1, 1 - 1 / side, side, dtype=backwards.dtype, device=backwards.device)
        for side in (width, height)
    )
    across, down, offset = (backwards[:, :2] if affine else backwards)[..., None].unbind(2)
    sources = (across * x)[:, :, None] + (down * y + offset)[..., None]  # [B, 2 or 3, H, W]
    if not affine:
        depth = sources[:, 2:]
        sources = (sources[:, :2] * depth.clamp(min=MIN_DEPTH).reciprocal()).masked_fill_(depth <= MIN_DEPTH, _OUTSIDE)
    return sources.permute(0, 2, 3, 1)


_SIDE = "fraction of the shorter side"
MIRROR_OPS = tuple(
    MirrorOp(
        name,
        "probability",
        1.0,
        f"mirror {sides} with probability m",
        signed=False,
        limit=1.0,
        gradient="straight-through",
        noise=uniform_noise(1),
        dim=dim,
    )
    for name, sides, dim in (("horizontal_flip", "left and right", -1), ("vertical_flip", "top and bottom", -2))
)
SPATIAL_OPS = (
    SpatialOp(
        "crop",
        "fraction of each side",
        0.5,
        "cut off m of each side, enlarge the rest",
        signed=False,
        limit=0.95,
        noise=uniform_noise(2),
        matrix=crop,
    ),
    SpatialOp("rotation", "degrees", 90.0, "turn counter-clockwise by m", limit=180.0, matrix=rotation),
    SpatialOp("translate_x", _SIDE, 0.2, "shift right by m", limit=2.0, matrix=translate_x),
    SpatialOp("translate_y", _SIDE, 0.2, "shift down by m", limit=2.0, matrix=translate_y),
    SpatialOp("scale", "octaves", 0.7, "enlarge by 2^m", limit=6.0, matrix=scale),
    SpatialOp("aspect", "octaves", 0.7, "width : height times 2^m, same area", limit=6.0, matrix=aspect),
    SpatialOp("shear_x", "degrees", 30.0, "lean vertical lines counter-clockwise by m", limit=80.0, matrix=shear_x),
    SpatialOp("shear_y", "degrees", 30.0, "lean horizontal lines clockwise by m", limit=80.0, matrix=shear_y),
    *(
        SpatialOp(
            name, "depth per shorter side", 0.8, f"tilt the {side} away by m", limit=1.8, affine=False, matrix=tilt
        )
        for name, side, tilt in (
            ("perspective_x", "right side", perspective_x),
            ("perspective_y", "bottom", perspective_y),
        )
    ),
)
