r"""Kronecker approximation of the last-layer Hessian, with damping and decay inside its eigenbasis.

`H = sum_i w_i C_i (x) a_i a_i^T + I (x) L` with the curvature `C_i` of a loss and `L = diag(damping + decay)`.
With `b_i = L^-1/2 a_i`, `H = L^1/2 [sum_i w_i C_i (x) b_i b_i^T + I] L^1/2`, so a different decay for every
column stays exact. The bracket is replaced by `(Qc (x) Qb) (d + 1) (Qc (x) Qb)^T`, `Qc` the eigenbasis of
`sum_i w_i C_i` and `Qb` that of a mean of `b_i b_i^T`, in three ways:

    kronecker_cg   mean weighted by trace(C_i), which keeps the trace exact; d[k, j] = value_c[k] * value_b[j]
    kfac           plain mean, the same d                                        (Martens and Grosse 2015)
    ekfac          plain mean, d[k, j] = sum_i w_i (Qc^T C_i Qc)_kk (Qb^T b_i)_j^2    (George et al. 2018)

As a preconditioner it saves time for small damping and many rows; as a solution its residual is near or above 1. The
weighting by the trace halves the iterations where most samples are fitted and a few have most of the curvature. All
raise ValueError if some column has neither damping nor decay.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.precision import full_precision
from influence.solvers.half import HalfHessian
from influence.solvers.solution import check_damped

Inverse = Callable[[Tensor], Tensor]  # [K, D+1] -> [K, D+1]
Response = Callable[[Tensor, Tensor], Tensor]  # [B, K], [B, D+1] -> [B, K]
_NOTHING = 1e-6  # share of the largest eigenvalue, that of rounding


def kronecker_preconditioner(hessian: LastLayerHessian, half: HalfHessian | None = None) -> Inverse:
    """Return the inverse of the approximation that keeps the trace; `half` computes it with bfloat16 products."""
    check_damped(hessian, "kronecker_cg")
    basis = _traced_basis(hessian, half)
    return basis.inverse(basis.kronecker_spectrum(), None if half is None else half.rows.dtype)


def kfac_inverse(hessian: LastLayerHessian) -> Inverse:
    """Return the inverse of the approximation by plain means."""
    check_damped(hessian, "kfac")
    basis = _mean_basis(hessian)
    return basis.inverse(basis.kronecker_spectrum())


def ekfac_inverse(hessian: LastLayerHessian) -> Inverse:
    """Return the inverse of the approximation by plain means, with the Hessian's diagonal in their eigenbasis."""
    check_damped(hessian, "ekfac")
    basis = _mean_basis(hessian)
    return basis.inverse(basis.exact_spectrum(hessian))


def ekfac_response(hessian: LastLayerHessian) -> Response:
    """Return `(H^-1 r a^T) a` of the approximation "ekfac", as a function of `r` `[B, K]` and `a` `[B, D+1]`."""
    check_damped(hessian, "ekfac")
    basis = _mean_basis(hessian)
    spectrum = basis.exact_spectrum(hessian)

    def respond(residuals: Tensor, rows: Tensor) -> Tensor:
        shares = (rows @ basis.Qb).square() @ (1 / (spectrum + 1)).T  # [B, K]
        response: Tensor = ((residuals @ basis.Qc) * shares) @ basis.Qc.T
        return response

    return respond


def _mean_basis(hessian: LastLayerHessian) -> "_Eigenbasis":
    """Return the eigenbasis with the plain mean of `b_i b_i^T`."""
    with full_precision(hessian.rows):
        return _Eigenbasis.of_gram(hessian, _gram(hessian.rows, hessian.row_weights))


def _traced_basis(hessian: LastLayerHessian, half: HalfHessian | None) -> "_Eigenbasis":
    """Return the eigenbasis with the mean of `b_i b_i^T` weighted by the traces."""
    traces, rows = hessian.curvature.traces.clamp(min=0), hessian.rows
    weights = traces / traces.sum().clamp(min=torch.finfo(traces.dtype).tiny)
    with full_precision(rows):
        if len(rows) < rows.shape[1]:
            return _Eigenbasis.of_rows(hessian, rows * weights.sqrt()[:, None])
        return _Eigenbasis.of_gram(hessian, _gram(rows, weights) if half is None else half.gram(weights))


class _Eigenbasis:
    """Eigenvectors and eigenvalues of the factors, scaled by the damping `L`.

    Attributes:
        Qc: Of `sum_i w_i C_i`, `[K, K]`.
        Qb: `L^-1/2` times those of the mean of `b_i b_i^T`, `[D+1, M]`; fewer than `D+1` leave out eigenvalues of 0.
    """

    def __init__(self, hessian: LastLayerHessian, values: Tensor, basis: Tensor) -> None:
        self.diagonal, self.column_values, self.Qb = hessian.diagonal, values, basis
        self.class_values, self.Qc = torch.linalg.eigh(hessian.curvature.total())

    @classmethod
    def of_gram(cls, hessian: LastLayerHessian, gram: Tensor) -> "_Eigenbasis":
        """Build it from the mean of `a_i a_i^T`, `[D+1, D+1]`."""
        scale = hessian.diagonal.rsqrt()
        values, basis = torch.linalg.eigh(gram * scale * scale[:, None])
        return cls(hessian, values, scale[:, None] * basis)

    @classmethod
    def of_rows(cls, hessian: LastLayerHessian, rows: Tensor) -> "_Eigenbasis":
        """Build it from fewer rows than columns, each times the root of its weight, by their products `[N, N]`."""
        scaled = rows * hessian.diagonal.rsqrt()
        values, basis = torch.linalg.eigh(scaled @ scaled.T)
        kept = values > _NOTHING * values[-1]
        values, basis = values[kept], basis[:, kept]
        return cls(hessian, values, (rows / hessian.diagonal).T @ (basis / values.sqrt()))

    def kronecker_spectrum(self) -> Tensor:
        """Return the products of the eigenvalues of the factors, `[K, M]`."""
        products: Tensor = self.class_values.clamp(min=0)[:, None] * self.column_values.clamp(min=0)
        return products

    def exact_spectrum(self, hessian: LastLayerHessian) -> Tensor:
        """Return the diagonal of the Hessian in this basis, `[K, M]`."""
        with full_precision(hessian.rows):
            exact: Tensor = hessian.curvature.diagonal(self.Qc).T @ (hessian.rows @ self.Qb).square()
            return exact.clamp(min=0)

    def inverse(self, spectrum: Tensor, dtype: torch.dtype | None = None) -> Inverse:
        """Return the inverse: rotate, divide by `spectrum + 1`, rotate back; the rotations in `dtype`."""
        whole = self.Qb.shape[0] == self.Qb.shape[1]
        share = 1 / (spectrum + 1) if whole else -spectrum / (spectrum + 1)
        dtype = dtype or share.dtype
        Qc, Qb = self.Qc.to(dtype), self.Qb.to(dtype)
        QcT, QbT = Qc.T.contiguous(), Qb.T.contiguous()

        def apply(matrix: Tensor) -> Tensor:
            rotated = (QcT @ (matrix.to(dtype) @ Qb)).to(share)
            solved: Tensor = (Qc @ rotated.mul_(share).to(dtype) @ QbT).to(share)
            return solved if whole else solved.add_(matrix / self.diagonal)

        return apply


def _gram(rows: Tensor, weights: Tensor) -> Tensor:
    """Return `sum_i w_i a_i a_i^T`, `[D+1, D+1]`."""
    return (rows * weights[:, None]).T @ rows
