"""Result of a solve, iterative refinement, and the warning about a missed tolerance."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian


class Iterate(NamedTuple):
    """A candidate `[K, D+1]`, its number of iterations and, if the method computed it, its true relative residual."""

    value: Tensor
    iterations: int
    relative_residual: float | None = None


class ConvergenceWarning(UserWarning):
    """A solve stopped above its tolerance."""


@dataclass(frozen=True)
class Solution:
    """Result of an inverse-Hessian-vector product `S = H^-1 g`.

    Attributes:
        value: `S`, `[K, D+1]`, detached.
        relative_residual: `||H S - g|| / ||g||` in the Frobenius norm, computed from `value`; 0 if `g` is 0.
        iterations: Hessian products of an iterative method, solves with the factor of a direct one.
        method: The method used; never "auto".
        converged: True if the residual is within the tolerance.
    """

    value: Tensor
    relative_residual: float
    iterations: int
    method: str
    converged: bool


def relative_residual(hessian: LastLayerHessian, value: Tensor, gradient: Tensor) -> float:
    """Return `||H S - g|| / ||g||`; infinite if `value` is not finite."""
    ratio = float((hessian @ value - gradient).norm() / gradient.norm())
    return ratio if ratio == ratio else float("inf")


def refined(
    inverse: Callable[[Tensor], Tensor],
    hessian: LastLayerHessian,
    gradient: Tensor,
    tol: float,
    max_iterations: int,
) -> Iterate:
    """Apply a factorized inverse, then correct by the inverse of the residual as long as that halves the residual."""
    value = inverse(gradient)
    error = relative_residual(hessian, value, gradient)
    iterations = 1
    while tol < error < float("inf") and iterations < max_iterations:
        better = value + inverse(gradient - hessian @ value)
        iterations += 1
        previous, smaller = error, relative_residual(hessian, better, gradient)
        if smaller < error:
            value, error = better, smaller
        if not smaller < previous / 2:
            break
    return Iterate(value, iterations, error)


def finish(iterate: Iterate, hessian: LastLayerHessian, gradient: Tensor, method: str, tol: float) -> Solution:
    """Return the solution of a candidate with its true residual; zero, with residual 1, if it is not finite."""
    value, iterations, error = iterate
    if error is None:
        error = relative_residual(hessian, value, gradient)
    if not bool(torch.isfinite(value).all()):
        value, error = torch.zeros_like(gradient), 1.0
    return Solution(value, error, iterations, method, error <= tol)


def warn_if_unconverged(solution: Solution, hessian: LastLayerHessian, tol: float) -> Solution:
    """Emit one `ConvergenceWarning` that says what to change."""
    if not solution.converged:
        others = {"cg": "kronecker_cg, or cholesky if small", "kronecker_cg": "cg, or cholesky if small"}
        warnings.warn(
            f"{solution.method} stopped after {solution.iterations} iterations at a relative residual of "
            f"{solution.relative_residual:.1e}, above tol={tol:.1e} (damping {hessian.damping:.1e}). Raise "
            f"max_iterations, raise damping, or choose another method ({others.get(solution.method, 'cg')}).",
            ConvergenceWarning,
            stacklevel=4,  # the caller of solve, below its no_grad wrapper
        )
    return solution


def check_damped(hessian: LastLayerHessian, method: str) -> None:
    """Check that every column has damping or decay.

    Raises:
        ValueError: If a column has neither damping nor decay.
    """
    if not bool((hessian.diagonal > 0).all()):
        raise ValueError(
            f"expected damping or decay > 0 in every column for {method}, found {hessian.damping} damping; "
            "set damping, or use method='cg'"
        )
