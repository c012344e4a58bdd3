"""Hessian products with bfloat16 factors, where the processor has matrix units for them.

A product is then three to five times faster (N=4096, one AMX core). Alone they stall a solve at a residual of 0.005
to 0.05; `conjugate_gradient` therefore only takes its steps with them and measures every residual with the float32
operator. Features, scores and result are rounded, each by 2^-9; sums, probabilities and damping stay in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.precision import full_precision
from influence.softmax import deviation

_SMALLEST = 1_000_000  # entries of the rows; below, rounding costs more than it saves
_HALF = torch.bfloat16


class HalfHessian:
    """The operator of a `LastLayerHessian`; keeps its rows rounded, in both orders, in as much memory again."""

    def __init__(self, hessian: LastLayerHessian) -> None:
        self.hessian = hessian
        self.rows = hessian.rows.to(_HALF)  # [N, D+1]
        self.columns = self.rows.T.contiguous()  # [D+1, N]

    @torch.no_grad()
    def __matmul__(self, matrix: Tensor) -> Tensor:
        exact = self.hessian
        with full_precision(self.rows):
            scores = (self.rows @ matrix.to(_HALF).T).float()
            deviations = deviation(scores, exact.probs, exact.top).mul_(exact.weighted_probs)
            product = (self.columns @ deviations.to(_HALF)).T.contiguous().float()
            return exact.all_reduce(product).addcmul_(matrix, exact.diagonal)

    def gram(self, weights: Tensor) -> Tensor:
        """`sum_i w_i a_i a_i^T` over the rows of this rank, `[D+1, D+1]`; `weights [N]`."""
        return ((self.columns * weights.to(_HALF)) @ self.rows).float()


def half_hessian(hessian: LastLayerHessian) -> HalfHessian | None:
    """The operator in bfloat16 where that is faster on all ranks, else None."""
    rows = hessian.rows
    fast = rows.dtype == torch.float32 and rows.numel() >= _SMALLEST and _has_matrix_units(rows.device)
    votes = hessian.all_reduce(torch.tensor([float(fast), 1.0], device=rows.device))
    return HalfHessian(hessian) if bool(votes[0] == votes[1]) else None


def _has_matrix_units(device: torch.device) -> bool:
    """Whether this is a processor with AMX. Tensor cores are left out until somebody measures them."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())
