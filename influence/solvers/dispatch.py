"""`solve`: one entry to every inverse-Hessian-vector product `S = H^-1 g`."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from influence.checks import check_finite, check_matrix
from influence.last_layer import LastLayerHessian
from influence.precision import full_precision
from influence.solvers.conjugate_gradient import conjugate_gradient
from influence.solvers.direct import cholesky, woodbury
from influence.solvers.half import half_hessian
from influence.solvers.kronecker import ekfac_inverse, kfac_inverse, kronecker_preconditioner
from influence.solvers.neumann import neumann
from influence.solvers.solution import Iterate, Solution, finish, warn_if_unconverged

Method = Literal["auto", "cholesky", "woodbury", "cg", "kronecker_cg", "neumann", "kfac", "ekfac", "identity"]
CONTROLS = ("identity", "kfac", "ekfac")  # not solvers: they never warn
_BREAK_EVEN = 5.0  # damping over mean eigenvalue at which the preconditioner repays its making; measured
_DENSE = 512  # rows of a matrix whose factorisation costs no more than about 50 products


@torch.no_grad()
def solve(
    hessian: LastLayerHessian,
    gradient: Tensor,
    method: Method = "auto",
    tol: float = 1e-3,
    max_iterations: int = 200,
    initial: Tensor | None = None,
) -> Solution:
    """Solve `H S = g` for the last-layer Hessian; `S` is what Koh & Liang call s_test.

    Args:
        hessian: The damped Hessian, from all rows at once: averaging solves of small batches inflates `S`.
        gradient: `g`, `[K, D+1]`, the gradient of the mean validation loss.
        method: "cg"; "kronecker_cg" (preconditioned: small damping, many rows); "cholesky" (few unknowns);
            "woodbury" (few rows); "auto" (one of these, see `choose`); "neumann" (the series of Koh & Liang,
            slow); or a control that solves nothing: "identity" (returns `g`), "kfac", "ekfac".
        tol: Largest relative residual to accept, > 0. Beyond 1e-2 sampling noise of `g` dominates.
        max_iterations: Most Hessian products, >= 1.
        initial: `[K, D+1]` warm start of the iterative methods, e.g. the value of the previous solve.

    Returns:
        The solution, detached, with its true residual.

    Raises:
        ValueError: If a shape, the method, `tol` or `max_iterations` is invalid, a value is not finite, or
            the method cannot treat this Hessian.

    Warns:
        ConvergenceWarning: If the residual is above `tol`, except for the controls.
    """
    gradient = _checked(hessian, gradient, "gradient")
    initial = None if initial is None else _checked(hessian, initial, "initial")
    if method not in get_args(Method):
        raise ValueError(f"expected method one of {', '.join(get_args(Method))}, found {method!r}")
    if not (math.isfinite(tol) and tol > 0) or max_iterations < 1:
        raise ValueError(f"expected tol > 0 and max_iterations >= 1, found {tol} and {max_iterations}")
    name = choose(hessian) if method == "auto" else method
    if not bool(gradient.any()):
        return Solution(torch.zeros_like(gradient), 0.0, 0, name, True)
    with full_precision(gradient):
        iterate = _iterate(hessian, gradient, name, tol, max_iterations, initial)
        solution = finish(iterate, hessian, gradient, name, tol)
    return solution if name in CONTROLS else warn_if_unconverged(solution, hessian, tol)


def choose(hessian: LastLayerHessian) -> Method:
    """What "auto" stands for.

    Dense where a side of the square root has at most 512 entries: exact at the price of a few products. Else
    conjugate gradients, preconditioned where that takes less time: if damping and decay are below five times the
    mean eigenvalue (the condition number is then large enough), and further below it with less than two rows a
    column (the Kronecker factors then describe the Hessian badly).
    """
    classes, columns = hessian.shape
    damped = hessian.diagonal > 0
    if classes * columns <= _DENSE and bool(damped[:-1].all()):
        return "cholesky"
    if not bool(damped.all()):
        return "cg"
    if hessian.num_rows * classes <= _DENSE:
        return "woodbury"
    described = min(1.0, hessian.num_rows / (2 * columns)) ** 3
    break_even = _BREAK_EVEN * described * hessian.mean_eigenvalue
    return "kronecker_cg" if float(hessian.diagonal.min()) < break_even else "cg"


def _iterate(
    hessian: LastLayerHessian,
    gradient: Tensor,
    method: Method,
    tol: float,
    max_iterations: int,
    initial: Tensor | None,
) -> Iterate:
    match method:
        case "cholesky":
            return cholesky(hessian, gradient, tol, max_iterations)
        case "woodbury":
            return woodbury(hessian, gradient, tol, max_iterations)
        case "kronecker_cg":
            half = half_hessian(hessian)
            inverse = kronecker_preconditioner(hessian, half)
            return conjugate_gradient(hessian, gradient, tol, max_iterations, initial, inverse, half)
        case "neumann":
            return neumann(hessian, gradient, tol, max_iterations, initial)
        case "kfac":
            return Iterate(kfac_inverse(hessian)(gradient), 1)
        case "ekfac":
            return Iterate(ekfac_inverse(hessian)(gradient), 1)
        case "identity":
            return Iterate(gradient.clone(), 0)
        case _:
            half = half_hessian(hessian)
            return conjugate_gradient(hessian, gradient, tol, max_iterations, initial, half=half)


def _checked(hessian: LastLayerHessian, matrix: Tensor, name: str) -> Tensor:
    check_matrix(name, matrix, hessian.shape)
    matrix = matrix.detach().to(hessian.rows)
    check_finite(name, matrix)
    return matrix
