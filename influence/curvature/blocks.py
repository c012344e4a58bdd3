"""Curvature of any loss, one matrix for each row."""

from functools import cached_property

import torch
from torch import Tensor

from influence.curvature.base import Curvature


class BlockCurvature(Curvature):
    """Weighted second derivatives `w_i C_i` given as they are, `blocks` `[N, K, K]`, each symmetric.

    Axes: N rows, D features, K classes.
    """

    def __init__(self, blocks: Tensor) -> None:
        self.blocks = blocks
        self.traces = blocks.diagonal(dim1=1, dim2=2).sum(dim=1)

    @cached_property
    def definite(self) -> bool:  # type: ignore[override]
        """True if no block has a negative eigenvalue beyond rounding."""
        values = torch.linalg.eigvalsh(self.blocks)
        return bool((values[:, 0] >= -1e-5 * values[:, -1].abs()).all())

    def positive_part(self) -> "BlockCurvature":
        """Return the curvature without the negative eigenvalues of the blocks."""
        values, vectors = torch.linalg.eigh(self.blocks)
        return BlockCurvature((vectors * values.clamp(min=0)[:, None, :]) @ vectors.mT)

    def apply(self, scores: Tensor) -> Tensor:
        """See `Curvature.apply`."""
        return (self.blocks @ scores.T[:, :, None])[:, :, 0].T

    def total(self) -> Tensor:
        """See `Curvature.total`."""
        return self.blocks.sum(dim=0)

    def diagonal(self, basis: Tensor) -> Tensor:
        """See `Curvature.diagonal`."""
        return ((self.blocks @ basis) * basis).sum(dim=1)

    def bound(self) -> Tensor:
        """Return the largest row sum of absolute values, which bounds the eigenvalues (Gershgorin 1931)."""
        return self.blocks.abs().sum(dim=2).amax(dim=1)

    def dense(self, rows: Tensor) -> Tensor:
        """See `Curvature.dense`."""
        classes, columns = self.blocks.shape[1], rows.shape[1]
        blocks = rows.new_zeros(classes, columns, classes, columns)
        for k in range(classes):
            for m in range(classes):
                blocks[k, :, m] = (self.blocks[:, k, m, None] * rows).T @ rows
        return blocks.view(classes * columns, classes * columns)

    def take(self, rows: Tensor) -> "BlockCurvature":
        """See `Curvature.take`."""
        return BlockCurvature(self.blocks[rows])

    def roots(self) -> Tensor:
        """See `Curvature.roots`."""
        values, vectors = torch.linalg.eigh(self.blocks.double())
        roots: Tensor = values.clamp(min=0).sqrt()[:, :, None] * vectors.mT
        return roots
