"""Fit the convex head anew, to stationarity: what influence predicts without doing it.

The head minimises `(1/N) sum_i w_i l_i(W) + 1/2 sum W^2 decay` by Newton steps in float64, to a gradient norm
of 1e-9. `N` stays the number of rows whatever the weights, so weight 0 is removal (Lee et al. 2020, Eq. 6 and
9).

Axes: N training rows, D features, K classes.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from influence.checks import check_matrix, check_targets, decay_per_column
from influence.last_layer import LastLayerHessian, append_bias, loss_gradient
from influence.solvers import ConvergenceWarning, solve

_HALVINGS = 30
_NEWTON_STEPS = 200
_REGULARISATION = 0.1  # of the gradient norm
_FLOOR = 1e-9  # keeps the matrix definite at the minimum


class Samples(NamedTuple):
    """Inputs of the head: `features [N, D]` and `targets`, `[N]` int64 or `[N, K]` probabilities."""

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
    """Minimise the weighted training loss of the head, to stationarity.

    Newton steps, damped in proportion to the gradient norm (Li, Fukushima, Qi, Yamashita 2004) and halved
    until that norm falls: from any start, and quadratically in the end.

    Args:
        samples: Training features and targets.
        num_classes: K.
        weight_decay: A number spares the bias, a tensor `[D+1]` gives each column its own. Positive on the
            weight columns, or separable samples have no minimum.
        weights: `[N]`, >= 0, factor of each loss; the divisor stays `N`.
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
    problem = _Problem.of(samples, num_classes, weight_decay, weights)
    shape = (num_classes, problem.features.shape[1] + 1)
    head = problem.features.new_zeros(shape)
    if initial is not None:
        check_matrix("initial", initial, shape)
        head = initial.to(head) - initial.to(head).mean(dim=0)
    gradient = problem.gradient(head)
    for _ in range(_NEWTON_STEPS):
        if gradient.norm() <= tol:
            return head
        direction = problem.newton_direction(head, gradient)
        for halving in range(_HALVINGS):
            moved = head - direction * 0.5**halving
            smaller = problem.gradient(moved)
            if smaller.norm() < gradient.norm():
                break
        else:
            break
        head, gradient = moved, smaller
    if gradient.norm() > tol:
        warnings.warn(
            f"the refit stopped at a gradient norm of {float(gradient.norm()):.1e}, above tol={tol:.1e}; "
            "raise weight_decay or tol",
            ConvergenceWarning,
            stacklevel=3,  # past this function and its no_grad wrapper
        )
    return head


class _Problem(NamedTuple):
    """The training objective in float64; `total` is the mean of the weights."""

    features: Tensor  # [N, D]
    targets: Tensor  # [N, K]
    weights: Tensor  # [N]
    decay: Tensor  # [D+1]
    total: Tensor

    @classmethod
    def of(cls, samples: Samples, num_classes: int, weight_decay: float | Tensor, weights: Tensor | None) -> _Problem:
        features = samples.features.double()
        targets = check_targets(samples.targets, features.new_zeros(len(features), num_classes))
        weights = features.new_ones(len(features)) if weights is None else weights.to(features)
        decay = decay_per_column(weight_decay, append_bias(features))
        return cls(features, targets, weights, decay, weights.mean())

    def gradient(self, head: Tensor) -> Tensor:
        logits = append_bias(self.features) @ head.T
        mean = loss_gradient(self.features, logits, self.targets, self.weights)
        gradient = self.total * mean + self.decay * head
        return gradient - gradient.mean(dim=0)  # its columns sum to 0; rounding must not say otherwise

    def newton_direction(self, head: Tensor, gradient: Tensor) -> Tensor:
        logits = append_bias(self.features) @ head.T
        hessian = LastLayerHessian(
            self.features,
            logits,
            damping=_REGULARISATION * max(float(gradient.norm() / self.total), _FLOOR),
            damping_mode="absolute",
            weight_decay=self.decay / self.total,
            sample_weights=self.weights,
        )
        return solve(hessian, gradient / self.total, tol=1e-4, max_iterations=5000).value
