r"""Dense solves, exact up to rounding: Cholesky in weight space and Woodbury in sample space.

With roots `B_i^T B_i = w_i C_i` of the curvature and `R_i = B_i (x) a_i^T`, the Hessian is `H = R^T R + L`,
`L = diag(damping + decay)`, and

    H^-1 = L^-1 - L^-1 R^T (I + R L^-1 R^T)^-1 R L^-1.

The inner matrix has `N K` rows instead of `K (D+1)`: smaller if there are fewer rows than features.
"""

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.solvers.solution import Iterate, check_damped, refined

MAX_DENSE = 20_000  # unknowns of a dense matrix: 1.6 GB in float32
_REFINEMENTS = 4


def cholesky(hessian: LastLayerHessian, gradient: Tensor, tol: float, max_iterations: int) -> Iterate:
    """Factorize the `[K(D+1), K(D+1)]` matrix, solve and refine.

    Where a loss does not change with a shift of all logits, as cross-entropy, a column without damping or decay is
    singular in one direction, the same number for all classes. Adding a multiple of `1 1^T` there does not change the
    solution of a gradient with column sums 0, so an undecayed bias is allowed.
    The value is NaN, which `finish` reports as a failed solution, if the matrix is not numerically positive definite.

    Raises:
        ValueError: If the matrix has more than 20,000 rows.
    """
    unknowns = gradient.numel()
    _check_size(unknowns, "cholesky")
    matrix = hessian.dense()
    classes, columns = hessian.shape
    blocks = matrix.view(classes, columns, classes, columns)
    open_columns = (hessian.diagonal == 0).nonzero().flatten().tolist() if hessian.curvature.shift_invariant else []
    for column in open_columns:
        blocks[:, column, :, column] += hessian.mean_eigenvalue
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed):
        return Iterate(torch.full_like(gradient, float("nan")), 1)

    def inverse(matrix: Tensor) -> Tensor:
        return torch.cholesky_solve(matrix.reshape(unknowns, 1), factor).view_as(matrix)

    return refined(inverse, hessian, gradient, tol, min(max_iterations, _REFINEMENTS))


def woodbury(hessian: LastLayerHessian, gradient: Tensor, tol: float, max_iterations: int) -> Iterate:
    """Factorize the `[N K, N K]` matrix of the samples, solve and refine.

    Computed in float64, as the two terms cancel by the ratio of the largest eigenvalue and the damping.

    Raises:
        ValueError: If `N K` exceeds 20,000, or a column has neither damping nor decay.
    """
    check_damped(hessian, "woodbury")
    rows, diagonal = hessian.rows.double(), hessian.diagonal.double()
    shape = (hessian.num_rows, hessian.shape[0])  # [N, K]
    samples = shape[0] * shape[1]
    _check_size(samples, "woodbury")
    halves = hessian.curvature.roots()  # [N, K, K], B_i
    factor = inner_factor(rows, halves, diagonal)
    if factor is None:
        return Iterate(torch.full_like(gradient, float("nan")), 1)

    def inverse(matrix: Tensor) -> Tensor:
        scaled = matrix.double() / diagonal
        scores = hessian.curvature.root_scores(halves, scaled @ rows.T)  # R L^-1 g, [N, K]
        inside = torch.cholesky_solve(scores.reshape(samples, 1), factor).view(shape)
        inside = torch.einsum("nkl,nk->nl", halves, inside)  # B^T
        correction: Tensor = (inside.T @ rows) / diagonal
        return (scaled - correction).to(matrix)

    return refined(inverse, hessian, gradient, tol, min(max_iterations, _REFINEMENTS))


def inner_factor(rows: Tensor, roots: Tensor, diagonal: Tensor) -> Tensor | None:
    """Return the Cholesky factor `[N K, N K]` of `I + R L^-1 R^T`; None if it is not numerically positive definite.

    Args:
        rows: `a`, `[N, D+1]`.
        roots: `B`, `[N, K, K]`.
        diagonal: Of `L`, `[D+1]`, positive.
    """
    samples, flat = roots.shape[:2], roots.flatten(0, 1)
    kernel = (rows / diagonal) @ rows.T  # [N, N]
    inner = ((flat @ flat.T).view(*samples, *samples) * kernel[:, None, :, None]).view(len(flat), len(flat))
    inner.diagonal().add_(1)
    factor, failed = torch.linalg.cholesky_ex(inner)
    return None if bool(failed) else factor


def _check_size(size: int, method: str) -> None:
    if size > MAX_DENSE:
        raise ValueError(
            f"expected at most {MAX_DENSE:,} unknowns for {method}, found {size:,} "
            f"({size * size * 4 / 1e9:,.0f} GB in float32); use method='cg' or 'kronecker_cg'"
        )
