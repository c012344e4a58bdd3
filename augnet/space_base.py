"""Interface of spaces, the sets of transforms whose magnitudes a policy draws."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from augnet.batch import Batch
from augnet.fused import Noise


class Space(ABC):
    """A set of transforms with magnitudes for each image; magnitudes of 0 are the identity.

    Attributes:
        parts: Key of the list of `AugNet.describe` in policy files.
    """

    parts: ClassVar[str]

    @property
    @abstractmethod
    def mixes(self) -> bool:
        """True if images and labels are mixed."""

    @abstractmethod
    def check_channels(self, channels: int) -> None:
        """Raise ValueError if images of this number of channels cannot be transformed."""

    @abstractmethod
    def noise(self, images: Tensor, generator: torch.Generator | None = None) -> Noise:
        """Draw the random numbers that `apply` needs besides magnitudes, by name; empty if there are none."""

    def apply(
        self, images: Tensor, magnitudes: Tensor, noise: Noise | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Transform each image by its own magnitudes, in float32 or wider, with autocast disabled.

        Args:
            images: `[B, C, H, W]` in [0, 1]; carries gradient.
            magnitudes: `[B, ...]` of this space; carries gradient.
            noise: The result of `noise`, to repeat a draw; drawn here by default.
            generator: Source of that draw; `None` is torch's default generator.

        Returns:
            `[B, C, H, W]` in [0, 1], of the dtype of `images`.

        Raises:
            ValueError: If the shapes do not match, or the images cannot be transformed.
        """
        return self.apply_to(Batch(images), magnitudes, noise, generator).images

    @abstractmethod
    def apply_to(
        self, batch: Batch, magnitudes: Tensor, noise: Noise | None = None, generator: torch.Generator | None = None
    ) -> Batch:
        """Transform a batch as `apply` does, with its labels, masks and boxes.

        Raises:
            ValueError: As for `apply`, or if labels, masks or boxes cannot be transformed.
        """

    @abstractmethod
    def follow(self, batch: Batch, magnitudes: Tensor, noise: Noise) -> Batch:
        """Move masks and boxes as `apply` moves the images, and keep the images, whose pixels are not used.

        Raises:
            ValueError: If masks or boxes cannot be moved.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the arguments of `from_config` as plain values for JSON."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the space of a `config`; entries of other names are ignored.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: If the values do not make a space.
        """
