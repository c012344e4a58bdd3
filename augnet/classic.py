"""The ops of AutoAugment, RandAugment and TrivialAugment as rows of magnitudes in a `TransformSpace`.

These policies (Cubuk et al., 2019 and 2020; Müller and Hutter, 2021) draw from one list of ops in units of their own:
factors, tangents, pixels. Each op at each strength is a point of `classic_space()`, so a batch in which every image has
another op is one call. Strengths and conventions are those of torchvision.
"""

from __future__ import annotations

import math
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
_SMALLEST = 2.0**-8  # factor that stands for 0
_WHITE = 2.0**-10  # share of the range that holds only the highest of 256 levels


def classic_space(interpolation: Interpolation = "nearest") -> TransformSpace:
    """Return the space of all classic ops; torchvision's policies resample `nearest`, AugMix `bilinear`."""
    return TransformSpace(_SPACE, interpolation)


def classic_magnitudes(op: ClassicOp, magnitudes: Tensor, height: int, width: int) -> Tensor:
    """Return the rows of `classic_space()` that apply one op at the given strengths.

    Args:
        op: Name as in the papers.
        magnitudes: `[B]`: tangents of shears, whole pixels of translations, degrees of rotations, the change of the
            factor (-1 to 1) of brightness, color, contrast and sharpness, bits cleared by posterize, the inverted
            share of the range for solarize; 1 for the ops without strength.
        height: Of the images, in pixels.
        width: Of the images, in pixels.

    Returns:
        `[B, P]`.
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
