"""Interface of the fixed policies."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Baseline(nn.Module, ABC):
    """A fixed policy that augments each image of a batch by its own random draw.

    Augments in `train()`, the identity in `eval()`.
    """

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment in training mode.

        Args:
            images: `[B, C, H, W]`, floating point, in [0, 1]; carries gradient.
            generator: Source of all draws; `None` is torch's default generator.

        Returns:
            `[B, C, H, W]` in [0, 1], of the dtype of `images`; in evaluation mode the input itself.
        """
        return self.augment(images, generator) if self.training else images

    @abstractmethod
    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment in training and evaluation mode alike; arguments and result as for `forward`."""
