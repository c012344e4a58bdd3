"""AugNet: a policy and the space it draws from, as one module: images in, augmented images out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from augnet.policy import RangePolicy
from augnet.space import TransformSpace


class AugNet(nn.Module):
    """Augments in `train()`, returns its input unchanged in `eval()`.

    Args:
        space: The ops.
        policy: The distribution over their magnitudes.

    Example:
        >>> net = AugNet.from_ops({"rotation": 45.0}, initial=0.2)
        >>> net.describe()["rotation"]["unit"]
        'degrees'
    """

    def __init__(self, space: TransformSpace, policy: RangePolicy) -> None:
        super().__init__()
        self.space = space
        self.policy = policy

    @classmethod
    def from_ops(cls, ops: Mapping[str, float] | Sequence[str], initial: float = 0.1) -> Self:
        """A learned range for each op; see `TransformSpace` and `RangePolicy` for the arguments and errors."""
        space = TransformSpace(ops)
        return cls(space, RangePolicy(space.bounds, initial))

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw magnitudes `[B, P]` for a batch; they carry gradient to the policy."""
        return self.policy.sample(len(images), generator)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment each image by a draw of its own.

        Args:
            images: `[B, C, H, W]` in [0, 1]; carries gradient.
            generator: Source of the draws; `None` is torch's default generator.

        Returns:
            `[B, C, H, W]` in [0, 1]; carries gradient to the policy. In evaluation mode the input itself.
        """
        if not self.training:
            return images
        return self.space.apply(images, self.sample(images, generator))

    @torch.no_grad()
    def describe(self) -> dict[str, dict[str, float | str]]:
        """The learned range of every op: `{name: {half_width, unit, bound}}`."""
        half_widths, bounds = self.policy.half_widths().tolist(), self.policy.bounds.tolist()
        return {
            op.name: {"half_width": float(f"{half_width:.6g}"), "unit": op.unit, "bound": float(f"{bound:.6g}")}
            for op, half_width, bound in zip(self.space.ops, half_widths, bounds, strict=True)
        }
