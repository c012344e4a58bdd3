"""Refit of the convex head to stationarity, the result that influence predicts to first order.

The head minimizes `(1/N) sum_i w_i l_i(W) + 1/2 sum W^2 decay` by Newton steps in float64. The divisor `N` is the
number of rows for all weights, so that weight 0 is removal (Lee et al. 2020, Eq. 6 and 9).

Axes: N training rows, D features, K classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from influence.checks import check_targets, decay_per_column, normalized_weights
from influence.convex_head import HeadObjective, minimize_head
from influence.last_layer import append_bias


class Samples(NamedTuple):
    """Inputs of the head and their targets: `features [N, D]` and `targets`, `[N]` int64 or `[N, K]` probabilities."""

    features: Tensor
    targets: Tensor


@torch.no_grad()
def refit_head(
    samples: Samples,
    num_classes: int,
    *,
    weight_decay: float | Tensor,
    weights: Tensor | None = None,
    initial: Tensor | None = None,
    tol: float = 1e-9,
) -> Tensor:
    """Minimize the weighted training loss of the head, to stationarity.

    Args:
        samples: Training features and targets.
        num_classes: K.
        weight_decay: A number applies to all columns but the bias, a tensor `[D+1]` has one value per column. It must
            be positive on the weight columns, as separable samples have no minimum otherwise.
        weights: `[N]`, >= 0, factor of each loss; the divisor remains `N`.
        initial: `[K, D+1]` start, e.g. the head of nearly the same samples.
        tol: Largest gradient norm to accept, > 0.

    Returns:
        `[K, D+1]`, float64, bias in the last column, columns of sum 0.

    Raises:
        TypeError: If labels are not int64 or features are not floating point.
        ValueError: If shapes, targets, weights or decay are invalid, or a value is not finite.

    Warns:
        ConvergenceWarning: If the gradient norm stays above `tol`.
    """
    features = samples.features.double()
    targets = check_targets(samples.targets, features.new_zeros(len(features), num_classes))
    share = normalized_weights(weights, features)
    if weights is not None:
        share = share * weights.to(features).mean()  # w / N
    objective = HeadObjective(
        features,
        targets * share[:, None],
        share,
        decay_per_column(weight_decay, append_bias(features)),
        features.new_zeros(num_classes, features.shape[1] + 1),
    )
    return minimize_head(objective, initial, tol, stacklevel=5)  # each no_grad wrapper is one level more
