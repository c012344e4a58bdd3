r"""Gradient and Hessian of the mean loss in the last linear layer.

With features `h_i`, `a_i = [h_i; 1]`, logits `z_i = W a_i` (`W` is `[K, D+1]`, the last column is the bias), weights
`w_i` of sum 1, and the derivatives `r_i` and `C_i` of sample i's loss in its logits:

    gradient   g   = sum_i w_i r_i a_i^T
    Hessian    H V = sum_i w_i C_i V a_i a_i^T  +  V diag(decay + damping)

For softmax cross-entropy with `p_i = softmax(z_i)` and targets `q_i`, `r_i = p_i - q_i` and
`C_i = diag p_i - p_i p_i^T`. As matrices: `U = A V^T`, `T = P*U - P*rowsum(P*U)`, `H V = (w T)^T A`: two products, no
autograd. `C_i` does not depend on the targets; without damping and decay `H` is singular: adding one vector to the
weights of all classes changes no probability. Other losses: `influence.losses`.

Axes: N rows, D features, K classes. Source: docs/method.md, "Influence"; Lee, Park, Pham, Yoo, CVPR 2020, Eq. 7-14;
Koh and Liang, ICML 2017.
"""

import math
from copy import copy
from typing import Literal

import torch
from torch import Tensor

from influence.checks import check_finite, check_matrix, check_rows, decay_per_column, normalized_weights
from influence.curvature import BlockCurvature
from influence.losses import CrossEntropy, Loss
from influence.precision import full_precision

DampingMode = Literal["relative", "absolute"]
CROSS_ENTROPY = CrossEntropy()


