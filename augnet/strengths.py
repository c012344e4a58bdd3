"""Strength tables, the finite set of transforms of a mixture as rows of magnitudes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from augnet.classic import TRIVIAL, ClassicOp, table
from augnet.space import TransformSpace

_FACTOR, _TANGENT = "change of the factor", "tangent"
# TrivialAugment's ops: unit and largest strength, 0 for the identity
_TRIVIAL_UNITS: dict[ClassicOp, tuple[str, float]] = {
    "identity": ("none", 0.0),
    "shear_x": (_TANGENT, TRIVIAL.shear), "shear_y": (_TANGENT, TRIVIAL.shear),
    "translate_x": ("pixels", TRIVIAL.pixels), "translate_y": ("pixels", TRIVIAL.pixels),
    "rotate": ("degrees", TRIVIAL.rotation),
    "brightness": (_FACTOR, TRIVIAL.factor), "color": (_FACTOR, TRIVIAL.factor),
    "contrast": (_FACTOR, TRIVIAL.factor), "sharpness": (_FACTOR, TRIVIAL.factor),
    "posterize": ("bits cleared", TRIVIAL.bits[1]), "solarize": ("inverted share of the range", 1.0),
    "autocontrast": ("share", 1.0), "equalize": ("share", 1.0),
}  # fmt: skip
_FIXED = ("identity", "autocontrast", "equalize")  # ops without strength


@dataclass(frozen=True)
class StrengthTable:
    """A table of O choices with two signs and S strengths each.

    Attributes:
        kind: Name of the table in policy files.
        names: Names of the choices.
        units: Unit of the strength of each choice.
        strongest: Largest strength of each choice, >= 0, in that unit.
        adjustable: True for each choice whose strengths differ.
        strengths: S, the number of strengths, equally spaced from 0 to the strongest.
        rows: Height and width of the images -> float32 `[O, 2, S, P]`, magnitudes of the P ops of a space: positive and
            negative (the same for ops without sign), from weak to strong.
    """

    kind: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    strongest: tuple[float, ...]
    adjustable: tuple[bool, ...]
    strengths: int
    rows: Callable[[int, int], Tensor]

    def __len__(self) -> int:
        return len(self.names)


def space_table(space: TransformSpace, strengths: int = 31) -> StrengthTable:
    """Return the table of the identity and each op of a space, with equally spaced strengths from 0 to its bound.

    Args:
        space: The ops and their bounds.
        strengths: Number of strengths, at least 2; TrivialAugment has 31.

    Raises:
        ValueError: If there are fewer than two strengths.
    """
    if strengths < 2:
        raise ValueError(f"strengths: expected at least 2 (none and the bound), found {strengths}")
    levels = torch.linspace(0, 1, strengths)
    rows = torch.zeros(len(space) + 1, 2, strengths, len(space))
    for column, (bound, signed) in enumerate(zip(space.bounds, space.signed, strict=True)):
        rows[column + 1, :, :, column] = bound * torch.stack([levels, -levels if signed else levels])
    return StrengthTable(
        kind="space",
        names=("identity", *space.names),
        units=("none", *space.units),
        strongest=(0.0, *space.bounds),
        adjustable=(False, *[True] * len(space)),
        strengths=strengths,
        rows=lambda height, width: rows,
    )


def trivial_augment_table() -> StrengthTable:
    """Return the table of TrivialAugment-Wide (Müller and Hutter, 2021), with torchvision's strengths.

    Its rows are magnitudes of `classic_space()`. TrivialAugment draws op, strength and sign uniformly from it.
    """
    ops = tuple(_TRIVIAL_UNITS)
    units, strongest = zip(*_TRIVIAL_UNITS.values(), strict=True)
    return StrengthTable(
        kind="trivial_augment",
        names=ops,
        units=units,
        strongest=strongest,
        adjustable=tuple(op not in _FIXED for op in ops),
        strengths=TRIVIAL.bins,
        rows=lambda height, width: table(TRIVIAL, ops, height, width).transpose(1, 2).flip(1).float(),
    )
