"""The ops of AutoAugment, RandAugment and TrivialAugment as rows of magnitudes in a space of this project.

The classic policies (Cubuk et al., 2019 and 2020; Müller and Hutter, 2021) draw from one list of ops with scales of
their own: factors, tangents, pixels. Each is a point of `classic_space()`, so that whole batches of them, every image
with its own op, are one call. Strengths and conventions are those of torchvision.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from augnet.space import TransformSpace
from augnet.strengths import StrengthTable

ClassicOp = Literal[
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize", "invert",
]  # fmt: skip
CLASSIC_OPS: tuple[ClassicOp, ...] = get_args(ClassicOp)
_SPACE = {
    "rotation": 180.0, "translate_x": 2.0, "translate_y": 2.0, "shear_x": 80.0, "shear_y": 80.0, "exposure": 8.0,
    "contrast": 8.0, "saturation": 8.0, "invert": 1.0, "posterise": 8.0, "solarise": 1.0, "equalise": 1.0,
    "autocontrast": 1.0, "sharpness": 10.0,
}  # fmt: skip
_FACTORS = {"brightness": "exposure", "color": "saturation", "contrast": "contrast"}
_SAME = {
    "rotate": "rotation",
    "sharpness": "sharpness",
    "posterize": "posterise",
    "autocontrast": "autocontrast",
    "equalize": "equalise",
    "invert": "invert",
}
_SMALLEST = 2.0**-8  # factor, in place of 0
_STRENGTHS = 31
_FACTOR, _TANGENT = "change of the factor", "tangent"
# TrivialAugment's wide space: op -> unit, largest strength, whether its sign is drawn
_TRIVIAL_AUGMENT: dict[ClassicOp, tuple[str, float, bool]] = {
    "identity": ("none", 0.0, False),
    "shear_x": (_TANGENT, 0.99, True), "shear_y": (_TANGENT, 0.99, True),
    "translate_x": ("pixels", 32.0, True), "translate_y": ("pixels", 32.0, True),
    "rotate": ("degrees", 135.0, True),
    "brightness": (_FACTOR, 0.99, True), "color": (_FACTOR, 0.99, True),
    "contrast": (_FACTOR, 0.99, True), "sharpness": (_FACTOR, 0.99, True),
    "posterize": ("bits cleared", 6.0, False), "solarize": ("inverted share of the range", 1.0, False),
    "autocontrast": ("share", 1.0, False), "equalize": ("share", 1.0, False),
}  # fmt: skip
_FIXED = ("identity", "autocontrast", "equalize")  # have no strength
_WHITE = 2.0**-10  # share of the range that only the highest of 256 levels lies in


def classic_space() -> TransformSpace:
    """The space in which all classic ops lie; nearest-pixel resampling, as in torchvision's policies."""
    return TransformSpace(_SPACE, interpolation="nearest")


def classic_magnitudes(op: ClassicOp, magnitudes: Tensor, height: int, width: int) -> Tensor:
    """Rows of `classic_space()` that do one op at the given strengths.

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
        # torchvision shears about the top left corner: about the centre, and a shift
        across = height if op == "shear_x" else width
        rows[op] = -torch.atan(magnitudes) * (180 / math.pi)
        rows[op.replace("shear", "translate")] = -magnitudes * (across / 2 / shorter)
    elif op in ("translate_x", "translate_y"):
        rows[op] = magnitudes / shorter
    elif op in _FACTORS:
        rows[_FACTORS[op]] = torch.log2((1 + magnitudes).clamp(min=_SMALLEST))
    elif op == "solarize":
        rows["solarise"] = magnitudes.clamp(min=_WHITE)  # at 0 torchvision still inverts pure white
    elif op in _SAME:
        rows[_SAME[op]] = magnitudes
    return torch.stack([rows[name] for name in space.names], dim=1)


def trivial_augment_table() -> StrengthTable:
    """The 14 ops of TrivialAugment-Wide (Müller and Hutter, 2021) with torchvision's strengths, in `classic_space()`.

    TrivialAugment itself draws op, strength and sign uniformly from it.
    """
    return StrengthTable(
        kind="trivial_augment",
        names=tuple(_TRIVIAL_AUGMENT),
        units=tuple(unit for unit, _, _ in _TRIVIAL_AUGMENT.values()),
        strongest=tuple(strongest for _, strongest, _ in _TRIVIAL_AUGMENT.values()),
        adjustable=tuple(op not in _FIXED for op in _TRIVIAL_AUGMENT),
        strengths=_STRENGTHS,
        rows=_trivial_augment_rows,
    )


@lru_cache(maxsize=16)
def _trivial_augment_rows(height: int, width: int) -> Tensor:
    rows = []
    for op, (_, strongest, signed) in _TRIVIAL_AUGMENT.items():
        levels = torch.full((_STRENGTHS,), strongest) if op in _FIXED else torch.linspace(0, strongest, _STRENGTHS)
        if op in ("translate_x", "translate_y"):
            levels = levels.trunc()
        elif op == "posterize":
            levels = levels.round()
        both = torch.cat([levels, -levels if signed else levels])
        rows.append(classic_magnitudes(op, both, height, width).unflatten(0, (2, _STRENGTHS)))
    return torch.stack(rows)
