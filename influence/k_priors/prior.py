r"""Knowledge-adaptation prior: a substitute for the past objective, from a memory of past inputs.

A model `f*` with weights `w*` minimizes `sum_{i in D} l(y_i, f(x_i)) + (delta/2) ||w||^2`; these are sums, not means.
Its K-prior on a memory `M` with weights `m_i` is

    K(w) = sum_{i in M} m_i l(softmax f*(x_i), f(x_i)) + (delta/2) ||w||^2 - delta <w, w*>

whose gradient replaces that of the past objective. Adding data adds `sum l(y, f)`, removing data subtracts it, and
another decay replaces `delta` in the second term only. With `M = D` and a linear model, the gradient equals that of the
past objective at every `w`, so that minimizing is exact retraining. For other models the gradients differ by
`sum_{D without M} J_i^T (h_i - h_i*) + sum_D (J_i - J_i*)^T (h_i* - y_i)`, where `h` are the probabilities and `J` is
the Jacobian of the logits.

Each past, added or removed input is a point with weight `soft` for the old model's probabilities as target and weight
`hard` for its label: (m, 0) in the memory, (0, 1) added, (m, -1) in the memory and removed.

Axes: P points, D features, K classes. Source: docs/method.md, "K-priors"; Khan and Swaroop, *Knowledge-Adaptation
Priors*, NeurIPS 2021.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from influence.checks import check_finite, check_matrix, check_targets, decay_per_column
from influence.last_layer import append_bias


class KPrior(NamedTuple):
    """K-prior of a head.

    Attributes:
        features: Features of the memory, `[M, D]`.
        probs: Predictions of the old model, `[M, K]`.
        weights: Number of past inputs that each row represents, `[M]`, >= 0.
        head: The old head `w*` in the columns of `features`, `[K, D+1]`, bias last; 0 drops the weight term.
        decay: The old `delta` of each column, `[D+1]`, of a sum over samples.
    """

    features: Tensor
    probs: Tensor
    weights: Tensor
    head: Tensor
    decay: Tensor


def point_loss(logits: Tensor, labels: Tensor, old_probs: Tensor, soft: Tensor, hard: Tensor) -> Tensor:
    """Return `sum soft l(old_probs, f) + hard l(labels, f)` over points, for the logits of a head or of a network.

    Args:
        logits: `[P, K]`; carries gradient.
        labels: `[P]` int64, or `[P, K]` probabilities; without effect where `hard` is 0.
        old_probs: `[P, K]`, predictions of the old model; without effect where `soft` is 0.
        soft: `[P]`.
        hard: `[P]`; -1 for a removed sample.

    Returns:
        A scalar.

    Raises:
        TypeError: If labels are not int64.
        ValueError: If labels or probabilities do not fit the logits.
    """
    targets = soft[:, None] * old_probs + hard[:, None] * check_targets(labels, logits)
    return ((soft + hard) * logits.logsumexp(dim=1) - (targets * logits).sum(dim=1)).sum()


def weight_gradient(weights: Tensor, old_weights: Tensor, decay: float | Tensor, old_decay: float | Tensor) -> Tensor:
    """Return the gradient of the weight term, `decay w - old_decay w*`; decays broadcast to the weights."""
    return decay * weights - old_decay * old_weights


@torch.no_grad()
def remember(features: Tensor, head: Tensor, weight_decay: float | Tensor, weights: Tensor | None = None) -> KPrior:
    """Build the K-prior of a head, in float64.

    Args:
        features: `[M, D]`, features of the memory under the old model.
        head: `[K, D+1]`, the old head, bias last. The K-prior reproduces the past gradient if it is at the minimum.
        weight_decay: The `delta` of the past training, of the sum over samples: a weight decay of the mean loss times
            the number of samples. A number applies to all columns but the bias, a tensor `[D+1]` has one per column.
        weights: `[M]`, >= 0, the number of past inputs that each row represents; by default 1.

    Raises:
        ValueError: If shapes do not match, a value is not finite, or a weight or decay is negative.
    """
    features = features.detach().double()
    check_finite("features and head", features, head)
    check_matrix("head", head, (len(head), features.shape[1] + 1))
    head = head.detach().double() - head.detach().double().mean(dim=0)  # a shift of all classes has no effect
    weights = features.new_ones(len(features)) if weights is None else weights.to(features)
    if weights.shape != (len(features),) or not bool((weights >= 0).all()):
        raise ValueError(f"expected weights [{len(features)}], >= 0, found {list(weights.shape)}; one for each row")
    rows = append_bias(features)
    return KPrior(features, (rows @ head.T).softmax(dim=1), weights, head, decay_per_column(weight_decay, rows))


def with_features(prior: KPrior, features: Tensor, head: Tensor | None = None) -> KPrior:
    """Return the K-prior of the same memory under the features of another model; the predictions are kept.

    Args:
        prior: The K-prior.
        features: `[M, D']`, features of the same inputs, in the same order.
        head: `[K, D'+1]`, the old head in the new columns, for instance with its values in the shared columns and 0
            elsewhere. By default there is no weight term, which is distillation with decay.

    Returns:
        A K-prior in the new columns, with the old decay of the weights and of the bias.

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
