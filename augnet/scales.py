"""Strengths of the classic ops for each bin of a policy, and the table of all rows.

The numbers are those of torchvision's automatic policies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from augnet.classic import CLASSIC_OPS, ClassicOp, classic_magnitudes

_FACTORS = ("brightness", "color", "contrast", "sharpness")
_UNSIGNED = ("identity", "posterize", "solarize", "autocontrast", "equalize", "invert")


@dataclass(frozen=True)
class Scale:
    """The strengths of a policy, from the weakest bin to the strongest.

    Attributes:
        bins: Number of bins.
        shear: Largest shear, a tangent.
        pixels: Largest translation is `pixels + fraction * side`.
        fraction: See `pixels`.
        rotation: Largest angle in degrees.
        factor: Largest change of the factor of brightness, color, contrast, sharpness.
        bits: Bits cleared by the weakest and by the strongest posterize.
    """

    bins: int
    shear: float
    rotation: float
    factor: float
    bits: tuple[int, int]
    pixels: float = 0.0
    fraction: float = 0.0

    def strengths(self, op: ClassicOp, height: int, width: int) -> Tensor:
        """Return the strengths `[bins]` of one op in the units of `classic_magnitudes`, >= 0, float64."""
        if op == "posterize":
            first, last = self.bits
            return first + (torch.arange(self.bins) / ((self.bins - 1) / (last - first))).round().double()
        if op == "solarize":
            # midway between two levels, so that 8-bit images compare as in torchvision at any precision
            thresholds = (torch.linspace(1.0, 0.0, self.bins).double() * 255).float().ceil() - 0.5
            return 1 - thresholds.double() / 255
        if op in _UNSIGNED:
            return torch.ones(self.bins, dtype=torch.float64)
        if op.startswith("translate"):
            side = width if op == "translate_x" else height
            return torch.linspace(0.0, self.pixels + self.fraction * side, self.bins).trunc().double()
        largest = self.factor if op in _FACTORS else self.rotation if op == "rotate" else self.shear
        return torch.linspace(0.0, largest, self.bins).double()


@lru_cache(maxsize=64)
def table(scale: Scale, ops: tuple[ClassicOp, ...], height: int, width: int) -> Tensor:
    """Return the rows of `classic_space()` for every op, strength and sign, `[ops, bins, 2, P]` float64; read-only.

    Sign 0 is negative. Ops without sign have the same row twice, so that op, bin and sign are one draw.
    """
    rows = []
    for op in ops:
        positive = scale.strengths(op, height, width)
        signed = torch.stack([positive if op in _UNSIGNED else -positive, positive], dim=1)
        rows.append(classic_magnitudes(op, signed.flatten(), height, width).unflatten(0, signed.shape))
    return torch.stack(rows)


RAND_OPS: tuple[ClassicOp, ...] = tuple(op for op in CLASSIC_OPS if op != "invert")  # of Trivial- and RandAugment
TRIVIAL = Scale(bins=31, shear=0.99, rotation=135.0, factor=0.99, bits=(0, 6), pixels=32.0)
RAND = Scale(bins=31, shear=0.3, rotation=30.0, factor=0.9, bits=(0, 4), fraction=150 / 331)
AUTO = replace(RAND, bins=10)
MIX = Scale(bins=10, shear=0.3, rotation=30.0, factor=0.9, bits=(4, 8), fraction=1 / 3)
