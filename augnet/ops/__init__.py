"""Differentiable image operations, one file per family, and the registry that names them."""

from augnet.ops.base import ColourOp, Op, SpatialOp
from augnet.ops.registry import OPS, find_op

__all__ = ["OPS", "ColourOp", "Op", "SpatialOp", "find_op"]
