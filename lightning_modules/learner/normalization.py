"""The pixel normalization of a data loader, undone for the policy and done again for the classifier."""

from collections.abc import Sequence

import torch
from kornia.enhance import Normalize
from torch import Tensor, nn


class Normalization(nn.Module):
    """`(pixels - mean) / std`, or nothing where mean is 0 and std is 1.

    Args:
        mean: A number, or one for each channel.
        std: A number, or one for each channel.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.mean, self.std = torch.as_tensor(mean).float(), torch.as_tensor(std).float()
        self.is_identity = not self.mean.any() and bool((self.std == 1).all())
        self.normalize = nn.Identity() if self.is_identity else Normalize(self.mean, self.std)

    def forward(self, pixels: Tensor) -> Tensor:
        """Images as the classifier takes them, of pixels in [0, 1]."""
        images: Tensor = self.normalize(pixels)
        return images

    def undone(self, images: Tensor) -> Tensor:
        """Pixels of normalized images; in [0, 1] up to rounding, if the normalization is as stated."""
        if self.is_identity:
            return images
        mean, std = (value.to(images).view(-1, 1, 1) for value in (self.mean, self.std))
        return images * std + mean

    def pixels(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] of normalized images; rounding errors are clamped."""
        return images if self.is_identity else self.undone(images).clamp(0, 1)
