"""Distributions over op magnitudes.

`RangePolicy`: the magnitude of op p is uniform in `[-w_p, w_p]`; the half-width `w_p = bound_p * sigmoid(theta_p)` is
learned. A draw is `w_p * u`, `u ~ Uniform(-1, 1)`, so the gradient reaches `theta` through the magnitude
(reparametrisation).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class RangePolicy(nn.Module):
    """One learned half-width per op, shared by all images; every image has its own draw.

    Args:
        bounds: The largest half-width of each of the P ops, > 0, in the ops' units.
        initial: Half-widths at the start, as a fraction of the bounds, in (0, 1]. At 0 there would be no gradient: the
            loss is even in the magnitude there. 1 is the uniform policy over the whole space.

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    bounds: Tensor

    def __init__(self, bounds: Sequence[float], initial: float = 0.1) -> None:
        super().__init__()
        if not 0 < initial <= 1:
            raise ValueError(
                f"initial: expected a fraction of the bounds in (0, 1], found {initial}; 0.1 is a usual start"
            )
        self.register_buffer("bounds", torch.tensor(bounds, dtype=torch.float32))
        start = torch.full((len(bounds),), initial)
        self.theta = nn.Parameter(torch.logit(start))  # infinite at 1: exactly the bounds, and no gradient

    def half_widths(self) -> Tensor:
        """Half-widths `[P]` in the ops' units; carry gradient to the policy."""
        return self.bounds * torch.sigmoid(self.theta)

    def saturation(self) -> Tensor:
        """Half-widths as a fraction of their bounds, `[P]` in (0, 1]; detached."""
        return torch.sigmoid(self.theta.detach())

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw magnitudes `[count, P]`, one row per image; they carry gradient to the policy.

        Args:
            count: Number of images.
            generator: Source of the draws; `None` is the default generator of the policy's device.
        """
        device = self.bounds.device if generator is None else generator.device
        uniform = torch.rand(count, len(self.bounds), generator=generator, device=device)
        return (2 * uniform - 1).to(self.bounds) * self.half_widths()
