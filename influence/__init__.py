"""Influence functions of the last layer under softmax cross-entropy, from features, logits and targets; pure torch.

The mathematics is in docs/method.md.
"""

from influence.feature_bank import FeatureBank, Rows
from influence.k_priors import (
    KPrior,
    Memory,
    adapt_head,
    k_prior_objective,
    point_loss,
    remember,
    select_memory,
    uncertainty,
    weight_gradient,
    with_features,
)
from influence.last_layer import LastLayerHessian, append_bias, loss_gradient, residual
from influence.refit import Samples, refit_head
from influence.sample_influence import (
    class_gradients,
    replacement_influence,
    upweight_influence,
)
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
    "class_gradients",
    "k_prior_objective",
    "loss_gradient",
    "point_loss",
    "refit_head",
    "remember",
    "replacement_influence",
    "residual",
    "select_memory",
    "solve",
    "uncertainty",
    "upweight_influence",
    "weight_gradient",
    "with_features",
]
