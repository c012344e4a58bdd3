"""One augmentation after another, by the law of total covariance.

With independent steps, the second a random linear map M: `mu = E[M] mu_1`,
`Sigma = E[M Sigma_1 M^T] + Cov(M mu_1)`. METHODS.md 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .factored import Moments, moments_of

LinearMap = Callable[[Tensor], Tensor]  # [R, ...] -> [R, ...], row by row


def compose(first: Moments, maps: Sequence[LinearMap], weights: Tensor) -> Moments:
    """Moments after a second, independent step.

    Args:
        first: After the first step.
        maps: What the second step may do; each linear. An affine one, such as brightness, is not: add its offset to
            the moments instead.
        weights: `[len(maps)]`, the probability of each.

    Returns:
        `(K + 1) * len(maps)` columns; `compressed` makes them fewer.

    Raises:
        ValueError: If the first step has independent noise, or the weights are no distribution.
    """
    if first.diagonal is not None:
        raise ValueError("white noise and pixel dropout have no short factor after another step: put them last.")
    outer = moments_of(torch.stack([step(first.mean[None])[0] for step in maps]), weights)
    inner = [weight.sqrt() * step(first.factor) for step, weight in zip(maps, weights.to(first.mean), strict=True)]
    return Moments(outer.mean, torch.cat([outer.factor, *inner]))


def flipped(first: Moments, probability: float = 0.5, dim: int = -1) -> Moments:
    """A flip after anything: `pi F S F^T + (1 - pi) S + pi (1 - pi) (F mu - mu)(F mu - mu)^T`."""
    weights = first.mean.new_tensor([1 - probability, probability])
    return compose(first, [lambda rows: rows, lambda rows: rows.flip(dim)], weights)
