"""Ranges: one learned half-width per op.

The magnitude of op p is uniform in `[-w_p, w_p]`, or in `[0, w_p]` where the op has no negative ones; the
half-width `w_p = bound_p * sigmoid(theta_p)` is learned. A draw is `w_p * u`, `u` uniform in (-1, 1) or (0, 1), so the
gradient reaches `theta` through the magnitude (reparametrisation).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from augnet.policies.base import Policy


class RangePolicy(Policy):
    """One learned half-width per op, shared by all images; every image has its own draw.

    Args:
        bounds: The largest half-width of each of the P ops, > 0, in the ops' units.
        initial: Half-widths at the start, as a fraction of the bounds, in (0, 1]. At 0 there would be no gradient: the
            loss is even in the magnitude there. 1 is the uniform policy over the whole space.
        signed: For each op, whether it has negative magnitudes; by default all have.

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    bounds: Tensor
    lowest: Tensor

    def __init__(self, bounds: Sequence[float], initial: float = 0.1, signed: Sequence[bool] | None = None) -> None:
        super().__init__()
        if not 0 < initial <= 1:
            raise ValueError(
                f"initial: expected a fraction of the bounds in (0, 1], found {initial}; 0.1 is a usual start"
            )
        self.register_buffer("bounds", torch.tensor(bounds, dtype=torch.float32))
        lowest = [-1.0 if negative else 0.0 for negative in signed or [True] * len(bounds)]
        self.register_buffer("lowest", torch.tensor(lowest), persistent=False)  # a fact of the ops, not learned
        start = torch.full((len(bounds),), initial)
        self.theta = nn.Parameter(torch.logit(start))  # infinite at 1: exactly the bounds, and no gradient

    def half_widths(self) -> Tensor:
        """Half-widths `[P]` in the ops' units; carry gradient to the policy."""
        return self.bounds * torch.sigmoid(self.theta)

    def saturation(self) -> Tensor:
        """Half-widths as a fraction of their bounds, `[P]` in (0, 1]; detached."""
        return torch.sigmoid(self.theta.detach())

    @property
    def draws(self) -> int:
        """One random number for each op."""
        return self.bounds.shape[0]

    def magnitudes(self, images: Tensor, labels: Tensor | None, uniform: Tensor) -> Tensor:
        """Magnitudes `[B, P]`, carrying gradient to the policy; images and labels are not looked at."""
        return torch.lerp(self.lowest, torch.ones_like(self.lowest), uniform.to(self.bounds)) * self.half_widths()
