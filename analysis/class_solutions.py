"""`S_k`, the solve for the loss of one class: the first step of every influence on single classes."""

import torch
from torch import Tensor

from influence import LastLayerHessian, Solution, solve

_TOLERANCE, _ITERATIONS = 1e-6, 2000


@torch.no_grad()
def class_solutions(hessian: LastLayerHessian, gradients: Tensor) -> list[Solution]:
    """Solve `S_k = (H + damping)^-1 grad L_k` for each class.

    Args:
        hessian: Of the training loss, with damping.
        gradients: `[K, K, D+1]`, see `influence.class_gradients`.
    """
    return [solve(hessian, gradient, tol=_TOLERANCE, max_iterations=_ITERATIONS) for gradient in gradients]
