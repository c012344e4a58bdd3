"""The pixel normalization of a data loader, undone for the policy and done again for the classifier."""

from collections.abc import Sequence
from typing import Any

import torch
from kornia.enhance import Normalize
from torch import Tensor, nn

from lightning_modules.learner.checks import check_numbers


class Normalization(nn.Module):
    """`(pixels - mean) / std`, or nothing where mean is 0 and std is 1.

    Args:
        mean: A number, or one for each channel.
        std: A number, or one for each channel, > 0.

    Raises:
        ValueError: If one of them is no number, not finite or out of range, or their lengths differ.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        lengths = {len(_checked("mean", "[-1e6, 1e6]", mean)), len(_checked("std", "[1e-6, 1e6]", std))}
        if len(lengths - {1}) > 1:
            raise ValueError(f"mean and std must be for the same channels, found {mean} and {std}.")
        self.channels = max(lengths)
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
        if self.channels not in (1, images.shape[1]):
            raise ValueError(f"mean and std are for {self.channels} channels, found images with {images.shape[1]}.")
        mean, std = (value.to(images).view(-1, 1, 1) for value in (self.mean, self.std))
        return images * std + mean

    def pixels(self, images: Tensor) -> Tensor:
        """Pixels in [0, 1] of normalized images; rounding errors are clamped."""
        return images if self.is_identity else self.undone(images).clamp(0, 1)


def _checked(name: str, interval: str, value: Any) -> Sequence[Any]:
    """The numbers of a mean or standard deviation; ValueError if they are none."""
    values = value.tolist() if isinstance(value, Tensor) else value
    values = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    for one in values or [None]:
        check_numbers("", interval, **{name: one})
    return values
