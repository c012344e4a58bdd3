"""The space of displacement and appearance fields, whose magnitude is an affine map and a color filter per pixel."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self, get_args

import torch
from torch import Tensor

from augnet.batch import Batch
from augnet.field import Composition, as_fields, map_count, transform
from augnet.fused import Noise
from augnet.space_base import Space

_ARGUMENTS = ("channels", "height", "width", "composition", "appearance")


class FieldSpace(Space):
    """Fields for images of one size, applied by `augnet.field.transform` and clamped to [0, 1].

    The transform of Lee, Park, Pham and Yoo (CVPR 2020) but for the clamp: pixels outside [0, 1] carry no gradient.
    Magnitudes are the maps `[B, N, H, W]` of `augnet.field.as_fields`.

    Args:
        channels: C of the images.
        height: Of the images, in pixels; one space serves one size.
        width: Of the images, in pixels.
        composition: `parallel` or `serial`, see `augnet.field.transform`.
        appearance: True to change colors too. None stands for True for three channels and False for one, as in the
            paper; other numbers of channels need True or False.

    Raises:
        ValueError: If an argument is out of range, or `appearance` is needed.
    """

    parts: ClassVar[str] = "facts"

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        composition: Composition = "parallel",
        appearance: bool | None = None,
    ) -> None:
        if min(channels, height, width) < 1:
            raise ValueError(f"expected at least 1 channel and 1x1 pixels, found {channels} and {height}x{width}")
        if composition not in get_args(Composition):
            raise ValueError(f"composition: expected one of {get_args(Composition)}, found {composition!r}")
        if appearance is None and channels not in (1, 3):
            raise ValueError(
                f"appearance: the default is known for 1 and 3 channels, found {channels}; say True for a "
                f"{channels}x{channels} filter of all channels at each pixel, or False to move pixels only."
            )
        self.channels, self.height, self.width = channels, height, width
        self.composition: Composition = composition
        self.appearance = channels == 3 if appearance is None else appearance

    @property
    def mixes(self) -> bool:
        """Always False."""
        return False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (N, H, W) of the magnitudes of one image."""
        return map_count(self.channels, self.appearance), self.height, self.width

    def check_channels(self, channels: int) -> None:
        """Raise ValueError if images have another number of channels."""
        if channels != self.channels:
            raise ValueError(f"these fields are for images with {self.channels} channels, found {channels}.")

    def check_images(self, images: Tensor) -> None:
        """Raise ValueError if images are of another shape than `[B, C, H, W]` of this space."""
        expected = (self.channels, self.height, self.width)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"expected images [B, {', '.join(map(str, expected))}], found {tuple(images.shape)}; "
                "resize them, or make a field network for their size."
            )

    def noise(self, images: Tensor, generator: torch.Generator | None = None) -> Noise:
        """Return no noise: all randomness is in the magnitudes."""
        return {}

    def apply_to(
        self, batch: Batch, magnitudes: Tensor, noise: Noise | None = None, generator: torch.Generator | None = None
    ) -> Batch:
        """Transform a batch, see `Space.apply_to`; labels are unchanged.

        Raises:
            ValueError: If the shapes do not match, the images are integers, or there are masks or boxes.
        """
        if batch.masks is not None or batch.boxes is not None:
            return self.follow(batch, magnitudes, {})
        batch.check()
        images = batch.images
        self.check_images(images)
        if magnitudes.shape != (images.shape[0], *self.shape):
            raise ValueError(f"expected fields {[images.shape[0], *self.shape]}, found {tuple(magnitudes.shape)}")
        precise = torch.promote_types(torch.promote_types(images.dtype, magnitudes.dtype), torch.float32)
        with torch.autocast(images.device.type, enabled=False):
            fields = as_fields(magnitudes.to(precise), self.channels)
            result = transform(images.to(precise), fields, self.composition).clamp(0, 1)
        return replace(batch, images=result.to(images.dtype))

    def follow(self, batch: Batch, magnitudes: Tensor, noise: Noise) -> Batch:
        """Raise ValueError: fields cannot move masks or boxes."""
        raise ValueError(
            "a field network moves every pixel on its own, so masks and boxes cannot follow by one matrix; "
            "leave them out, or use an AugNet of spatial ops."
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {name: getattr(self, name) for name in _ARGUMENTS}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the space of a config, see `Space.from_config`."""
        return cls(**{name: config[name] for name in _ARGUMENTS})
