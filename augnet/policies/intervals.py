"""Intervals: two learned ends per op, one on each side of the identity.

The magnitude of op p is uniform in `[-a_p, b_p]` with `a_p = bound_p * sigmoid(theta_0p)` and `b_p = bound_p *
sigmoid(theta_1p)`, or in `[0, b_p]` where the op has no negative ones. So a deployment that is always brighter, never
darker, has a range of its own, where the symmetric one of `RangePolicy` would be wrong half of the time.
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
        initial: Both ends at the start, as a fraction of the bounds, in (0, 1].

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    kind = "interval"
    logged: ClassVar[Mapping[str, str]] = {"half_width": "range", "lowest": "lowest", "highest": "highest"}
    quantity = "farther end / bound"

    def __init__(self, space: TransformSpace, initial: float = 0.1) -> None:
        super().__init__(space.bounds, space.signed, initial, 2)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest magnitude, both `[P]` in the ops' units; carry gradient to the policy."""
        lower, upper = self.half_widths()
        return lower * self.lowest, upper

    def extent(self) -> Tensor:
        """Sum over the ops of the interval's length as a share of the longest one; carries gradient to the policy."""
        lowest, highest = self.ends()
        return ((highest - lowest) / (self.bounds * (1 - self.lowest))).sum()

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Magnitudes `[B, P]`, carrying gradient to the policy; images and labels are not looked at."""
        lowest, highest = self.ends()
        return lowest + (highest - lowest) * numbers.to(highest)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """For each op its ends `lowest` and `highest`, and `half_width`: half of the length between two signed ends."""
        lowest, highest = self.ends()
        return self.describe_ranges(space, (highest - lowest) / (1 - self.lowest), lowest=lowest, highest=highest)

    def shares(self, space: TransformSpace) -> dict[str, float]:
        """The farther end of each op, as a share of its bound."""
        facts = self.describe(space)
        return {op: max(-found["lowest"], found["highest"]) / found["bound"] for op, found in facts.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Nothing but the space decides; see `Policy.from_config`."""
        return cls(space)
