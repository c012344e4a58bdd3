"""Differentiable image operations, one file per family, and the registry that names them."""

from augnet.ops.base import ColourOp, MirrorOp, MixingOp, Op, PixelOp, SpatialOp
from augnet.ops.registry import OPS, find_op

__all__ = ["OPS", "ColourOp", "MirrorOp", "MixingOp", "Op", "PixelOp", "SpatialOp", "find_op"]
