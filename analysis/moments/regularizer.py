"""The explicit regularizer: the term that training on infinitely many views adds to the loss of the mean image.

    squared error    tr(J Sigma J^T)                              exact for linear models
    cross-entropy    1/2 tr(J^T (diag p - p p^T) J Sigma)         Gauss-Newton

No view is drawn: train on `loss(f(mu), y) + explicit_regularizer(...)`. It is what TangentProp penalizes, with the
directions and weights that the policy gives (`docs/method.md`, "Moments"; Balestriero, Misra and LeCun, 2022). Each
column of an image costs one Jacobian-vector product: `compressed` makes them few.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from .network import Function, push, softmax_curvature

RegularizedLoss = Literal["squared", "cross_entropy"]


def explicit_regularizer(function: Function, means: Tensor, factors: Tensor, loss: RegularizedLoss) -> Tensor:
    """Return the mean over images of the regularizer.

    Args:
        function: The network, `[N, ...]` to outputs `[N, k]`, row by row (no batch statistics); its parameters carry
            gradient.
        means: `[B, ...]`, the mean images; carry gradient.
        factors: `[B, R, ...]`, the factor of each; zero columns add nothing.
        loss: `squared` is that of `sum_k (y_k - f_k)^2`, `cross_entropy` that of logits.

    Returns:
        A scalar >= 0.

    Raises:
        ValueError: If shapes do not fit or there is no such loss.
    """
    if factors.ndim != means.ndim + 1 or factors.shape[:1] + factors.shape[2:] != means.shape:
        raise ValueError(
            f"expected factors [B, R, ...] of means [B, ...], found {list(factors.shape)} and {list(means.shape)}"
        )
    if loss not in ("squared", "cross_entropy"):
        raise ValueError(f"loss must be squared or cross_entropy, found {loss!r}.")
    columns = factors.shape[1]
    outputs, changes = push(function, means.repeat_interleave(columns, dim=0), factors.flatten(0, 1))
    terms = changes.square().sum(dim=1) if loss == "squared" else softmax_curvature(outputs.softmax(dim=1), changes) / 2
    return terms.sum() / len(means)
