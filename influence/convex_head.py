r"""Minimizer of convex objectives of the head.

    F(W) = sum_i (c_i lse(z_i) - t_i . z_i) + 1/2 sum W^2 decay - sum W linear,     z_i = W [h_i; 1]

is a sum of cross-entropies of weight `c_i` and target `t_i / c_i`, of decay, and of a linear term. It is convex for
`c >= 0` and all `t` and `linear`. Refits and K-priors are of this form.

Axes: N rows, D features, K classes.
"""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from influence.checks import check_matrix
from influence.last_layer import LastLayerHessian, append_bias
from influence.solvers import ConvergenceWarning, solve

_HALVINGS = 30
_NEWTON_STEPS = 200
_RELATIVE_DAMPING = 0.1  # of the gradient norm
_FLOOR = 1e-9  # keeps the matrix definite at the minimum


class HeadObjective(NamedTuple):
    """The objective `F` of the module's docstring, in float64.

    Attributes:
        features: `[N, D]`.
        targets: `t`, `[N, K]`, each row of sum `c_i`.
        weights: `c`, `[N]`, >= 0, at least one positive.
        decay: `[D+1]`, >= 0; separable samples have a minimum only if it is positive on the weight columns.
        linear: `[K, D+1]`.
    """

    features: Tensor
    targets: Tensor
    weights: Tensor
    decay: Tensor
    linear: Tensor

    def gradient(self, head: Tensor) -> Tensor:
        """Return the gradient `[K, D+1]` at a head `[K, D+1]`; its columns sum to 0 over the classes."""
        rows = append_bias(self.features)
        probs = (rows @ head.T).softmax(dim=1)
        gradient = (probs * self.weights[:, None] - self.targets).T @ rows + self.decay * head - self.linear
        return gradient - gradient.mean(dim=0)

    def newton_direction(self, head: Tensor, gradient: Tensor) -> Tensor:
        """Return the Newton step `[K, D+1]` to subtract, damped in proportion to the gradient norm."""
        total = self.weights.sum()
        hessian = LastLayerHessian(
            self.features,
            append_bias(self.features) @ head.T,
            damping=_RELATIVE_DAMPING * max(float(gradient.norm() / total), _FLOOR),
            damping_mode="absolute",
            weight_decay=self.decay / total,
            sample_weights=self.weights,
        )
        return solve(hessian, gradient / total, tol=1e-4, max_iterations=5000).value


@torch.no_grad()
def minimize_head(objective: HeadObjective, initial: Tensor | None, tol: float, stacklevel: int = 3) -> Tensor:
    """Minimize a convex objective from any start.

    Newton steps, damped in proportion to the gradient norm (Li, Fukushima, Qi, Yamashita 2004), are halved until that
    norm falls; convergence is quadratic near the minimum.

    Args:
        objective: The objective.
        initial: `[K, D+1]` start; `None` starts at 0.
        tol: Largest gradient norm to accept, > 0.
        stacklevel: Stack level of the warning; 3 is the caller of this function.

    Returns:
        `[K, D+1]`, float64, bias in the last column, columns of sum 0.

    Raises:
        ValueError: If `initial` has another shape.

    Warns:
        ConvergenceWarning: If the gradient norm stays above `tol`.
    """
    head = torch.zeros_like(objective.linear)
    if initial is not None:
        check_matrix("initial", initial, (head.shape[0], head.shape[1]))
        head = initial.to(head) - initial.to(head).mean(dim=0)
    gradient = objective.gradient(head)
    for _ in range(_NEWTON_STEPS):
        if gradient.norm() <= tol:
            return head
        direction = objective.newton_direction(head, gradient)
        for halving in range(_HALVINGS):
            moved = head - direction * 0.5**halving
            smaller = objective.gradient(moved)
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
            stacklevel=stacklevel,
        )
    return head
