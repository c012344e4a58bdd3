"""Weighted views of one image under a policy, and the rules by which they are chosen.

enumeration    all outcomes, each with its probability: exact
midpoint       a regular grid, for one or two random numbers
quasi-random   scrambled Sobol points, for more
random         independent draws, for policies that can only be sampled (AugMix, chains of policies, pixel noise)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .factored import Moments, moments_of
from .network import Function

Rule = Literal["enumeration", "midpoint", "quasi-random", "random"]
_CHUNK = 512


@dataclass(frozen=True)
class WeightedViews:
    """Views of one image with their weights, and the rule by which they were chosen."""

    images: Tensor  # [K, C, H, W]
    weights: Tensor  # [K], of sum 1
    rule: Rule
    targets: Tensor | None = None  # [K, classes] where labels are mixed; None where all have the label of the image

    @property
    def moments(self) -> Moments:
        """Mean and covariance of the image."""
        return moments_of(self.images, self.weights)


def random_views(
    augment: Callable[[Tensor, torch.Generator], Tensor], image: Tensor, count: int, seed: int = 0
) -> WeightedViews:
    """Draw independent views of an image `[C, H, W]`, of equal weights."""
    generator = torch.Generator(image.device).manual_seed(seed)
    images = augment(image.repeat(count, 1, 1, 1), generator)
    return WeightedViews(images, image.new_full((count,), 1 / count), "random")


def cube(count: int, dimensions: int, seed: int = 0) -> tuple[Tensor, Rule]:
    """Return points of the unit cube `[K, dimensions]` in float64, each of weight 1 / K, and their rule."""
    if dimensions > 2:
        engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)
        return engine.draw(count, dtype=torch.float64).clamp(max=1 - 1e-7), "quasi-random"
    side = count if dimensions <= 1 else int(count**0.5 + 1e-9)
    middles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return torch.cartesian_prod(*[middles] * max(dimensions, 1)).view(-1, max(dimensions, 1)), "midpoint"


class Distribution(NamedTuple):
    """Mean and variance of a number under a policy."""

    mean: float
    variance: float


def distribution(values: Tensor, weights: Tensor) -> Distribution:
    """Return the distribution of values `[K]` with weights `[K]` of sum 1; in float64."""
    values, weights = values.double(), weights.double()
    mean = (weights * values).sum()
    return Distribution(float(mean), float((weights * (values - mean).square()).sum()))


@torch.no_grad()
def outputs_of(function: Function, views: WeightedViews) -> Tensor:
    """Return the function of all views, `[K, ...]`."""
    return torch.cat([function(part) for part in views.images.split(_CHUNK)])


def losses_of(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy `[K]` of logits `[K, classes]` with one target `[classes]` or one for each."""
    return -(target * logits.log_softmax(dim=1)).sum(dim=1)
