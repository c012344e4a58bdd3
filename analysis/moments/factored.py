"""Mean and covariance of a random tensor; the covariance is held as a factor, `Sigma = sum_k F_k F_k^T`.

`F_k` are K tensors of the shape of the mean, one for each view (or each principal direction). D is the number of
entries; a D x D matrix is never formed. Background: `docs/method.md`, "Moments".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

_CHUNK = 256


@dataclass(frozen=True)
class Moments:
    """Mean `[...]` of a random tensor with D entries, and its covariance as a factor `[K, ...]`, K >= 0."""

    mean: Tensor
    factor: Tensor

    def __post_init__(self) -> None:
        if self.factor.shape[1:] != self.mean.shape:
            raise ValueError(
                f"expected a factor [K, ...] of tensors like the mean {list(self.mean.shape)}, found "
                f"{list(self.factor.shape)}"
            )

    @property
    def variance(self) -> Tensor:
        """Variance of every entry, `[...]`: the diagonal of Sigma."""
        return self.factor.square().sum(dim=0)

    @property
    def trace(self) -> Tensor:
        """`tr Sigma`, a scalar."""
        return self.variance.sum()

    def quadratic(self, vector: Tensor) -> Tensor:
        """Return `g^T Sigma g = ||F^T g||^2`, a scalar: the variance of `<g, t>`."""
        return (self.factor.flatten(1) @ vector.flatten()).square().sum()

    def columns(self, chunk: int = _CHUNK) -> Iterator[Tensor]:
        """Yield the columns of the factor in pieces `[R, ...]` with `R <= chunk`."""
        yield from (part for part in self.factor.split(chunk) if len(part))

    @cached_property
    def largest(self) -> float:
        """The largest eigenvalue of Sigma, by Lanczos iteration in float64."""
        size = self.mean.numel()
        if float(self.trace) == 0:
            return 0.0
        if size == 1:
            return float(self.trace)
        columns = self.factor.flatten(1).double().cpu().numpy()
        operator = LinearOperator((size, size), lambda v: (columns @ v) @ columns, dtype="float64")
        start = np.random.default_rng(0).standard_normal(size)  # the same at every call
        return float(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)[0])

    def effective_rank(self) -> float:
        """Return `tr Sigma / largest eigenvalue`, in [1, D]; 0 for a constant tensor."""
        largest = self.largest
        return float(self.trace) / largest if largest > 0 else 0.0

    def compressed(self, rank: int) -> Moments:
        """Return the same mean with at most `rank` columns: the principal ones, orthogonal, longest first.

        The variance that is left out is the smallest that `rank` columns can leave out.
        """
        if rank < 1:
            raise ValueError(f"rank must be at least 1, found {rank}.")
        if not len(self.factor):
            return self
        rows = self.factor.flatten(1).double()
        _, vectors = torch.linalg.eigh(rows @ rows.T)  # K x K, ascending
        chosen = vectors[:, -rank:].flip(1).to(self.factor)
        return Moments(self.mean, torch.tensordot(chosen.T, self.factor, dims=1))


def moments_of(images: Tensor, weights: Tensor | None = None) -> Moments:
    """Return the moments of a distribution over finitely many tensors `[K, ...]`: `F_k = sqrt(w_k) (t_k - mu)`.

    The weights `[K]` are >= 0 and of sum 1; by default equal.

    Raises:
        ValueError: If there are no tensors, or the weights are no distribution over them.
    """
    if not len(images):
        raise ValueError("expected at least one tensor [K, ...], found none")
    if weights is None:
        weights = images.new_full((len(images),), 1 / len(images))
    total = weights.double().sum()
    if weights.shape != (len(images),) or bool((weights < 0).any()) or abs(float(total) - 1) > 1e-4:
        raise ValueError(f"expected {len(images)} weights >= 0 of sum 1, found {list(weights.shape)}, {float(total):g}")
    weights = weights.to(images)
    mean = torch.tensordot(weights, images, dims=1)
    return Moments(mean, weights.sqrt().view(-1, *[1] * mean.ndim) * (images - mean))


class Alignment(NamedTuple):
    """Alignment of the saliency g with the covariance of the augmented image. `docs/method.md`, "Moments".

    Sigma has few columns and a large null space, so the angle to its smallest eigenvector is not informative.
    """

    worst: float  # R = g^T Sigma g / (||g||^2 lambda_max) in [0, 1]; 0: no change of the loss along the augmentation
    random: float  # A = (g^T Sigma g / ||g||^2) / (tr Sigma / D); 1 for a random direction


def alignment(moments: Moments, gradient: Tensor) -> Alignment:
    """Return the alignment of a gradient, of the shape of the mean; both numbers are 0 where either is 0."""
    square, trace = float(gradient.square().sum()), float(moments.trace)
    if square == 0 or trace == 0:
        return Alignment(0.0, 0.0)
    along = float(moments.quadratic(gradient)) / square
    return Alignment(along / moments.largest, along / (trace / moments.mean.numel()))
