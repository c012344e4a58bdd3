"""Last-layer influence for softmax cross-entropy: features, logits, targets in, influence out. Pure torch."""

from influence.agreement import Agreement, agreement
from influence.audit import removal_report, replacement_report
from influence.feature_bank import FeatureBank, Rows
from influence.last_layer import LastLayerHessian, append_bias, loss_gradient, residual
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
    "Agreement",
    "ConvergenceWarning",
    "FeatureBank",
    "LastLayerHessian",
    "Rows",
    "Samples",
    "Solution",
    "agreement",
    "append_bias",
    "class_frequencies",
    "class_gradients",
    "loss_gradient",
    "refit_head",
    "removal_change",
    "removal_report",
    "replacement_influence",
    "replacement_report",
    "residual",
    "solve",
    "upweight_influence",
]
