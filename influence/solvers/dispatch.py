"""Choice and call of a method for the inverse-Hessian-vector product `S = H^-1 g`."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from influence.checks import check_finite, check_matrix
from influence.last_layer import LastLayerHessian
from influence.precision import full_precision
from influence.solvers.conjugate_gradient import conjugate_gradient
from influence.solvers.direct import cholesky, woodbury
from influence.solvers.dominant import dominant_preconditioner, dominant_rows
from influence.solvers.half import HalfHessian, half_hessian
from influence.solvers.kronecker import Inverse, ekfac_inverse, kfac_inverse, kronecker_preconditioner
from influence.solvers.neumann import neumann
from influence.solvers.solution import Iterate, Solution, finish, warn_if_unconverged

Method = Literal[
    "auto",
    "cholesky",
    "woodbury",
    "cg",
    "kronecker_cg",
    "dominant_cg",
    "neumann",
    "kfac",
    "ekfac",
    "identity",
]
CONTROLS = ("identity", "kfac", "ekfac")  # approximations for comparison; they never warn
_BREAK_EVEN = 5.0  # damping over mean eigenvalue below which the preconditioner saves time; measured
_CONCENTRATED = 0.6  # share of the trace in the dominant rows above which they beat the Kronecker factors; measured
_DENSE = 512  # rows of a matrix whose factorization costs about 50 products


@torch.no_grad()
def solve(
    hessian: LastLayerHessian,
    gradient: Tensor,
    method: Method = "auto",
    tol: float = 1e-3,
    max_iterations: int = 200,
    initial: Tensor | None = None,
) -> Solution:
    """Solve `H S = g` for the last-layer Hessian; return the solution, detached, with its true residual.

    `S` is called s_test by Koh and Liang (2017).

    Args:
        hessian: The damped Hessian of all rows; the mean of the solutions of small batches is too large.
        gradient: `g`, `[K, D+1]`, the gradient of the mean validation loss.
        method: "cg"; "kronecker_cg" (preconditioned, for small damping and many rows); "dominant_cg" (preconditioned by
            the rows that hold the trace, for a classifier that is sure of most rows); "cholesky" (few unknowns);
            "woodbury" (few rows); "auto" (one of these, see `choose`); "neumann" (the series of Koh and Liang, slow);
            or, for comparison, an approximation that meets no tolerance: "identity" (returns `g`), "kfac", "ekfac".
        tol: Largest relative residual to accept, > 0. Below 1e-2 the sampling noise of `g` dominates the error.
        max_iterations: Largest number of Hessian products, >= 1.
        initial: `[K, D+1]`, warm start of the iterative methods, for instance the value of the previous solve.

    Raises:
        ValueError: If a shape, the method, `tol` or `max_iterations` is invalid, a value is not finite, or
            the method cannot treat this Hessian.

    Where the loss is not convex in the logits (focal loss) and damping and decay do not outweigh that, the Hessian has
    no minimum to move to: what is solved then leaves out the negative eigenvalues of each sample's second derivatives,
    and the residual is that of this convex part.

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
        solution = finish(_iterate(hessian, gradient, name, tol, max_iterations, initial), hessian, gradient, name, tol)
        if not solution.converged and name not in CONTROLS and (convex := hessian.convex()) is not None:
            iterate = _iterate(convex, gradient, name, tol, max_iterations, initial)
            solution = finish(iterate, convex, gradient, name, tol)
    return solution if name in CONTROLS else warn_if_unconverged(solution, hessian, tol)


def choose(hessian: LastLayerHessian) -> Method:
    """Return the method that "auto" selects.

    A dense method if the matrix has at most 512 rows, in weight or in sample space. Otherwise conjugate gradients,
    preconditioned if damping and decay are below five times the mean eigenvalue: by the dominant rows if these hold
    60 % of the trace, else by the Kronecker factors; for these the bound is lower with fewer than two rows per column,
    as they then approximate the Hessian badly.
    """
    classes, columns = hessian.shape
    damped = hessian.diagonal > 0
    if classes * columns <= _DENSE and bool(damped[:-1].all()):
        return "cholesky"
    if not bool(damped.all()):
        return "cg"
    if hessian.num_rows * classes <= _DENSE and hessian.curvature.definite:
        return "woodbury"
    if hessian.diagonal.min() < _BREAK_EVEN * hessian.mean_eigenvalue and dominant_rows(hessian)[1] > _CONCENTRATED:
        return "dominant_cg"
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
            return conjugate_gradient(
                hessian, gradient, tol, max_iterations, initial, _preconditioner(hessian, method, half), half
            )


def _preconditioner(hessian: LastLayerHessian, method: Method, half: HalfHessian | None) -> Inverse | None:
    """Return that of a method; None for plain conjugate gradients, or where rounding spoils it."""
    match method:
        case "kronecker_cg":
            return kronecker_preconditioner(hessian, half)
        case "dominant_cg":
            return dominant_preconditioner(hessian)
        case _:
            return None


def _checked(hessian: LastLayerHessian, matrix: Tensor, name: str) -> Tensor:
    check_matrix(name, matrix, hessian.shape)
    matrix = matrix.detach().to(hessian.rows)
    check_finite(name, matrix)
    return matrix
