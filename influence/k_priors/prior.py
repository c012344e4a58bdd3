r"""Knowledge-adaptation priors: adapt a model from a small memory of its past, without training it again.

A model `f*` with weights `w*` minimises `sum_{i in D} l(y_i, f(x_i)) + (delta/2) ||w||^2`: sums, not means. Its
K-prior on a memory `M` with the weights `m_i` is

    K(w) = sum_{i in M} m_i l(softmax f*(x_i), f(x_i)) + (delta/2) ||w||^2 - delta <w, w*>

whose gradient stands for that of the past objective. Adding data adds `sum l(y, f)`, removing data subtracts it,
another regulariser takes the place of `(delta/2) ||w||^2`, while the pull `delta w*` of the past stays. With `M = D`
the gradient of a linear model is that of the past objective at every `w`, so that minimising is exact retraining; for
any other model they differ by `sum_{D without M} J_i^T (h_i - h_i*) + sum_D (J_i - J_i*)^T (h_i* - y_i)`, where `h`
are the probabilities and `J` the Jacobian of the logits: small where little is left out and the residuals are small.

Here each input, past, added or removed, is a point that counts `soft` times with the old model's probabilities as its
target and `hard` times with its label: (m, 0) in the memory, (0, 1) added, (m, -1) in the memory and removed.

Axes: P points, D features, K classes. Source: Khan and Swaroop, *Knowledge-Adaptation Priors*, NeurIPS 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from influence.checks import check_finite, check_matrix, check_targets, decay_per_column
from influence.last_layer import append_bias


class KPrior(NamedTuple):
    """What a head remembers of its training.

    Attributes:
        features: Of the memory, `[M, D]`.
        probs: What the old model says of it, `[M, K]`.
        weights: How many past inputs each stands for, `[M]`, >= 0.
        head: The old head `w*` in the columns of `features`, `[K, D+1]`, bias last; 0 drops the weight term.
        decay: The old `delta` of each column, `[D+1]`; it belongs to a sum over samples.
    """

    features: Tensor
    probs: Tensor
    weights: Tensor
    head: Tensor
    decay: Tensor


def point_loss(logits: Tensor, labels: Tensor, old_probs: Tensor, soft: Tensor, hard: Tensor) -> Tensor:
    """`soft l(old_probs, f) + hard l(labels, f)`, summed over points; also for a network's logits.

    Args:
        logits: `[P, K]`; carries gradient.
        labels: `[P]` int64, or `[P, K]` probabilities; of no effect where `hard` is 0.
        old_probs: `[P, K]`, the old model's; of no effect where `soft` is 0.
        soft: `[P]`.
        hard: `[P]`; -1 for a removed sample.

    Returns:
        A scalar.

    Raises:
        TypeError: If labels are not int64.
        ValueError: If labels or probabilities do not fit the logits.
    """
    targets = point_targets(labels, old_probs, soft, hard, logits)
    return ((soft + hard) * logits.logsumexp(dim=1) - (targets * logits).sum(dim=1)).sum()


def point_targets(labels: Tensor, old_probs: Tensor, soft: Tensor, hard: Tensor, logits: Tensor) -> Tensor:
    """`soft old_probs + hard onehot(labels)`, `[P, K]`: what the logits of a point are multiplied with in its loss.

    Args:
        labels: `[P]` int64, or `[P, K]` probabilities.
        old_probs: `[P, K]`.
        soft: `[P]`.
        hard: `[P]`.
        logits: `[P, K]`, for their shape and type.
    """
    return soft[:, None] * old_probs + hard[:, None] * check_targets(labels, logits)


def weight_gradient(weights: Tensor, old_weights: Tensor, decay: float | Tensor, old_decay: float | Tensor) -> Tensor:
    """Gradient of the weight term, `decay w - old_decay w*`; at equal decay the pull back to `w*`.

    Args:
        weights: `w`, any shape.
        old_weights: `w*`, of the same shape.
        decay: The `delta` to have, a number or broadcast to the shape.
        old_decay: The `delta` of the past.
    """
    return decay * weights - old_decay * old_weights


@torch.no_grad()
def remember(features: Tensor, head: Tensor, weight_decay: float | Tensor, weights: Tensor | None = None) -> KPrior:
    """Make the K-prior of a head.

    Args:
        features: `[M, D]`, the memory as the old model sees it.
        head: `[K, D+1]`, the old head, bias last; best at the minimum, where the K-prior holds the past gradient.
        weight_decay: The `delta` it was trained with, of the sum over samples: a weight decay of the mean times the
            number of samples. A number spares the bias, a tensor `[D+1]` gives each column its own.
        weights: `[M]`, >= 0, how many past inputs each stands for; by default one.

    Returns:
        The K-prior, in float64.

    Raises:
        ValueError: If shapes do not match, a value is not finite, or a weight or decay is negative.
    """
    features = features.detach().double()
    check_finite("features and head", features, head)
    check_matrix("head", head, (len(head), features.shape[1] + 1))
    head = head.detach().double() - head.detach().double().mean(dim=0)  # a shift of all classes is no change
    weights = features.new_ones(len(features)) if weights is None else weights.to(features)
    if weights.shape != (len(features),) or not bool((weights >= 0).all()):
        raise ValueError(f"expected weights [{len(features)}], >= 0, found {list(weights.shape)}; one for each row")
    rows = append_bias(features)
    return KPrior(features, (rows @ head.T).softmax(dim=1), weights, head, decay_per_column(weight_decay, rows))


def with_features(prior: KPrior, features: Tensor, head: Tensor | None = None) -> KPrior:
    """The same memory seen by another model: what the old model says of it stays.

    Args:
        prior: The K-prior.
        features: `[M, D']`, the same inputs, in the same order.
        head: `[K, D'+1]`, where the old head is in the new columns, e.g. the ones that both share and 0 elsewhere. By
            default there is no weight term: pure distillation with decay.

    Returns:
        A K-prior in the new columns, with the decay of the weights and the bias of the old one.

    Raises:
        ValueError: If shapes do not match or a value is not finite.
    """
    if len(features) != len(prior.features):
        raise ValueError(
            f"expected one row of features for each of {len(prior.features)} inputs of the memory, found "
            f"{len(features)}; pass the same inputs in the same order"
        )
    if features.shape[1] != prior.features.shape[1] and bool((prior.decay[:-1] != prior.decay[0]).any()):
        raise ValueError("a decay for each column has no meaning for other features; remember with a number")
    shape = (len(prior.head), features.shape[1] + 1)
    anchor = prior.head.new_zeros(shape) if head is None else head
    decay = prior.decay
    if features.shape[1] != prior.features.shape[1]:
        decay = torch.cat([decay[:1].expand(shape[1] - 1), decay[-1:]])
    seen = remember(features, anchor, decay, prior.weights)
    return seen._replace(probs=prior.probs)
