"""`S_k`, the solve for the loss of one class, that every question about single classes begins with."""

import torch
from torch import Tensor

from influence import LastLayerHessian, Solution, solve

_TOLERANCE, _ITERATIONS = 1e-6, 2000


@torch.no_grad()
def class_solutions(hessian: LastLayerHessian, gradients: Tensor) -> list[Solution]:
    """`S_k = (H + damping)^-1 grad L_k` of each class.

    Args:
        hessian: Of the training loss, with damping.
        gradients: `[K, K, D+1]`, see `influence.class_gradients`.
    """
    return [solve(hessian, gradient, tol=_TOLERANCE, max_iterations=_ITERATIONS) for gradient in gradients]
