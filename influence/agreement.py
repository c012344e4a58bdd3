"""How well predicted changes of the validation loss agree with actual ones."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Agreement:
    """Predicted against actual changes of the validation loss.

    Attributes:
        predicted: `[M]`.
        actual: `[M]`, by refitting.
        pearson: Correlation in [-1, 1]; NaN if one side is constant.
        spearman: Correlation of the ranks, ties sharing their mean rank.
        slope: Least squares of actual on predicted, with intercept. Below 1 the prediction is too large;
            damping raises it.
        sign_agreement: Share of changes with the predicted sign, in [0, 1].
    """

    predicted: Tensor
    actual: Tensor
    pearson: float
    spearman: float
    slope: float
    sign_agreement: float


def agreement(predicted: Tensor, actual: Tensor) -> Agreement:
    """Compare two `[M]` vectors of changes.

    Raises:
        ValueError: If the shapes differ, or there are fewer than two changes.

    Example:
        >>> result = agreement(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0]))
        >>> round(result.slope, 6), round(result.spearman, 6), result.sign_agreement
        (2.0, 1.0, 1.0)
    """
    if predicted.ndim != 1 or predicted.shape != actual.shape or len(predicted) < 2:
        raise ValueError(
            f"expected two vectors of at least 2 changes, found {list(predicted.shape)} and "
            f"{list(actual.shape)}; pair one prediction with each refit"
        )
    predicted, actual = predicted.detach().double(), actual.detach().double()
    centred = predicted - predicted.mean()
    return Agreement(
        predicted=predicted,
        actual=actual,
        pearson=_correlation(predicted, actual),
        spearman=_correlation(_ranks(predicted), _ranks(actual)),
        slope=float((centred * actual).sum() / centred.square().sum()),
        sign_agreement=float((predicted.sign() == actual.sign()).double().mean()),
    )


def _correlation(left: Tensor, right: Tensor) -> float:
    left, right = left - left.mean(), right - right.mean()
    return float((left * right).sum() / (left.norm() * right.norm()))


def _ranks(values: Tensor) -> Tensor:
    """Rank of every value, equal values sharing the mean of their ranks."""
    _, position, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    mean: Tensor = last - (counts - 1) / 2
    return mean[position]
