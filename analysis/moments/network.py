"""Moments of the outputs of a network for a random image, from the moments of the image, without sampling.

With J the Jacobian at the mean image, p the probabilities there, and F the columns of the image's factor:

    Cov f  ~ J Sigma J^T = (J F)(J F)^T
    E f    ~ f(mu) + 1/2 sum_k f''[F_k, F_k]                            second order, Hessian
    E L    ~ L(mu) + 1/2 tr(J^T (diag p - p p^T) J Sigma)               cross-entropy, Gauss-Newton
    Var L  ~ g^T Sigma g = ||F^T g||^2                                  first order, g the gradient of the loss

The first two are exact for linear functions; otherwise the error is the remainder of Taylor's series and grows with
the strength of the augmentation. The second derivative of a ReLU network is 0 except at its kinks, so the Hessian of
the logits is 0 and the second-order loss is the Gauss-Newton one; finite differences (`step` in `curvature`) see the
kinks too. `docs/method.md`, "Moments".

A function takes `[B, ...]` to `[B, ...]`, row by row: evaluation mode, no batch statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.func import jvp, vjp

from .factored import Moments

Function = Callable[[Tensor], Tensor]


def output_moments(function: Function, moments: Moments) -> Moments:
    """Return the first-order moments of `f(t)`, `[k]`: mean `f(mu)`, factor `J F`; exact for linear functions.

    J F comes from one product per column or per output, whichever are fewer.
    """
    value = function(moments.mean[None])[0]
    if len(moments.factor) <= value.numel():
        columns = [_along(function, moments.mean, part) for part in moments.columns()]
        return Moments(value, torch.cat([value.new_zeros(0, *value.shape), *columns]))
    jacobian = _jacobian(function, moments.mean, value)
    return Moments(value, moments.factor.flatten(1) @ jacobian.T)


def curvature(function: Function, moments: Moments, step: float | None = None) -> Tensor:
    """Return `1/2 sum_k f''[F_k, F_k]`, the second-order term of `E f`.

    Args:
        function: See above.
        moments: Of the input.
        step: None takes the derivative at the mean, by two nested Jacobian-vector products. A number > 0 takes the
            second difference over so many of each column instead, two evaluations each: 1 is a standard deviation
            of a principal direction, if `moments` is `compressed`.

    Returns:
        A tensor of the shape of one output.

    Raises:
        ValueError: If the step is not positive.
    """
    if step is not None and not step > 0:
        raise ValueError(f"step must be positive, found {step}; 1 is a standard deviation.")
    value = function(moments.mean[None])[0]
    total = torch.zeros_like(value)
    for part in moments.columns(64):
        if step is None:
            total = total + _second(function, moments.mean, part).sum(dim=0) / 2
        else:
            outer = function(moments.mean + step * part) + function(moments.mean - step * part)
            total = total + (outer / 2 - value).sum(dim=0) / step**2
    return total


class LossMoments(NamedTuple):
    """Cross-entropy of a random image."""

    at_mean: Tensor  # of the mean image, zeroth order
    gauss_newton: Tensor  # its expectation, second order
    variance: Tensor  # first order


def loss_moments(function: Function, moments: Moments, target: Tensor) -> LossMoments:
    """Return moments of the cross-entropy of logits `f(t)` with a target `[K]` of probabilities."""
    logits = output_moments(function, moments)
    log_probs = logits.mean.log_softmax(dim=0)
    probs = log_probs.exp()
    loss = -(target * log_probs).sum()
    second_order = loss + softmax_curvature(probs, logits.factor).sum() / 2
    return LossMoments(loss, second_order, logits.quadratic(probs - target))


def softmax_curvature(probs: Tensor, columns: Tensor) -> Tensor:
    """Return `v^T (diag p - p p^T) v` for every row v of `columns`, `[..., K]` each; `[...]`, >= 0."""
    mean = (probs * columns).sum(dim=-1, keepdim=True)
    return (probs * (columns - mean).square()).sum(dim=-1)


def loss_gradient(function: Function, image: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of the cross-entropy of logits in the image, of its shape: the saliency."""
    return pull(function, image[None], lambda logits: logits.softmax(dim=1) - target)[0]


def push(function: Function, places: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and directional derivatives, row by row; both carry gradient.

    No two of the places `[R, ...]` share memory.
    """
    values, changes = cast(tuple[Tensor, Tensor], jvp(function, (places,), (directions,)))
    return values, changes


def pull(function: Function, places: Tensor, weights: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the gradient of `<w, f(places)>` in the places, row by row; detached. `weights` takes the values to w."""
    values, backwards = cast(tuple[Tensor, Callable[[Tensor], tuple[Tensor]]], vjp(function, places))
    return backwards(weights(values))[0].detach()


def _along(function: Function, at: Tensor, directions: Tensor) -> Tensor:
    """Return derivatives of one function in several directions `[R, ...]`."""
    return push(function, at.expand_as(directions).clone(), directions)[1]


def _second(function: Function, at: Tensor, directions: Tensor) -> Tensor:
    return _along(lambda here: push(function, here, directions)[1], at, directions)


def _jacobian(function: Function, at: Tensor, value: Tensor) -> Tensor:
    """Return the Jacobian `[k, D]`, by one product from the left for each output, all in one batch."""
    outputs = value.numel()
    unit = torch.eye(outputs, dtype=value.dtype, device=value.device).view(outputs, *value.shape)
    return pull(function, at.expand(outputs, *at.shape).clone(), lambda _: unit).flatten(1)
