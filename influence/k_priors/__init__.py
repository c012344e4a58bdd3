"""Knowledge-adaptation priors: adapt a model to changed data or decay from a small memory of its past."""

from influence.k_priors.head_adaptation import adapt_head, k_prior_objective
from influence.k_priors.memory import Memory, Selection, select_memory, uncertainty
from influence.k_priors.prior import KPrior, point_loss, remember, weight_gradient, with_features

__all__ = [
    "KPrior",
    "Memory",
    "Selection",
    "adapt_head",
    "k_prior_objective",
    "point_loss",
    "remember",
    "select_memory",
    "uncertainty",
    "weight_gradient",
    "with_features",
]
