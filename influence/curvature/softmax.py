"""Curvature of softmax cross-entropy without cancellation, for samples that the classifier fits almost exactly.

The entries of `C = diag p - p p^T` of a fitted sample are of the size of `1 - p_top`, which float32 rounds to 0 when
it is computed as a difference. `C` does not depend on a shift of all scores, so scores are taken relative to the most
probable class: no large numbers cancel, and small entries keep their relative precision.

Axes: N rows, D features, K classes.
"""

import torch
from torch import Tensor

from influence.curvature.base import Curvature


class SoftmaxCurvature(Curvature):
    """`w_i (diag p_i - p_i p_i^T)` for probabilities `p` `[N, K]` and weights `w` `[N]`, >= 0."""

    shift_invariant = True

    def __init__(self, probs: Tensor, weights: Tensor) -> None:
        self.probs, self.weights = probs, weights
        self.top = self.probs.argmax(dim=1, keepdim=True)  # [N, 1]
        self.weighted_probs = self.probs * weights[:, None]
        self._class_probs, self._class_weights = self.probs.T.contiguous(), self.weighted_probs.T.contiguous()
        self.spread = self.weighted_probs * complement(self.probs, self.top)  # w p (1 - p)
        self.traces = self.spread.sum(dim=1)

    def apply(self, scores: Tensor) -> Tensor:
        """See `Curvature.apply`; the scores are overwritten."""
        return deviation(scores, self._class_probs, self.top.T).mul_(self._class_weights)

    def total(self) -> Tensor:
        """See `Curvature.total`."""
        return torch.diagonal_scatter(-(self.weighted_probs.T @ self.probs), self.spread.sum(dim=0))

    def diagonal(self, basis: Tensor) -> Tensor:
        """See `Curvature.diagonal`."""
        mean = self.probs @ basis
        return self.weighted_probs @ basis.square() - self.weights[:, None] * mean.square()

    def bound(self) -> Tensor:
        """Return `2 w max_k p_k (1 - p_k)`, which bounds the eigenvalues (Gershgorin 1931)."""
        return 2 * self.spread.amax(dim=1)

    def dense(self, rows: Tensor) -> Tensor:
        """See `Curvature.dense`."""
        classes, columns = self.probs.shape[1], rows.shape[1]
        scaled = self.probs * self.weights.sqrt()[:, None]
        outer = (scaled[:, :, None] * rows[:, None, :]).flatten(1)  # [N, K(D+1)]
        blocks = (outer.T @ outer).neg_().view(classes, columns, classes, columns)
        for k in range(classes):
            blocks[k, :, k] = (self.spread[:, k : k + 1] * rows).T @ rows
        return blocks.view(classes * columns, classes * columns)

    def take(self, rows: Tensor) -> "SoftmaxCurvature":
        """See `Curvature.take`."""
        return SoftmaxCurvature(self.probs[rows], self.weights[rows])

    def roots(self) -> Tensor:
        """Return `sqrt(w_i) diag(sqrt p_i) (I - 1 p_i^T)`."""
        probs = self._exact_probs()
        root = (self.weights.double()[:, None] * probs).sqrt()  # [N, K]
        roots = -root[:, :, None] * probs[:, None, :]
        roots.diagonal(dim1=1, dim2=2).copy_(root * complement(probs, self.top))
        return roots

    def root_scores(self, roots: Tensor, scores: Tensor) -> Tensor:
        """See `Curvature.root_scores`; the scores are overwritten."""
        probs = self._exact_probs()
        root = (self.weights.double()[:, None] * probs).sqrt()
        return root * deviation(scores, probs.T, self.top.T).T

    def _exact_probs(self) -> Tensor:
        probs = self.probs.double()
        return probs / probs.sum(dim=1, keepdim=True)  # a sum that is 1e-7 off would act on the null space


def complement(probs: Tensor, top: Tensor) -> Tensor:
    """Return `1 - p`, `[N, K]`, computed for the most probable class as the sum of the other probabilities.

    `top` `[N, 1]` is the most probable class.

    Example:
        >>> probs = torch.tensor([[30.0, 0.0]]).softmax(dim=1)
        >>> [f"{value:.1e}" for value in complement(probs, probs.argmax(dim=1, keepdim=True))[0].tolist()]
        ['9.4e-14', '1.0e+00']
    """
    others = probs.scatter(1, top, 0.0).sum(dim=1, keepdim=True)
    return (1 - probs).scatter(1, top, others)


def deviation(scores: Tensor, probs: Tensor, top: Tensor) -> Tensor:
    """Subtract from scores `u` their mean under `p`, in place; `p` times the result is `C u`.

    Scores and `probs` are `[K, N]`, `top` is `[1, N]`: class-major, in which the products are fastest.
    """
    scores.sub_(scores.gather(0, top))
    return scores.sub_((probs * scores).sum(dim=0, keepdim=True))
