"""Products in float32 or float64 under autocast, whose bfloat16 would stall a solve at a residual of about 1e-2."""

from typing import Any

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context in which autocast is off on the device of `tensor`."""
    return torch.autocast(tensor.device.type, enabled=False)


def upcast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Convert floating-point tensors to one type: float64 if one of them is float64, float32 otherwise.

    Raises:
        TypeError: If a tensor is not real floating point.
    """
    for tensor in tensors:
        if not tensor.is_floating_point():
            raise TypeError(f"expected floating point values, found {tensor.dtype}; convert with .float()")
    dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    return tuple(tensor.to(dtype) for tensor in tensors)


def project(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return `rows @ matrix.T`, computed and differentiated (backward and forward mode) without autocast.

    The backward pass of a plain product obeys the autocast state at the time of `backward`, which is on when a
    training step calls `backward` itself (Lightning's manual optimization). `rows` `[B, D+1]` carry gradient, `matrix`
    `[K, D+1]` is a constant.
    """
    projected: Tensor = _Projection.apply(rows, matrix)
    return projected


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(rows: Tensor, matrix: Tensor) -> Tensor:
        with full_precision(rows):
            return rows @ matrix.T

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (matrix,) = ctx.saved_tensors
        with full_precision(gradient):
            return gradient @ matrix, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (matrix,) = ctx.saved_tensors
        return project(tangent, matrix)  # so that directional derivatives can be nested
