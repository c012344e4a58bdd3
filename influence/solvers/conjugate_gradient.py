"""Conjugate gradients on `[K, D+1]` matrices, plain or preconditioned (Hestenes & Stiefel 1952).

For symmetric positive semi-definite `H` and a right-hand side in its range; it minimises the H-norm of the
error over the Krylov space, so started at 0 it never leaves the subspace of zero column sums in which every
loss gradient lies. About `sqrt(condition) / 2 * log(2 / tol)` products.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.solvers.solution import Iterate, shared_norm

# products between two readings of the residual: on an accelerator, reading waits for the device
_CHECK_EVERY = {"cpu": 1}
_CHECK_EVERY_ELSEWHERE = 8


def conjugate_gradient(
    hessian: LastLayerHessian,
    gradient: Tensor,
    tol: float,
    max_iterations: int,
    initial: Tensor | None = None,
    precondition: Callable[[Tensor], Tensor] | None = None,
) -> Iterate:
    """Solve `H S = g`, restarting from the true residual until that meets the tolerance.

    The residual carried by the recursion drifts from the true one in float32; a restart replaces it, for as
    long as that lowers the true residual by a tenth. A breakdown (`p^T H p` not positive or not finite) keeps
    the last good iterate. Cut short, the iterate is still the best of its Krylov space in the H-norm, though
    its residual may exceed 1.

    Returns:
        The iterate and the number of Hessian products spent on steps.
    """
    value = torch.zeros_like(gradient) if initial is None else initial.clone()
    remainder = gradient if initial is None else gradient - hessian @ value
    target = tol * shared_norm(hessian, gradient)
    error, spent = shared_norm(hessian, remainder), 0
    aim = target
    while error > target and spent < max_iterations:
        step, iterations = _run(hessian, remainder, aim, max_iterations - spent, precondition)
        value, spent = value + step, spent + iterations
        remainder = gradient - hessian @ value
        previous, error = error, shared_norm(hessian, remainder)
        if not error < 0.9 * previous:
            break
        aim = target / 2  # margin for the drift, from the second run on
    return value, spent


def _run(
    hessian: LastLayerHessian,
    remainder: Tensor,
    target: float,
    max_iterations: int,
    precondition: Callable[[Tensor], Tensor] | None,
) -> Iterate:
    """One run of the recursion from zero, without waiting for the device between checks."""
    every = _CHECK_EVERY.get(remainder.device.type, _CHECK_EVERY_ELSEWHERE)
    scaled = remainder if precondition is None else precondition(remainder)
    value, direction = torch.zeros_like(remainder), scaled
    product = (remainder * scaled).sum()
    alive = torch.isfinite(product) & (product > 0)
    for iteration in range(1, max_iterations + 1):
        image = hessian @ direction
        curvature = (direction * image).sum()
        alive = alive & (curvature > 0) & torch.isfinite(curvature)
        length = torch.where(alive, product / curvature, torch.zeros_like(product))
        value = value + torch.where(alive, length * direction, torch.zeros_like(direction))
        remainder = remainder - torch.where(alive, length * image, torch.zeros_like(image))
        if iteration % every == 0 and _stop(hessian, remainder, alive, target):
            return value, iteration
        scaled = remainder if precondition is None else precondition(remainder)
        previous, product = product, (remainder * scaled).sum()
        direction = scaled + (product / previous) * direction
    return value, max_iterations


def _stop(hessian: LastLayerHessian, remainder: Tensor, alive: Tensor, target: float) -> bool:
    """Read the state once; summed over ranks so that all of them stop together."""
    status = torch.stack([remainder.norm() <= target, ~alive]).to(remainder)
    return bool(hessian.all_reduce(status).max() > 0)
