"""Adaptation of the convex head by its K-prior: additions, removals, and changes of the decay.

The first Newton step from the old head is the influence estimate; the minimizer continues to convergence.

Axes: M rows of the memory, D features, K classes. Source: docs/method.md, "K-priors".
"""

import torch
from torch import Tensor

from influence.checks import check_targets, decay_per_column
from influence.convex_head import HeadObjective, minimize_head
from influence.k_priors.prior import KPrior
from influence.last_layer import append_bias
from influence.refit import Samples


def k_prior_objective(
    prior: KPrior,
    *,
    added: Samples | None = None,
    removed: tuple[Tensor, Tensor] | None = None,
    weight_decay: float | Tensor | None = None,
) -> HeadObjective:
    """Return the K-prior, with additions, removals and a new decay, as an objective of the head.

    Its `gradient` replaces the gradient on all data.

    Args:
        prior: The K-prior.
        added: New samples, in the columns of `prior.features`.
        removed: Rows of the memory `[R]` int64, each once, and their labels `[R]` or probabilities `[R, K]`. Each must
            have a weight of at least 1 in the memory, as the objective is not convex otherwise.
        weight_decay: The new `delta`, of the sum, as in `remember`; by default the past one.

    Raises:
        TypeError: If labels are not int64.
        ValueError: If shapes or targets are invalid, or a removed row is not in the memory.
    """
    features, weights = prior.features, prior.weights
    targets = prior.weights[:, None] * prior.probs
    if removed is not None:
        rows, labels = removed
        _check_rows(rows, weights)
        targets = targets.index_add(0, rows, check_targets(labels, prior.probs[rows]), alpha=-1)
        weights = weights.index_add(0, rows, torch.ones_like(weights[rows]), alpha=-1)
    if added is not None:
        new = added.features.to(features)
        features = torch.cat([features, new])
        targets = torch.cat([targets, check_targets(added.targets, new.new_zeros(len(new), len(prior.head)))])
        weights = torch.cat([weights, new.new_ones(len(new))])
    if not bool((weights > 0).any()):
        raise ValueError("nothing is left after the removal: remember more of the past, or add data")
    decay = prior.decay if weight_decay is None else decay_per_column(weight_decay, append_bias(prior.features))
    return HeadObjective(features, targets, weights, decay, prior.decay * prior.head)


def adapt_head(
    prior: KPrior,
    *,
    added: Samples | None = None,
    removed: tuple[Tensor, Tensor] | None = None,
    weight_decay: float | Tensor | None = None,
    tol: float = 1e-9,
) -> Tensor:
    """Adapt a head to added samples, removed samples or another decay; exact retraining if the memory is all data.

    Arguments and errors are those of `k_prior_objective`; `tol` > 0 is the largest gradient norm to accept, divided by
    the total weight of the points. For other features see `with_features`.

    Returns:
        `[K, D+1]`, float64, bias in the last column, columns of sum 0.

    Warns:
        ConvergenceWarning: If the gradient norm stays above `tol`.
    """
    objective = k_prior_objective(prior, added=added, removed=removed, weight_decay=weight_decay)
    return minimize_head(objective, prior.head, tol * float(objective.weights.sum()), stacklevel=4)


def _check_rows(rows: Tensor, weights: Tensor) -> None:
    """Check that all rows are in the memory, each once and with a weight of at least 1."""
    if rows.dtype != torch.int64 or rows.ndim != 1:
        raise TypeError(f"expected removed rows as int64 [R], found {rows.dtype} {list(rows.shape)}")
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(weights):
        raise ValueError(f"expected removed rows in the memory, 0 to {len(weights) - 1}, found {rows.tolist()[:8]}")
    if len(rows.unique()) < len(rows):
        raise ValueError("expected every removed row once; drop the repetitions")
    if bool((weights[rows] < 1).any()):
        raise ValueError("expected removed rows to be remembered with a weight of at least 1; raise it to 1")
