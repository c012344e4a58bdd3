"""Predicted harm of a policy to classes, before anything is trained with it (`docs/method.md`, "Class effects").

    S_k = (H + damping)^-1 grad L_val,k          I^(k) = mean_i [ I_up(T x_i; S_k) - I_up(T_0 x_i; S_k) ]

with T the draws of the policy, T_0 those of the policy that the reference classifier was trained with, from the same
random numbers, and L_val,k the loss of the validation images of class k. If all training images changed from T_0 to T,
the loss of class k would change by I^(k), to first order in the last layer: positive is harm. I is linear in S, so the
sum over the classes weighted by their frequencies is the influence on the whole validation loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from torch import Tensor

from influence import LastLayerHessian, class_gradients, replacement_influence

from ..moments.policy_influence import class_solutions
from ..sampling import draw_rows
from .reference import Reference, Rows

Augment = Callable[[Tensor, Tensor], Tensor]  # images [B, C, H, W] and labels [B] -> images
_LEAST = 4  # classes


def solutions_of(train: Rows, validation: Rows, damping: float) -> Tensor:
    """Solve for S_k of every class, `[K, K, D+1]`, with the Hessian of `train` and the gradients of `validation`.

    The damping is times the mean eigenvalue of the Hessian, > 0.
    """
    hessian = LastLayerHessian(train.features, train.logits, damping=damping)
    gradients = class_gradients(validation.features, validation.logits, validation.labels)
    return torch.stack([solution.value for solution in class_solutions(hessian, gradients)])


def mean_influence(solutions: Tensor, before: Rows, after: Rows) -> Tensor:
    """Return the mean influence `[M]` of replacing rows, on the loss of each solution `[M, K, D+1]`; negative helps."""
    pairs = [(rows.features, rows.logits, rows.labels) for rows in (before, after)]
    return torch.stack([replacement_influence(solution, *pairs).double().mean() for solution in solutions])


def predicted_harm(
    reference: Reference,
    before: Augment,
    after: Augment,
    damping: float = 0.1,
    images: int = 2048,
    draws: int = 2,
    seed: int = 0,
) -> Tensor:
    """Predict I^(k) of a policy, `after`, on a reference classifier that was trained with the policy `before`.

    At most so many training images are augmented, by so many draws each; torch's own generator is left as it was. For
    the damping see `solutions_of`.

    Returns:
        `[K]`: predicted change of the loss of each class; positive is harm.
    """
    train = reference.data.splits.train
    pixels, labels = train.__getitems__(draw_rows(len(train), images, seed))
    old = _views(reference, before, pixels, labels, draws, seed)
    new = _views(reference, after, pixels, labels, draws, seed)
    return mean_influence(solutions_of(old, reference.validation(), damping), old, new).cpu()


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation of a prediction with a measurement over the classes, and its bootstrap interval.

    Not defined, None, if one side is constant, or there are fewer than four classes.
    """

    spearman: float | None = None
    low: float | None = None
    high: float | None = None


def rank_agreement(
    predicted: ArrayLike, measured: ArrayLike, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> RankAgreement:
    """Return Spearman's correlation over the classes, `[K]` each, with a percentile bootstrap interval over them.

    Raises:
        ValueError: If there are not as many of both.
    """
    left, right = np.asarray(predicted, dtype=float), np.asarray(measured, dtype=float)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(f"expected two vectors of one number a class, found {left.shape} and {right.shape}.")
    if len(left) < _LEAST:
        return RankAgreement()
    chosen = np.random.default_rng(seed).integers(len(left), size=(draws, len(left)))
    resampled = _spearman(left[chosen], right[chosen])
    value, known = float(_spearman(left, right)), resampled[np.isfinite(resampled)]
    if math.isnan(value) or not len(known):
        return RankAgreement()
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return RankAgreement(value, float(low), float(high))


def _spearman(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of the ranks along the last axis, ties at their mean rank; NaN for constant input."""
    ranks = [rankdata(values, axis=-1) for values in (left, right)]
    first, second = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    sizes = (first**2).sum(axis=-1) * (second**2).sum(axis=-1)
    return np.asarray((first * second).sum(axis=-1) / np.sqrt(np.where(sizes > 0, sizes, math.nan)))


def _views(reference: Reference, augment: Augment, images: Tensor, labels: Tensor, draws: int, seed: int) -> Rows:
    """Draw views of images under an augmentation; every augmentation gets the same random numbers."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        views = torch.cat([augment(images, labels) for _ in range(draws)])
    return reference.rows(views, labels.repeat(draws))
