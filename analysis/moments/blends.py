"""Closed forms of augmentations `t = x + a (y - x)` with a random number `a` and a fixed image `y`: rank one.

    mu = x + E a (y - x),   Sigma = Var a (y - x)(y - x)^T

Brightness, exposure, contrast, saturation, grey, mixup with a fixed partner, and every switch that is on with a
probability (then `a` is 0 or 1) are of this kind. None is clamped to [0, 1]: where a policy of `augnet` clamps, only
its views tell (`analysis.moments.views`). METHODS.md 2.3, after Balestriero, Misra and LeCun (2022).

Images are `[C, H, W]`.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from augnet.ops.color import gray_weights

from .factored import Moments


class Spread(NamedTuple):
    """Mean and variance of a random number."""

    mean: float
    variance: float

    @classmethod
    def uniform(cls, low: float, high: float) -> Self:
        """Of a number uniform in `[low, high]`."""
        return cls((low + high) / 2, (high - low) ** 2 / 12)

    @classmethod
    def factor(cls, stops: float) -> Self:
        """Of a factor `2 ** m`, m uniform in `[-stops, stops]`: exposure, contrast, saturation in `augnet`."""
        if stops == 0:
            return cls(1.0, 0.0)
        first, second = (math.sinh(k * stops * math.log(2)) / (k * stops * math.log(2)) for k in (1, 2))
        return cls(first, second - first**2)


def blend(image: Tensor, other: Tensor, share: Spread) -> Moments:
    """`x + a (y - x)`.

    Args:
        image: x, `[...]`.
        other: y, `[...]`.
        share: Of a, any numbers; beyond [0, 1] it extrapolates.
    """
    change = other - image
    return Moments(image + share.mean * change, math.sqrt(share.variance) * change[None])


def brightness(image: Tensor, offset: Spread) -> Moments:
    """`x + b`: an offset for all entries."""
    return blend(image, image + 1, offset)


def exposure(image: Tensor, factor: Spread) -> Moments:
    """`a x`."""
    return blend(torch.zeros_like(image), image, factor)


def contrast(image: Tensor, factor: Spread) -> Moments:
    """`a x + (1 - a) m`, m the mean grey of the image."""
    grey = image.mean(dim=(1, 2)) @ gray_weights(len(image), image)
    return blend(grey.expand_as(image), image, factor)


def saturation(image: Tensor, factor: Spread) -> Moments:
    """`a x + (1 - a) g`, g the grey image."""
    grey = torch.tensordot(gray_weights(len(image), image), image, dims=1)
    return blend(grey.expand_as(image), image, factor)


def switch(image: Tensor, other: Tensor | Moments, probability: float) -> Moments:
    """The other image with a probability, else the image as it is.

    Args:
        image: x, `[...]`.
        other: y, `[...]`; or its moments, if it is random itself: the law of total covariance adds `pi Cov y`.
        probability: pi, in [0, 1].

    Raises:
        ValueError: If the probability is out of range.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability in [0, 1], found {probability}")
    between = Spread(probability, probability * (1 - probability))
    if isinstance(other, Tensor):
        return blend(image, other, between)
    outer = blend(image, other.mean, between)
    inner = math.sqrt(probability) * other.factor
    diagonal = None if other.diagonal is None else probability * other.diagonal
    return Moments(outer.mean, torch.cat([outer.factor, inner]), diagonal)


def flip(image: Tensor, probability: float = 0.5, dim: int = -1) -> Moments:
    """Mirrored along one axis with a probability: one dense direction, not a variance for each pixel."""
    return switch(image, image.flip(dim), probability)
