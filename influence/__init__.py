"""Last-layer influence for softmax cross-entropy: features, logits, targets in, influence out. Pure torch."""

from influence.feature_bank import FeatureBank, Rows
from influence.head_adaptation import adapt_head, k_prior_objective
from influence.k_prior import KPrior, point_loss, remember, weight_gradient, with_features
from influence.last_layer import LastLayerHessian, append_bias, loss_gradient, residual
from influence.memory import Memory, select_memory, uncertainty
from influence.objectives import (
    class_frequencies,
    class_gradients,
    removal_change,
    replacement_influence,
    upweight_influence,
)
from influence.refit import Samples, refit_head
from influence.solvers import ConvergenceWarning, Solution, solve

__all__ = [
    "ConvergenceWarning",
    "FeatureBank",
    "KPrior",
    "LastLayerHessian",
    "Memory",
    "Rows",
    "Samples",
    "Solution",
    "adapt_head",
    "append_bias",
    "class_frequencies",
    "class_gradients",
    "k_prior_objective",
    "loss_gradient",
    "point_loss",
    "refit_head",
    "remember",
    "removal_change",
    "replacement_influence",
    "residual",
    "select_memory",
    "solve",
    "uncertainty",
    "upweight_influence",
    "weight_gradient",
    "with_features",
]
