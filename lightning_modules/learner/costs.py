"""What each augmented image costs: its bounded influence, and what holds the policy in the region where that is true.

    c_i = b tanh(I_i / (b rms(I)))                                          bounded influence, of typical size 1
        + huber(max(0, ||h~_i - h_i|| / (radius spread) - 1))               trust region in feature space
        + identity mean (x~_i - x_i)^2 + label CE(F(x~_i), y_i)             identity and label retention
        + max(0, rms(x~ - x) / budget - 1) mean (x~_i - x_i)^2 / budget^2   budget of strength, over the batch

The policy itself costs `sparsity sum_p w_p / bound_p` (ranges) or `kl KL(mixture, prior)`, once an update.

The influence has no lower bound: it is linear in the features of a confidently wrong image, and its prediction holds
only near the original (at a feature move above the spread of a class the true loss rises while the predicted one goes
on falling). The first line bounds what an image can promise, the second how far it can go for it; the weights of the
others are 0.02 and 0.1 in the one stable re-implementation of the paper's own network [SECOND].

Axes: B images, D features, K classes. Source of the influence: Lee, Park, Pham and Yoo, CVPR 2020, Eq. 14.
"""

import torch
from torch import Tensor, nn

from augnet.policies import MixturePolicy, Policy, RangeTable
from lightning_modules.learner.settings import LearnerSettings


def bounded(influence: Tensor, size: Tensor, clip: float) -> Tensor:
    """Influence over its size, held within `clip` multiples of it; carries gradient.

    Args:
        influence: `[B]`.
        size: Root mean square of the influences of the whole batch; a constant.
        clip: The bound, > 0.

    Returns:
        `[B]` in (-clip, clip), without unit.
    """
    return clip * torch.tanh(influence / (clip * size))


def feature_move(original: Tensor, augmented: Tensor, spread: Tensor) -> Tensor:
    """How far each image moved in feature space, in multiples of the spread of the features.

    Args:
        original: Features `[B, D]` of the images before the policy; constants.
        augmented: Features `[B, D]` behind it; carry gradient.
        spread: See `feature_spread`; a constant.

    Returns:
        `[B]`.
    """
    tiny = torch.finfo(spread.dtype).tiny
    move = (augmented.to(spread) - original.to(spread)).square().sum(dim=1)
    return (move + tiny).sqrt() / spread  # the root has no gradient at 0


def feature_spread(features: Tensor) -> Tensor:
    """Root mean square distance of features `[B, D]` from their mean, a scalar > 0."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    spread = (features - features.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    return spread.clamp(min=torch.finfo(spread.dtype).eps)


def beyond(move: Tensor, radius: float) -> Tensor:
    """Cost `[B]` of a move beyond the radius; carries gradient.

    With the excess `e` as a share of the radius: `e^2 / 2`, from `e = 1` on `e - 1/2`, so that a classifier that knows
    nothing yet, whose features hardly spread, does not drown the influence.
    """
    excess = (move / radius - 1).clamp(min=0)
    return nn.functional.huber_loss(excess, torch.zeros_like(excess), reduction="none")


def pixel_change(original: Tensor, augmented: Tensor) -> Tensor:
    """Mean squared change of a pixel of each image, `[B]`; carries gradient to `augmented`."""
    return (augmented - original).square().flatten(1).mean(dim=1)


def strength_costs(change: Tensor, mean: Tensor, settings: LearnerSettings) -> Tensor:
    """Costs `[B]` of changing pixels: the identity term, and the excess over the budget.

    The budget is one on the batch: with `excess = max(0, rms / budget - 1)` every image pays `excess / budget^2` for
    each unit of its own mean squared change, the slope of `budget excess^2` up to a factor.

    Args:
        change: `[B]`, see `pixel_change`; carries gradient.
        mean: Its mean over the whole batch; a constant.
        settings: `identity` and `budget`.
    """
    costs = settings.identity * change
    if settings.budget is not None:
        excess = (mean.sqrt() / settings.budget - 1).clamp(min=0)
        costs = costs + excess * change / settings.budget**2
    return costs


def label_costs(logits: Tensor, targets: Tensor, weight: float) -> Tensor:
    """Cross-entropy `[B]` of the augmented images against targets `[B]` or `[B, K]`, weighted; carries gradient."""
    return weight * nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def policy_cost(policy: Policy, settings: LearnerSettings) -> Tensor | None:
    """What the policy itself costs, a scalar that carries gradient to it; None where nothing of it is weighted.

    It is not part of what a control spoils.

    Args:
        policy: A mixture pays for its divergence from its prior, ranges for their share of their bounds.
        settings: `kl` and `sparsity`.
    """
    if isinstance(policy, MixturePolicy) and settings.kl:
        return settings.kl * policy.kl()
    if isinstance(policy, RangeTable) and settings.sparsity:
        return settings.sparsity * policy.extent()
    return None
