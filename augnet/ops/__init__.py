"""Differentiable image operations, one file per family, and their registry."""

import warnings
from typing import Any

from augnet.ops.base import ColorOp, MirrorOp, MixingOp, Op, PixelOp, SpatialOp
from augnet.ops.registry import OPS, find_op

__all__ = ["OPS", "ColorOp", "MirrorOp", "MixingOp", "Op", "PixelOp", "SpatialOp", "find_op"]


def __getattr__(name: str) -> Any:
    """Return `ColorOp` for its name in version 0.1.0, with a DeprecationWarning."""
    if name != "ColourOp":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("augnet.ops.ColourOp is augnet.ops.ColorOp now", DeprecationWarning, stacklevel=2)
    return ColorOp
