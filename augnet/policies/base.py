"""What every policy promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Policy(nn.Module, ABC):
    """A distribution over the magnitudes of P ops, learned or fixed; a magnitude of 0 leaves an op out."""

    @abstractmethod
    def sample(self, images: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw magnitudes `[B, P]` in the ops' units, one row per image.

        Args:
            images: `[B, C, H, W]` in [0, 1]; most policies need only their number.
            labels: `[B]` class numbers or `[B, K]` probabilities, for policies that are conditioned on them.
            generator: Source of the draws; `None` is the default generator of the policy's device.

        Returns:
            Magnitudes; they carry gradient to the policy where it is learned by reparametrisation.
        """
