"""Closed forms of shifts: translation by whole pixels, by any distance, and shear; zero outside.

The mean is a convolution of the image with the density of the shift. A bilinearly sampled image is piecewise linear in
a shift, with breaks where it is a whole number of pixels; so mean and covariance are integrals of piecewise
polynomials of degree 1 and 2, which two Gauss-Legendre nodes in every piece give exactly. METHODS.md 2.3.

A positive shift moves the content right or down, as in `augnet`: `t(a) = x(a - k)`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from augnet.ops import spatial

from .factored import Moments, moments_of


def translation(image: Tensor, probabilities: Tensor) -> Moments:
    """Translation by whole pixels.

    Args:
        image: `[C, H, W]`.
        probabilities: `[2 R + 1, 2 S + 1]`, of sum 1: of a shift by k - R rows down and l - S columns right.

    Raises:
        ValueError: If the probabilities have no middle.
    """
    if probabilities.ndim != 2 or any(side % 2 == 0 for side in probabilities.shape):
        raise ValueError(f"expected probabilities [2 R + 1, 2 S + 1], found {list(probabilities.shape)}")
    height, width = image.shape[1:]
    down, across = (side // 2 for side in probabilities.shape)
    padded = F.pad(image, (across, across, down, down))
    places = probabilities.nonzero().tolist()
    shifted = [
        padded[:, 2 * down - row : 2 * down - row + height, 2 * across - column : 2 * across - column + width]
        for row, column in places
    ]
    return moments_of(torch.stack(shifted), probabilities[probabilities > 0])


def translation_mean(image: Tensor, probabilities: Tensor) -> Tensor:
    """The mean of `translation` as what it is, a convolution `[C, H, W]` with the probabilities."""
    kernel = probabilities.flip(0, 1)[None, None].to(image)  # conv2d correlates
    down, across = (side // 2 for side in probabilities.shape)
    return F.conv2d(image[:, None], kernel, padding=(down, across))[:, 0]


def smooth_translation(image: Tensor, across: float, down: float = 0.0) -> Moments:
    """Translation by distances uniform in `[-across, across]` and `[-down, down]` pixels, bilinear; exact.

    Args:
        image: `[C, H, W]`.
        across: Half-width to the right, >= 0.
        down: Half-width downwards, >= 0.
    """
    (x, x_weights), (y, y_weights) = (_nodes(_whole_numbers(width), width, image) for width in (across, down))
    shorter = min(image.shape[1:])
    pairs, weights = torch.cartesian_prod(x, y) / shorter, torch.cartesian_prod(x_weights, y_weights).prod(dim=1)
    matrices = spatial.translate_y(pairs[:, 1]) @ spatial.translate_x(pairs[:, 0])
    return moments_of(spatial.warp(image.repeat(len(pairs), 1, 1, 1), matrices), weights)


def shear(image: Tensor, tangent: float) -> Moments:
    """Horizontal shear about the middle by a tangent uniform in `[-tangent, tangent]`, > 0, bilinear; exact.

    A row at distance v below the middle moves left by `tangent * v`, so its breaks lie at whole multiples of 1 / v.
    The sign does not matter to the moments.
    """
    height = image.shape[1]
    distances = {abs(row + 0.5 - height / 2) for row in range(height)} - {0.0}
    breaks = {k / distance for distance in distances for k in _whole_numbers(tangent * distance)}
    nodes, weights = _nodes(sorted(breaks), tangent, image)
    matrices = spatial.shear_x(nodes.atan() * (180 / math.pi))
    return moments_of(spatial.warp(image.repeat(len(nodes), 1, 1, 1), matrices), weights)


def shear_mean(image: Tensor, tangent: float) -> Tensor:
    """The mean of `shear`: every row convolved with the density of its own shift, `[C, H, W]`."""
    height, width = image.shape[1:]
    offsets = torch.arange(width, dtype=torch.float64)
    offsets = offsets[:, None] - offsets  # from input to output column
    reach = tangent * (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2).abs()
    weights = torch.stack([_hat_smoothed(offsets, float(width)) for width in reach]).to(image)  # [H, W out, W in]
    return torch.einsum("hoi,chi->cho", weights, image)


def _hat_smoothed(offset: Tensor, reach: float) -> Tensor:
    """The hat function of bilinear sampling convolved with a uniform density on `[-reach, reach]`."""

    def integral(place: Tensor) -> Tensor:
        """Of the hat `max(0, 1 - |s|)` up to a place."""
        inside = place.clamp(-1, 1)
        return 0.5 + inside - inside * inside.abs() / 2

    if reach == 0:
        return (1 - offset.abs()).clamp(min=0)
    return (integral(offset + reach) - integral(offset - reach)) / (2 * reach)


def _whole_numbers(width: float) -> list[float]:
    return [float(k) for k in range(-math.floor(width), math.floor(width) + 1)]


def _nodes(breaks: list[float], width: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the mean over `[-width, width]`, exact up to degree 3 between the breaks."""
    if width == 0:
        return like.new_zeros(1), like.new_ones(1)
    edges = torch.tensor(sorted({-width, width, *breaks}), dtype=torch.float64)
    middle, half = (edges[1:] + edges[:-1]) / 2, edges.diff() / 2
    nodes = torch.cat([middle - half / math.sqrt(3), middle + half / math.sqrt(3)])
    return nodes.to(like), (half.repeat(2) / (2 * width)).to(like)
