"""Conjugate gradients on `[K, D+1]` matrices, plain or preconditioned (Hestenes and Stiefel 1952).

For symmetric positive semi-definite `H` and a right-hand side in its range. Each iterate minimizes the H-norm of the
error over the Krylov space; started at 0, it therefore remains in the subspace of zero column sums, which contains
every loss gradient. About `sqrt(condition) / 2 * log(2 / tol)` products are needed.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian
from influence.solvers.half import HalfHessian
from influence.solvers.solution import Iterate

# products between two readings of the residual; on an accelerator a reading waits for the device
_CHECK_EVERY = {"cpu": 1}
_CHECK_EVERY_ELSEWHERE = 8
_HALF_REDUCTION = 0.1  # of the residual per run with bfloat16 products, which stall at 0.005 to 0.05


def conjugate_gradient(
    hessian: LastLayerHessian,
    gradient: Tensor,
    tol: float,
    max_iterations: int,
    initial: Tensor | None = None,
    precondition: Callable[[Tensor], Tensor] | None = None,
    half: HalfHessian | None = None,
) -> Iterate:
    """Solve `H S = g`, restarting from the true residual until that meets the tolerance.

    In float32 the residual of the recursion drifts from the true one. A restart recomputes it; restarts continue as
    long as each lowers the true residual by a tenth. With `half`, steps use its cheaper products and each run reduces
    the residual to a tenth (iterative refinement); after the first run that does not halve it, full products are used.
    A breakdown (`p^T H p` not positive or not finite) keeps the last finite iterate. At `max_iterations` the iterate is
    the best of its Krylov space in the H-norm, although its residual may exceed 1.

    Returns:
        The iterate, the number of Hessian products of all steps, and the true relative residual.
    """
    value = torch.zeros_like(gradient) if initial is None else initial.clone()
    remainder = gradient if initial is None else gradient - hessian @ value
    scale = float(gradient.norm())
    target, error, spent = tol * scale, float(remainder.norm()), 0
    aim = target
    while error > target and spent < max_iterations:
        goal = aim if half is None else max(0.9 * target, _HALF_REDUCTION * error)
        step, iterations = _run(half or hessian, remainder, goal, max_iterations - spent, precondition)
        spent += iterations
        step += value
        rest = gradient - hessian @ step
        previous, error = error, float(rest.norm())
        if half is not None:
            half = half if error < previous / 2 else None
            if not error < previous and spent < max_iterations:
                error = previous
                continue
        elif not error < 0.9 * previous:
            return Iterate(step, spent, error / scale)
        else:
            aim = target / 2  # a margin for the drift, from the second run on
        value, remainder = step, rest
    return Iterate(value, spent, error / scale)


def _run(
    operator: LastLayerHessian | HalfHessian,
    remainder: Tensor,
    target: float,
    max_iterations: int,
    precondition: Callable[[Tensor], Tensor] | None,
) -> tuple[Tensor, int]:
    """Run the recursion from zero, without waiting for the device between checks."""
    every = _CHECK_EVERY.get(remainder.device.type, _CHECK_EVERY_ELSEWHERE)
    remainder = remainder.clone()
    scaled = remainder if precondition is None else precondition(remainder)
    value, direction = torch.zeros_like(remainder), scaled.clone()
    product = _dot(remainder, scaled)
    alive = torch.isfinite(product) & (product > 0)
    for iteration in range(1, max_iterations + 1):
        image = operator @ direction
        curvature = _dot(direction, image)
        alive = alive & (curvature > 0) & torch.isfinite(curvature)
        if every > 1 or not bool(alive):
            direction, image = (torch.where(alive, part, torch.zeros_like(part)) for part in (direction, image))
        length = torch.where(alive, product / curvature, torch.zeros_like(product))
        value.addcmul_(direction, length)
        remainder.addcmul_(image, length, value=-1)
        if iteration % every == 0 and bool((remainder.norm() <= target) | ~alive):
            return value, iteration
        scaled = remainder if precondition is None else precondition(remainder)
        previous, product = product, _dot(remainder, scaled)
        direction.mul_(product / previous).add_(scaled)
    return value, max_iterations


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return torch.dot(first.flatten(), second.flatten())
