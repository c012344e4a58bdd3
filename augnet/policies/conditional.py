"""Conditional policy, a range for each op from an encoder of the image and, optionally, its label.

    s, t = E(image[, label])
    magnitude = bound * (sigmoid(s) u + (1 - sigmoid(s)) tanh(t)),   u uniform in (-1, 1)

The range of an op is an interval of any position and width within its bound. Ops without negative magnitudes have
`u` in (0, 1) and no shift. The draw is reparametrized: the gradient reaches the encoder through the magnitude.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from augnet.encoder import Encoder
from augnet.policies.base import BoundedPolicy, Description, initial_logits
from augnet.space import TransformSpace

_MOMENTUM = 0.1


class ConditionalPolicy(BoundedPolicy):
    """A range for each op and each image, from an encoder network.

    Initially all images have the same range, `initial` times the bound, around 0. Forward passes with gradient update
    running means of half-width and shift for `describe`.

    Args:
        space: The ops.
        in_channels: Channels of the images.
        num_classes: Number of classes of the labels, a second input of the encoder; 0 for the image alone.
        width: Channels of the encoder's first convolution.
        initial: Initial half-widths as a fraction of the bounds, in (0, 1]; at 1 nothing can be learned.

    Raises:
        ValueError: If `initial` is out of range.
    """

    kind = "conditional"
    logged: ClassVar[Mapping[str, str]] = {"half_width": "range", "shift": "shift"}
    mean_half_width: Tensor
    mean_shift: Tensor

    def __init__(
        self, space: TransformSpace, in_channels: int, num_classes: int = 0, width: int = 8, initial: float = 0.1
    ) -> None:
        super().__init__(space.bounds, space.signed)
        self.in_channels, self.num_classes, self.width = in_channels, num_classes, width
        self.encoder = Encoder(in_channels, 2 * len(space), num_classes, width)
        with torch.no_grad():
            self.encoder.head.bias[: len(space)] = initial_logits(initial, len(space))
        self.register_buffer("mean_half_width", initial * self.bounds)
        self.register_buffer("mean_shift", torch.zeros_like(self.bounds))

    def intervals(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return half-widths and shifts of each image, both `[B, P]` in the ops' units, carrying gradient.

        Raises:
            ValueError: If labels are needed and missing.
        """
        width, place = self.encoder(images, labels).chunk(2, dim=1)
        share = torch.sigmoid(width)
        return self.bounds * share, self.bounds * (1 - share) * torch.tanh(place) * -self.lowest

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]`, carrying gradient to the policy; see `Policy.magnitudes`."""
        half_widths, shifts = self.intervals(images, labels)
        if half_widths.requires_grad and len(half_widths):
            self.mean_half_width.lerp_(half_widths.detach().mean(dim=0), _MOMENTUM)
            self.mean_shift.lerp_(shifts.detach().abs().mean(dim=0), _MOMENTUM)
        return self.scatter(half_widths, numbers) + shifts

    def describe(self, space: TransformSpace) -> Description:
        """Return for each op the running means of `half_width` and of the absolute `shift`."""
        return self.describe_ranges(space, self.mean_half_width, shift=self.mean_shift)

    def network_weights(self) -> list[nn.Parameter]:
        """Return the parameters of the encoder but the bias of its head, the logits that all images share."""
        return [parameter for parameter in self.parameters() if parameter is not self.encoder.head.bias]

    def config(self) -> dict[str, Any]:
        """Return the arguments of the encoder."""
        return {"in_channels": self.in_channels, "num_classes": self.num_classes, "width": self.width}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build the policy of a config, see `Policy.from_config`."""
        return cls(space, config["in_channels"], config["num_classes"], config["width"])
