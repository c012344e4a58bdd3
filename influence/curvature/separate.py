"""Curvature of losses that are sums over the logits, as binary cross-entropy: no logit acts on another."""

import torch
from torch import Tensor

from influence.curvature.base import Curvature


class SeparateCurvature(Curvature):
    """Diagonal `w_i C_i` with the entries `spread` `[N, K]`, >= 0.

    Axes: N rows, D features, K outputs.
    """

    def __init__(self, spread: Tensor) -> None:
        self.spread, self._class_spread = spread, spread.T.contiguous()
        self.traces = spread.sum(dim=1)

    def apply(self, scores: Tensor) -> Tensor:
        """See `Curvature.apply`; the scores are overwritten."""
        return scores.mul_(self._class_spread)

    def total(self) -> Tensor:
        """See `Curvature.total`."""
        return torch.diag(self.spread.sum(dim=0))

    def diagonal(self, basis: Tensor) -> Tensor:
        """See `Curvature.diagonal`."""
        return self.spread @ basis.square()

    def bound(self) -> Tensor:
        """See `Curvature.bound`."""
        return self.spread.amax(dim=1)

    def dense(self, rows: Tensor) -> Tensor:
        """See `Curvature.dense`."""
        matrix: Tensor = torch.block_diag(*((column[:, None] * rows).T @ rows for column in self._class_spread))
        return matrix

    def take(self, rows: Tensor) -> "SeparateCurvature":
        """See `Curvature.take`."""
        return SeparateCurvature(self.spread[rows])

    def roots(self) -> Tensor:
        """See `Curvature.roots`."""
        return torch.diag_embed(self.spread.double().sqrt())
