"""The ops of AutoAugment, RandAugment and TrivialAugment as rows of magnitudes in a `TransformSpace`.

These policies (Cubuk et al., 2019 and 2020; Müller and Hutter, 2021) draw from one list of ops in units of their own:
factors, tangents, pixels. Each op at each strength is a point of `classic_space()`, so a batch in which every image has
another op is one call. Strengths, bins and conventions are those of torchvision.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from augnet.ops.spatial import Interpolation
from augnet.space import TransformSpace

ClassicOp = Literal[
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize", "invert",
]  # fmt: skip
CLASSIC_OPS: tuple[ClassicOp, ...] = get_args(ClassicOp)
_SPACE = {
    "rotation": 180.0, "translate_x": 2.0, "translate_y": 2.0, "shear_x": 80.0, "shear_y": 80.0, "exposure": 8.0,
    "contrast": 8.0, "saturation": 8.0, "invert": 1.0, "posterize": 8.0, "solarize": 1.0, "equalize": 1.0,
    "autocontrast": 1.0, "sharpness": 10.0,
}  # fmt: skip
_FACTORS = {"brightness": "exposure", "color": "saturation", "contrast": "contrast"}
_SAME = ("sharpness", "posterize", "autocontrast", "equalize", "invert")  # name and unit as in the space
_UNSIGNED = ("identity", "posterize", "solarize", "autocontrast", "equalize", "invert")
_SMALLEST = 2.0**-8  # factor that stands for 0
_WHITE = 2.0**-10  # share of the range that holds only the highest of 256 levels


def classic_space(interpolation: Interpolation = "nearest") -> TransformSpace:
    """Return the space of all classic ops; torchvision's policies resample `nearest`, AugMix `bilinear`."""
    return TransformSpace(_SPACE, interpolation)


def apply_classic(images: Tensor, rows: Tensor, interpolation: Interpolation = "nearest") -> Tensor:
    """Transform each image `[B, C, H, W]` by its row `[B, P]` of `classic_space()`; carries gradient.

    With one channel `color` changes nothing, as in torchvision.

    Raises:
        ValueError: If the images have neither three channels nor one, or are integers.
    """
    space = classic_space(interpolation)
    if images.shape[1] == 1:
        kept = [name for name in space.names if name != "saturation"]
        rows = rows[:, [space.names.index(name) for name in kept]]
        space = TransformSpace({name: _SPACE[name] for name in kept}, interpolation)
    return space.apply(images, rows)


def classic_magnitudes(op: ClassicOp, magnitudes: Tensor, height: int, width: int) -> Tensor:
    """Return the rows `[B, P]` of `classic_space()` that apply one op at strengths `[B]` to images of a size in pixels.

    Magnitudes are tangents of shears, whole pixels of translations, degrees of rotations, the change of the factor (-1
    to 1) of brightness, color, contrast and sharpness, bits cleared by posterize, the inverted share of the range for
    solarize; 1 for the ops without strength.
    """
    space = classic_space()
    rows = dict.fromkeys(space.names, torch.zeros_like(magnitudes))
    shorter = min(height, width)
    if op in ("shear_x", "shear_y"):
        # torchvision shears about the top left corner: a shear about the center, and a shift
        across = height if op == "shear_x" else width
        rows[op] = -torch.atan(magnitudes) * (180 / math.pi)
        rows[op.replace("shear", "translate")] = -magnitudes * (across / 2 / shorter)
    elif op in ("translate_x", "translate_y"):
        rows[op] = magnitudes / shorter
    elif op in _FACTORS:
        rows[_FACTORS[op]] = torch.log2((1 + magnitudes).clamp(min=_SMALLEST))
    elif op == "solarize":
        rows["solarize"] = magnitudes.clamp(min=_WHITE)  # torchvision inverts pure white at strength 0
    elif op == "rotate":
        rows["rotation"] = magnitudes
    elif op in _SAME:
        rows[op] = magnitudes
    return torch.stack([rows[name] for name in space.names], dim=1)


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
        largest = (
            self.factor if op == "sharpness" or op in _FACTORS else self.rotation if op == "rotate" else self.shear
        )
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
