"""Spatial ops as homogeneous matrices, and the one resampling that applies their product.

Coordinates: origin in the image centre, x to the right, y downwards, one unit = the shorter side of the image. A
matrix maps the content: a point of the input at `v` is found at `matrix @ v` in the output. Angles turn
counter-clockwise on the screen, as in kornia and torchvision's tensor functions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from augnet.ops.base import SpatialOp


def _matrix(rows: list[list[Tensor | float]]) -> Tensor:
    """Stack entries, each a number or `[B]`, to `[B, 3, 3]`."""
    reference = next(entry for row in rows for entry in row if isinstance(entry, Tensor))
    flat = [entry if isinstance(entry, Tensor) else torch.full_like(reference, entry) for row in rows for entry in row]
    matrix: Tensor = torch.stack(flat, dim=-1).unflatten(-1, (3, 3))
    return matrix


def rotation(degrees: Tensor) -> Tensor:
    """Turn counter-clockwise by `degrees` `[B]`; returns `[B, 3, 3]`."""
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
    """Enlarge about the centre by a factor `2 ** octaves` `[B]`; returns `[B, 3, 3]`."""
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


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample `images` so that their content is moved by `matrix`: bilinear, zero outside.

    Args:
        images: `[B, C, H, W]` floating point; carries gradient.
        matrix: `[B, 3, 3]`, affine (last row 0, 0, 1), invertible, in the coordinates of this module; carries
            gradient.

    Returns:
        `[B, C, H, W]`.
    """
    height, width = images.shape[-2:]
    shorter = min(height, width)
    # affine_grid wants the map from output to input, in coordinates that run from -1 to 1 along each side
    to_unit = matrix.new_tensor([2 * shorter / width, 2 * shorter / height, 1.0])
    inverse = torch.linalg.inv(matrix) * to_unit[:, None] / to_unit[None, :]
    grid = F.affine_grid(inverse[:, :2], list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


SPATIAL_OPS = (
    SpatialOp("rotation", "degrees", 90.0, "turn counter-clockwise by m", rotation),
    SpatialOp("translate_x", "fraction of the shorter side", 0.2, "shift right by m", translate_x),
    SpatialOp("translate_y", "fraction of the shorter side", 0.2, "shift down by m", translate_y),
    SpatialOp("scale", "octaves", 0.7, "enlarge by 2^m", scale),
    SpatialOp("aspect", "octaves", 0.7, "width : height times 2^m, same area", aspect),
    SpatialOp("shear_x", "degrees", 30.0, "lean vertical lines counter-clockwise by m", shear_x),
    SpatialOp("shear_y", "degrees", 30.0, "lean horizontal lines clockwise by m", shear_y),
)
