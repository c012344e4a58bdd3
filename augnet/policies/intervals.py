"""Interval policy, two learned ends per op, one on each side of the identity.

The magnitude of op p is uniform in `[-a_p, b_p]` with `a_p = bound_p * sigmoid(theta_0p)` and `b_p = bound_p *
sigmoid(theta_1p)`, or in `[0, b_p]` if the op has no negative ones. It can represent test images that are always
brighter and never darker, where half of the draws of the symmetric `RangePolicy` would be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from augnet.policies.base import Description, RangeTable
from augnet.space import TransformSpace


class IntervalPolicy(RangeTable):
    """Two learned ends per op, shared by all images; every image has its own draw.

    Args:
        space: The ops.
        initial: Initial distance of both ends from 0 as a fraction of the bounds, in (0, 1].

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    kind = "interval"
    logged: ClassVar[Mapping[str, str]] = {"half_width": "range", "lowest": "lowest", "highest": "highest"}
    quantity = "farther end / bound"

    def __init__(self, space: TransformSpace, initial: float = 0.1) -> None:
        super().__init__(space.bounds, space.signed, initial, 2)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return the lowest and highest magnitudes, both `[P]` in the ops' units, carrying gradient to the policy."""
        lower, upper = self.half_widths()
        return lower * self.lowest, upper

    def extent(self) -> Tensor:
        """Return the sum over the ops of the interval's length / its largest value, carrying gradient."""
        lowest, highest = self.ends()
        return ((highest - lowest) / (self.bounds * (1 - self.lowest))).sum()

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]`, carrying gradient to the policy; images and labels are not used."""
        lowest, highest = self.ends()
        return lowest + (highest - lowest) * numbers.to(highest)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """Return for each op `lowest` and `highest`, and `half_width`: the length, halved if the op has a sign."""
        lowest, highest = self.ends()
        return self.describe_ranges(space, (highest - lowest) / (1 - self.lowest), lowest=lowest, highest=highest)

    def shares(self, space: TransformSpace) -> dict[str, float]:
        """Return the larger distance of an end of each op from 0 as a share of the op's bound."""
        facts = self.describe(space)
        return {op: max(-found["lowest"], found["highest"]) / found["bound"] for op, found in facts.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build a policy over the space; the config has no entries."""
        return cls(space)
