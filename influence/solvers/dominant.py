r"""Preconditioner from the rows that hold most of the Hessian's trace.

A network that is sure of most of its rows has its curvature in few of them. With the root `R_i = B_i (x) a_i^T` of row
i's term (`B_i^T B_i = w_i C_i`), the rows of a set T exactly, and damping and decay `L` in the place of all others,

    (L + sum_{i in T} R_i^T R_i)^-1 = L^-1 - L^-1 R^T (I + R L^-1 R^T)^-1 R L^-1                       (Woodbury)
    (R L^-1 R^T)_(i r, j s) = (B_i B_j^T)_rs a_i^T L^-1 a_j

Kronecker factors for the rows outside T need a tenth fewer products and more time than they save.
"""

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.solvers.direct import inner_factor
from influence.solvers.kronecker import Inverse
from influence.solvers.solution import check_damped

COVERED = 0.95  # share of the trace that is enough
MOST = 1024  # rows of the inner matrix: it takes as long as ten to a hundred products


def dominant_rows(hessian: LastLayerHessian) -> tuple[Tensor, float]:
    """Return the numbers of the rows with the largest terms, and their share of the trace.

    They are as many as hold 95 % of it, and at most 1024 / K.
    """
    sizes = hessian.curvature.traces.clamp(min=0) * (hessian.rows * hessian.diagonal.rsqrt()).square().sum(dim=1)
    values, order = sizes.sort(descending=True)
    shares = values.cumsum(dim=0) / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    count = min(int((shares < COVERED).sum()) + 1, max(MOST // hessian.shape[0], 1), len(order))
    return order[:count], float(shares[count - 1])


def dominant_preconditioner(hessian: LastLayerHessian) -> Inverse | None:
    """Return the inverse with the dominant rows; None if the inner matrix is not numerically positive definite.

    Computed in float64, as the two terms cancel by the ratio of the largest eigenvalue and the damping.

    Raises:
        ValueError: If a column has neither damping nor decay.
    """
    check_damped(hessian, "dominant_cg")
    chosen, _ = dominant_rows(hessian)
    rows, diagonal = hessian.rows[chosen].double(), hessian.diagonal.double()  # [n, D+1], [D+1]
    roots = hessian.curvature.take(chosen).roots()  # [n, K, K]
    factor = inner_factor(rows, roots, diagonal)
    if factor is None:
        return None
    middle = torch.cholesky_inverse(factor)  # one product with it is faster than two triangular solves

    def inverse(matrix: Tensor) -> Tensor:
        scaled = matrix.double() / diagonal
        scores = (roots @ (rows @ scaled.T)[:, :, None]).view(-1)  # R L^-1 v
        inside = (middle @ scores).view(*roots.shape[:2], 1)
        return scaled.sub_(((roots.mT @ inside)[:, :, 0].T @ rows).div_(diagonal)).to(matrix)

    return inverse
