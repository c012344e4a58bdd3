"""Loss `||y - W t - b||^2` of a linear model of a random image: exact, or as if the image were Gaussian.

    E L   = ||e||^2 + tr(W Sigma W^T),   e = y - W mu - b              exact for every distribution
    Var L = 2 tr(B^2) + 4 e^T B e,       B = W Sigma W^T               exact if the image is Gaussian
    Var L ~ 4 e^T B e                                                  first order

The trace is what augmentation adds to the loss of the mean image: the explicit regulariser. METHODS.md 2.4.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .factored import Moments
from .network import output_moments


class SquaredLoss(NamedTuple):
    """Moments of the squared loss.

    Attributes:
        mean: Exact.
        gaussian_variance: As if the image were Gaussian.
        first_order_variance: Without the first of its terms.
    """

    mean: Tensor
    gaussian_variance: Tensor
    first_order_variance: Tensor


def squared_loss(weight: Tensor, bias: Tensor, moments: Moments, target: Tensor) -> SquaredLoss:
    """Moments of `||y - W t - b||^2`.

    Args:
        weight: W, `[k, D]`.
        bias: b, `[k]`.
        moments: Of the image, of D entries.
        target: y, `[k]`.
    """
    outputs = output_moments(lambda images: images.flatten(1) @ weight.T + bias, moments)
    error = target - outputs.mean
    gram = outputs.factor @ outputs.factor.T if len(outputs.factor) < len(error) else outputs.factor.T @ outputs.factor
    first_order = 4 * outputs.quadratic(error)
    return SquaredLoss(error.square().sum() + outputs.trace, 2 * gram.square().sum() + first_order, first_order)
