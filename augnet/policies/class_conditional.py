"""Class-conditional policy, one learned half-width for each op and class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from augnet.encoder import class_weights
from augnet.policies.base import Description, RangeTable
from augnet.space import TransformSpace


class ClassConditionalPolicy(RangeTable):
    """A range for each op and class.

    The random numbers of an image do not depend on its class, so learning for one class changes no draw of another.

    Args:
        space: The ops.
        num_classes: K.
        initial: Initial half-widths as a fraction of the bounds, in (0, 1].

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
        """Return magnitudes `[B, P]`; the range of a mixed label `[B, K]` is the weighted mean of those of the classes.

        Raises:
            ValueError: If there are no labels, or labels of other classes.
        """
        weights = class_weights(labels, self.num_classes).to(self.theta)
        return self.scatter(weights @ self.half_widths(), numbers)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """Return for each op `half_width`, the mean over the classes, and `half_widths`, one for each class."""
        table = self.half_widths()
        return self.describe_ranges(space, table.mean(dim=0), half_widths=table.T)

    def config(self) -> dict[str, Any]:
        """Return the number of classes."""
        return {"num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build the policy of a config, see `Policy.from_config`."""
        return cls(space, config["num_classes"])
