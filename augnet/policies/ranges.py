"""Range policy, one learned half-width per op.

The magnitude of op p is uniform in `[-w_p, w_p]`, or in `[0, w_p]` if the op has no negative ones; the half-width
`w_p = bound_p * sigmoid(theta_p)` is learned. A draw is `w_p * u`, `u` uniform in (-1, 1) or (0, 1), so the gradient
reaches `theta` through the magnitude (reparametrization).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from augnet.policies.base import Description, RangeTable
from augnet.space import TransformSpace


class RangePolicy(RangeTable):
    """One learned half-width per op, shared by all images; every image has its own draw.

    Args:
        bounds: The largest half-width of each of the P ops, > 0, in the ops' units.
        initial: Initial half-widths as a fraction of the bounds, in (0, 1]; see `RangeTable`.
        signed: For each op, True if it has negative magnitudes; by default all have.

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    kind = "range"

    def __init__(self, bounds: Sequence[float], initial: float = 0.1, signed: Sequence[bool] | None = None) -> None:
        super().__init__(bounds, signed or [True] * len(bounds), initial)

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]`, carrying gradient to the policy; images and labels are not used."""
        return self.scatter(self.half_widths(), numbers)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """Return the range of every op, `{name: {half_width, unit, bound}}`."""
        return self.describe_ranges(space, self.half_widths())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build a policy over the space; the config has no entries."""
        return cls(space.bounds, signed=space.signed)
