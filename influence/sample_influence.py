"""Influence of training samples on the validation loss, given the solution `S = H^-1 g_val`.

    up-weighting   I_up(z)     = -<S, r a^T> = -r^T S a,  r = p - q          (Lee et al. 2020, Eq. 14)
    replacement    I_aug(z, y) = I_up(y) - I_up(z)                           (Eq. 15-16)
    removal        change of the validation loss = -I_up(z) / N              (Eq. 9, Koh & Liang 2017)

A negative up-weighting influence means that a higher weight of the sample lowers the validation loss; a good
augmentation has `I_aug < 0`. The influence is unbounded below in the features (linear in `a` for a confidently wrong
sample), so a cost that minimizes it needs a trust region.

Axes: B samples, D features, K classes; `a = [h; 1]`. Source: docs/method.md, "Influence" and "Class effects".
"""

import torch
from torch import Tensor

from influence.checks import check_finite, check_matrix, check_rows, check_targets
from influence.last_layer import CROSS_ENTROPY, append_bias
from influence.losses import Loss
from influence.precision import full_precision, project
from influence.solvers.solution import Solution


def upweight_influence(
    solution: Solution | Tensor, features: Tensor, logits: Tensor, targets: Tensor, loss: Loss = CROSS_ENTROPY
) -> Tensor:
    """Return the derivative of the validation loss in the weight of each sample, `-r^T S [h; 1]`.

    It equals minus the derivative of the sample's own loss as the last layer moves along `S`.

    Args:
        solution: `S`, the result of `solve` or a matrix `[K, D+1]`; detached.
        features: `[B, D]`; carries gradient.
        logits: `[B, K]`; carries gradient.
        targets: As the loss takes them, for cross-entropy `[B]` int64 or `[B, K]` probabilities.
        loss: Of one sample; `r` is its derivative in the logits, `p - q` for cross-entropy.

    Returns:
        `[B]`; negative is good.

    Raises:
        TypeError: If labels are not int64 or features and logits are not floating point.
        ValueError: If shapes do not match or targets are invalid.
    """
    matrix = (solution.value if isinstance(solution, Solution) else solution).detach()
    features, logits = check_rows(features, logits)
    check_matrix("a solution", matrix, (logits.shape[1], features.shape[1] + 1))
    with full_precision(features):
        return -loss.slope(logits, targets, project(append_bias(features), matrix.to(features)))


def replacement_influence(
    solution: Solution | Tensor,
    original: tuple[Tensor, Tensor, Tensor],
    replacement: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Return the influence of replacing each sample, `I_up(new) - I_up(old)`.

    Divided by the number of training samples it predicts the change of the validation loss; replacements are additive
    to first order.

    Args:
        solution: `S`, the result of `solve` or a matrix `[K, D+1]`; detached.
        original: Features `[B, D]`, logits `[B, K]` and targets of the samples in the training set; detached.
        replacement: The same of their replacements; features and logits carry gradient.

    Returns:
        `[B]`; negative is good.

    Raises:
        TypeError: If labels are not int64 or features and logits are not floating point.
        ValueError: If shapes do not match or targets are invalid.
    """
    if len(original[0]) != len(replacement[0]):
        raise ValueError(
            f"expected one replacement per original, found {len(replacement[0])} for {len(original[0])}; pair the rows"
        )
    features, logits, targets = original
    before = upweight_influence(solution, features.detach(), logits.detach(), targets.detach())
    return upweight_influence(solution, *replacement) - before


@torch.no_grad()
def class_gradients(features: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of the mean loss of each class; its solution gives the influence on that class.

    The loss of class `c` is `sum_i q_ic (-log p_ic) / sum_i q_ic`; the sum of the gradients weighted by the shares of
    the classes is `loss_gradient`, for hard and for soft targets.

    Args:
        features: `[N, D]`.
        logits: `[N, K]`.
        targets: `[N]` int64 or `[N, K]` probabilities.

    Returns:
        `[K, K, D+1]`, detached; the first axis is the class of the loss. Zero for a class without samples.

    Raises:
        TypeError: If labels are not int64 or features and logits are not floating point.
        ValueError: If shapes or targets are invalid, or a value is not finite.
    """
    features, logits = check_rows(features, logits)
    check_finite("features and logits", features, logits)
    classes = logits.shape[1]
    with full_precision(features):
        shares = check_targets(targets, logits)  # [N, K]
        totals = shares.sum(dim=0)
        rows, probs = append_bias(features), logits.softmax(dim=1)
        gradients = rows.new_zeros(classes, classes, rows.shape[1])
        for c in range(classes):
            chosen = shares[:, c].nonzero().squeeze(1)
            share = shares[chosen, c] / totals[c]
            error = probs[chosen]  # a copy
            error[:, c] -= 1
            gradients[c] = (error * share[:, None]).T @ rows[chosen]
        return gradients
