"""Hessian products with bfloat16 factors, for processors on which they are faster.

A product is three to five times faster with AMX and two to three times with AVX-512 BF16 (N=4096, one core). A solve
with these products alone stalls at a residual of 0.005 to 0.05, so `conjugate_gradient` uses them for its steps and
computes every residual with the float32 operator. Features, scores and result are rounded, each by 2^-9; sums,
probabilities and damping remain in float32.
"""

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.precision import full_precision

_SMALLEST = 1_000_000  # entries of the rows; below, the conversion costs more than it saves
_HALF = torch.bfloat16


class HalfHessian:
    """Operator of a `LastLayerHessian` on a bfloat16 copy of its rows."""

    def __init__(self, hessian: LastLayerHessian) -> None:
        self.hessian = hessian
        self.rows = hessian.rows.to(_HALF)  # [N, D+1]

    @torch.no_grad()
    def __matmul__(self, matrix: Tensor) -> Tensor:
        exact = self.hessian
        with full_precision(self.rows):
            scores = (matrix.to(_HALF) @ self.rows.T).float()
            product = (exact.curvature.apply(scores).to(_HALF) @ self.rows).float()
            return product.addcmul_(matrix, exact.diagonal)

    def gram(self, weights: Tensor) -> Tensor:
        """Return `sum_i w_i a_i a_i^T`, `[D+1, D+1]`, for `weights` `[N]`."""
        weighted = self.rows * weights.to(_HALF)[:, None]
        return (weighted.T @ self.rows).float()


def half_hessian(hessian: LastLayerHessian) -> HalfHessian | None:
    """Return the operator in bfloat16, or None where that is not faster."""
    rows = hessian.rows
    fast = rows.dtype == torch.float32 and rows.numel() >= _SMALLEST and _is_fast(rows.device)
    return HalfHessian(hessian) if fast else None


def _is_fast(device: torch.device) -> bool:
    """Return True for a CPU with bfloat16 products; not for accelerators, on which this has not been measured."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device.type == "cpu" and any(bool(getattr(torch.cpu, name, bool)()) for name in names)
