"""Closed forms of random colour matrices: `t(p) = C x(p) + c`, one random `[C, C+1]` matrix for the whole image.

    mu = E M [x; 1],   F_r = G_r [x; 1]   where Cov M = sum_r G_r G_r^T

So the rank is at most C (C + 1), 12 for RGB; that of hue is 2. Not clamped. METHODS.md 2.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from augnet.ops.color import hue as hue_matrix
from augnet.ops.color import recolor

from .blends import Spread
from .factored import Moments


def colour_matrix(image: Tensor, mean: Tensor, factor: Tensor) -> Moments:
    """Moments under a random colour matrix.

    Args:
        image: `[C, H, W]`.
        mean: `E M`, `[C, C+1]`.
        factor: `G`, `[R, C, C+1]`.
    """
    matrices = torch.cat([mean[None], factor])
    images = recolor(image.expand(len(matrices), -1, -1, -1), matrices)
    return Moments(images[0], images[1:])


def channel_gains(image: Tensor, factor: Spread) -> Moments:
    """Every channel times a factor of its own, independent and alike."""
    channels = len(image)
    eye = torch.eye(channels, channels + 1, dtype=image.dtype, device=image.device)
    single = torch.diag_embed(eye[:, :channels])  # one channel each
    single = torch.cat([single, torch.zeros_like(single[..., :1])], dim=-1)
    return colour_matrix(image, factor.mean * eye, math.sqrt(factor.variance) * single)


def hue(image: Tensor, degrees: float) -> Moments:
    """The chroma plane turned by an angle uniform in `[-degrees, degrees]`, > 0: `x + (cos - 1) B x + sin C x`.

    With a the half-width in radians, `E cos = sin a / a`, `E sin = 0`, and the two are not correlated.
    """
    angle = math.radians(degrees)
    turned = hue_matrix(image.new_tensor([0.0, 90.0, 180.0]), image.new_zeros(3, 3))
    chroma = (turned[0] - turned[2]) / 2  # B; at 90 degrees the matrix is 1 - B + C
    sine = turned[1] - turned[0] + chroma
    cosine = math.sin(angle) / angle
    double = math.sin(2 * angle) / (4 * angle)
    deviations = math.sqrt(max(0.0, 0.5 + double - cosine**2)), math.sqrt(max(0.0, 0.5 - double))
    factor = torch.stack([deviations[0] * chroma, deviations[1] * sine])
    return colour_matrix(image, turned[0] + (cosine - 1) * chroma, factor)
