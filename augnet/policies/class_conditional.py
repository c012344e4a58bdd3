"""Class-conditional: one learned half-width for each op and each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from augnet.encoder import class_weights
from augnet.policies.base import Description, RangeTable
from augnet.space import TransformSpace


class ClassConditionalPolicy(RangeTable):
    """A range for each op and each class: a table, no network.

    The random numbers of an image do not depend on its class, so what is learned for one class changes no other.

    Args:
        space: The ops.
        num_classes: K.
        initial: Half-widths at the start, as a fraction of the bounds, in (0, 1].

    Raises:
        ValueError: If an argument is out of range.
    """

    kind = "class_conditional"

    def __init__(self, space: TransformSpace, num_classes: int, initial: float = 0.1) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, found {num_classes}")
        super().__init__(space.bounds, space.signed, initial, num_classes)
        self.num_classes = num_classes

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Magnitudes `[B, P]`; an image of mixed label `[B, K]` has the mixed range. See `Policy.magnitudes`.

        Raises:
            ValueError: If there are no labels, or not of these classes.
        """
        weights = class_weights(labels, self.num_classes).to(self.theta)
        return self.scatter(weights @ self.half_widths(), numbers)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """For each op the mean `half_width` over the classes, and `half_widths`, that of each class."""
        table = self.half_widths()
        return self.describe_ranges(space, table.mean(dim=0), half_widths=table.T)

    def config(self) -> dict[str, Any]:
        """The number of classes."""
        return {"num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """See `Policy.from_config`."""
        return cls(space, config["num_classes"])
