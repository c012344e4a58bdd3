"""What an op is: a name, a unit, a bound, and a matrix as a function of its magnitude.

Every op is the identity at magnitude 0, grows stronger with the absolute magnitude, is differentiable in it, and
treats each image of a batch on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Op:
    """The part all ops share.

    Attributes:
        name: As users write it in a configuration.
        unit: Physical unit of the magnitude.
        bound: Default for the largest absolute magnitude a policy may draw, > 0.
        meaning: One line for tables and documentation: what a magnitude m does.
    """

    name: str
    unit: str
    bound: float
    meaning: str


@dataclass(frozen=True)
class SpatialOp(Op):
    """Moves pixels. Works for any number of channels.

    Attributes:
        matrix: Magnitudes `[B]` -> `[B, 3, 3]`, the map of the image content, in coordinates with the origin in
            the image centre, x to the right, y downwards, the shorter side of length 1.
    """

    matrix: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ColourOp(Op):
    """Maps the channels of each pixel linearly.

    Attributes:
        matrix: Magnitudes `[B]` and the mean colour of each image `[B, C]` -> `[B, C, C+1]`: output channels =
            matrix @ [input channels; 1].
        needs_rgb: Whether the op means anything only for red, green, blue.
    """

    matrix: Callable[[Tensor, Tensor], Tensor]
    needs_rgb: bool = False
