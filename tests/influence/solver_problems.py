"""Linear systems for the solvers, in float64."""

from typing import Any

import torch
from influence_cases import Case, case, clusters
from torch import Tensor

from influence import LastLayerHessian, append_bias, loss_gradient
from influence.curvature import SoftmaxCurvature


def problem(layer: Case, **options: Any) -> tuple[LastLayerHessian, Tensor]:
    """The damped Hessian, and the gradient of other rows of the same layer."""
    other = case(rows=16, features=layer.features.shape[1], classes=len(layer.head), seed=9)
    gradient = loss_gradient(other.features, append_bias(other.features) @ layer.head.T, other.targets)
    return layer.hessian(**({"damping": 0.1} | options)), gradient


def exact(hessian: LastLayerHessian, gradient: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve(hessian.dense(), gradient.flatten())
    return solved.view_as(gradient)


def ill_conditioned(damping: float = 1e-3, rows: int = 400) -> tuple[LastLayerHessian, Tensor]:
    """Features of very different scale."""
    features, labels = clusters(rows, seed=0, features=40)
    features = features * torch.logspace(0, -1.5, 40, dtype=torch.float64)
    head = torch.zeros(3, 41, dtype=torch.float64)
    for _ in range(5):
        head -= 2 * loss_gradient(features, append_bias(features) @ head.T, labels)
    logits = append_bias(features) @ head.T
    gradient = loss_gradient(features[:50], logits[:50], labels[:50].roll(1))
    return LastLayerHessian(features, logits, damping=damping), gradient


def in_single_precision(hessian: LastLayerHessian, damping: float) -> LastLayerHessian:
    """The same rows in float32."""
    assert isinstance(hessian.curvature, SoftmaxCurvature)
    return LastLayerHessian(hessian.rows[:, :-1].float(), hessian.curvature.probs.float().log(), damping=damping)
