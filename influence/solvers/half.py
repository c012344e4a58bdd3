"""Hessian products with bfloat16 factors, where the processor multiplies these faster.

A product is then three to five times faster with AMX, two to three with AVX-512 BF16 (N=4096, one core). Alone they
stall a solve at a residual of 0.005 to 0.05; `conjugate_gradient` therefore only takes its steps with them and measures
every residual with the float32 operator. Features, scores and result are rounded, each by 2^-9; sums, probabilities and
damping stay in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.precision import full_precision

_SMALLEST = 1_000_000  # entries of the rows; below, rounding costs more than it saves
_HALF = torch.bfloat16


class HalfHessian:
    """The operator of a `LastLayerHessian`; keeps its rows rounded, in half as much memory again."""

    def __init__(self, hessian: LastLayerHessian) -> None:
        self.hessian = hessian
        self.rows = hessian.rows.to(_HALF)  # [N, D+1]

    @torch.no_grad()
    def __matmul__(self, matrix: Tensor) -> Tensor:
        exact = self.hessian
        with full_precision(self.rows):
            scores = (matrix.to(_HALF) @ self.rows.T).float()
            product = (exact.curve(scores).to(_HALF) @ self.rows).float()
            return product.addcmul_(matrix, exact.diagonal)

    def gram(self, weights: Tensor) -> Tensor:
        """`sum_i w_i a_i a_i^T` , `[D+1, D+1]`; `weights [N]`."""
        weighted = self.rows * weights.to(_HALF)[:, None]
        return (weighted.T @ self.rows).float()


def half_hessian(hessian: LastLayerHessian) -> HalfHessian | None:
    """The operator in bfloat16 where that is faster, else None."""
    rows = hessian.rows
    fast = rows.dtype == torch.float32 and rows.numel() >= _SMALLEST and _is_fast(rows.device)
    return HalfHessian(hessian) if fast else None


def _is_fast(device: torch.device) -> bool:
    """Whether this is such a processor. Tensor cores are left out until somebody measures them."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device.type == "cpu" and any(bool(getattr(torch.cpu, name, bool)()) for name in names)
