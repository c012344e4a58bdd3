"""Curvature of softmax without cancellation, for samples that the classifier fits almost exactly.

The entries of `C = diag p - p p^T` of a fitted sample are of the size of `1 - p_top`, which float32 rounds to 0 when
it is computed as a difference. `C` does not depend on a shift of all scores, so scores are taken relative to the most
probable class: no large numbers cancel, and small entries keep their relative precision.

Axes: N rows, D features, K classes; `top [N, 1]` is the most probable class.
"""

import torch
from torch import Tensor


def complement(probs: Tensor, top: Tensor) -> Tensor:
    """Return `1 - p`, `[N, K]`, computed for the most probable class as the sum of the other probabilities.

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


def class_curvature(weighted_probs: Tensor, probs: Tensor, spread: Tensor) -> Tensor:
    """Return `sum_i w_i C_i`, `[K, K]`, from `w p`, `p` and `spread = w p (1 - p)`, each `[N, K]`."""
    matrix = -(weighted_probs.T @ probs)
    return torch.diagonal_scatter(matrix, spread.sum(dim=0))


def dense_curvature(rows: Tensor, probs: Tensor, weights: Tensor, spread: Tensor) -> Tensor:
    """Return `sum_i w_i C_i (x) a_i a_i^T`, `[K(D+1), K(D+1)]`, class-major.

    Args:
        rows: `a`, `[N, D+1]`.
        probs: `[N, K]`.
        weights: `w`, `[N]`.
        spread: `w p (1 - p)`, `[N, K]`.
    """
    classes, columns = probs.shape[1], rows.shape[1]
    scaled = probs * weights.sqrt()[:, None]
    outer = (scaled[:, :, None] * rows[:, None, :]).flatten(1)  # [N, K(D+1)]
    blocks = (outer.T @ outer).neg_().view(classes, columns, classes, columns)
    for k in range(classes):
        blocks[k, :, k] = (spread[:, k : k + 1] * rows).T @ rows
    return blocks.view(classes * columns, classes * columns)