def append_bias(features: Tensor) -> Tensor:
    """Append the constant feature 1 to `[N, D]`, which makes the bias the last column of the weight matrix.

    Example:
        >>> append_bias(torch.tensor([[2.0, 3.0]]))
        tensor([[2., 3., 1.]])
    """
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def residual(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the derivative of the cross-entropy in the logits, `softmax(z) - q`.

    Args:
        logits: `[B, K]`; carries gradient.
        targets: `[B]` int64 in [0, K), or `[B, K]` probabilities (each row sums to 1), which carry gradient.

    Returns:
        `[B, K]` in float32 (float64 if the logits are); each row sums to 0.

    Raises:
        TypeError: If labels are not int64 or logits are not floating point.
        ValueError: If targets do not match the logits, are out of range or no distribution.
    """
    return CROSS_ENTROPY.gradient(logits, targets)


@torch.no_grad()
def loss_gradient(
    features: Tensor,
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    loss: Loss = CROSS_ENTROPY,
) -> Tensor:
    """Return the gradient of the weighted mean loss in the last layer, `sum_i w_i r_i a_i^T / sum_i w_i`.

    Args:
        features: `[N, D]`.
        logits: `[N, K]`.
        targets: As the loss takes them, for cross-entropy `[N]` int64 or `[N, K]` probabilities.
        weights: `[N]`, >= 0, divided by their sum; `None` gives the plain mean.
        loss: Of one sample.

    Returns:
        `[K, D+1]`, bias in the last column; of cross-entropy each column sums to 0. Detached: no input carries
        gradient.

    Raises:
        TypeError: If labels are not int64 or features and logits are not floating point.
        ValueError: If shapes, targets or weights are invalid, or a value is not finite.
    """
    features, logits = check_rows(features, logits)
    check_finite("features and logits", features, logits)
    with full_precision(features):
        share = normalized_weights(weights, features)
        return (loss.gradient(logits, targets) * share[:, None]).T @ append_bias(features)


class LastLayerHessian:
    """Damped Hessian of the mean loss in the last layer, a linear operator on `[K, D+1]` matrices.

    The operator is symmetric, and for a loss that is convex in the logits positive definite if every column has damping
    or decay. All inputs are detached.

    Args:
        features: `[N, D]` input of the last layer.
        logits: `[N, K]` its output.
        damping: >= 0, a multiple of the mean eigenvalue `trace / (K (D+1))` of the undamped, undecayed Hessian in mode
            "relative", the value itself in mode "absolute". A relative value has the same effect on every data set.
        damping_mode: "relative" or "absolute".
        weight_decay: Decay of the objective's `(decay/2) ||W||^2`, as in `SGD(weight_decay=...)`. A number applies to
            the weight columns and not to the bias; a tensor `[D+1]` has one value per column.
        sample_weights: `[N]`, >= 0, divided by their sum.
        targets: Of the rows, as the loss takes them; needed where its curvature depends on them.
        loss: Of one sample.

    Attributes:
        shape: `(K, D+1)`.
        num_rows: N.
        row_weights: `[N]`, of sum 1.
        curvature: The weighted second derivatives of all losses in the logits.
        mean_eigenvalue: Mean eigenvalue of the Hessian without damping and decay; it falls by orders of magnitude as
            the classifier fits its training rows. Rows of negative trace count as 0.
        damping: Absolute damping in force.
        diagonal: `[D+1]`, damping plus decay of every column.

    Raises:
        TypeError: If features or logits are not floating point.
        ValueError: If shapes do not match, values are not finite, or damping, decay or a weight is negative.
    """

    def __init__(
        self,
        features: Tensor,
        logits: Tensor,
        *,
        damping: float = 1e-2,
        damping_mode: DampingMode = "relative",
        weight_decay: float | Tensor = 0.0,
        sample_weights: Tensor | None = None,
        targets: Tensor | None = None,
        loss: Loss = CROSS_ENTROPY,
    ) -> None:
        if not (math.isfinite(damping) and damping >= 0):
            raise ValueError(f"expected damping >= 0, found {damping}; 1e-2 is a usual relative value")
        if damping_mode not in ("relative", "absolute"):
            raise ValueError(f"expected damping_mode 'relative' or 'absolute', found {damping_mode!r}")
        features, logits = check_rows(features.detach(), logits.detach())
        check_finite("features and logits", features, logits)
        self.rows = append_bias(features)  # [N, D+1]
        self.shape = (logits.shape[1], self.rows.shape[1])
        with full_precision(features):
            self.row_weights = normalized_weights(sample_weights, features)  # [N]
            self.curvature = loss.curvature(logits, targets, self.row_weights)
            decay = decay_per_column(weight_decay, self.rows)
            self.num_rows = len(features)
            traces = self.curvature.traces.clamp(min=0)  # below 0 where a loss is not convex
            trace = traces @ torch.linalg.vector_norm(self.rows, dim=1).square()
            self.mean_eigenvalue = float(trace) / (self.shape[0] * self.shape[1])
        self.damping = damping * (self.mean_eigenvalue if damping_mode == "relative" else 1.0)
        self.diagonal = decay + self.damping  # [D+1]

    @torch.no_grad()
    def __matmul__(self, matrix: Tensor) -> Tensor:
        check_matrix("a matrix", matrix, self.shape)
        with full_precision(self.rows):
            matrix = matrix.to(self.rows)
            return (self.curvature.apply(matrix @ self.rows.T) @ self.rows).addcmul_(matrix, self.diagonal)

    @torch.no_grad()
    def dense(self) -> Tensor:
        """Return the operator as a matrix `[K(D+1), K(D+1)]` on class-major (row by row) flattened matrices."""
        with full_precision(self.rows):
            matrix = self.curvature.dense(self.rows)
            matrix.diagonal().add_(self.diagonal.repeat(self.shape[0]))
            return matrix

    def convex(self) -> "LastLayerHessian | None":
        """Return the operator without the negative eigenvalues of the losses; None if there are none."""
        if self.curvature.definite or not isinstance(self.curvature, BlockCurvature):
            return None
        other = copy(self)
        other.curvature = self.curvature.positive_part()
        return other
