"""What a space is: the transforms that a policy draws the magnitudes of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from augnet.batch import Batch
from augnet.fused import Noise


class Space(ABC):
    """Transforms of images with magnitudes for each image; magnitudes of 0 are the identity.

    Attributes:
        parts: What `AugNet.describe` lists, in policy files.
    """

    parts: ClassVar[str]

    @property
    @abstractmethod
    def mixes(self) -> bool:
        """Whether images are mixed, and so labels."""

    @abstractmethod
    def check_channels(self, channels: int) -> None:
        """Raise ValueError if images with this number of channels cannot be transformed."""

    @abstractmethod
    def noise(self, images: Tensor, generator: torch.Generator | None = None) -> Noise:
        """Draw what is needed besides the magnitudes, see `apply`; by name, empty if nothing is."""

    def apply(
        self, images: Tensor, magnitudes: Tensor, noise: Noise | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Transform each image by its own magnitudes, in float32 whatever autocast says.

        Args:
            images: `[B, C, H, W]` in [0, 1]; carries gradient.
            magnitudes: `[B, ...]` of this space; carries gradient.
            noise: What `noise` returned, to repeat a draw; by default it is drawn here.
            generator: Source of that draw; `None` is torch's default generator.

        Returns:
            `[B, C, H, W]` in [0, 1], of the dtype of `images`.

        Raises:
            ValueError: If the shapes do not match, or such images cannot be transformed.
        """
        return self.apply_to(Batch(images), magnitudes, noise, generator).images

    @abstractmethod
    def apply_to(
        self, batch: Batch, magnitudes: Tensor, noise: Noise | None = None, generator: torch.Generator | None = None
    ) -> Batch:
        """As `apply`, with the labels, masks and boxes of the images following them.

        Raises:
            ValueError: As for `apply`; or if something cannot follow.
        """

    @abstractmethod
    def follow(self, batch: Batch, magnitudes: Tensor, noise: Noise) -> Batch:
        """Masks and boxes moved as `apply` moves the images; the images as they are.

        Args:
            batch: Images, of which only the shape and type matter, with masks or boxes.
            magnitudes: As for `apply`.
            noise: What `noise` returned.

        Raises:
            ValueError: If they cannot follow.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `from_config` needs; plain values, for JSON."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The space that `config` describes; entries of other names are not looked at.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: If the values do not make a space.
        """
