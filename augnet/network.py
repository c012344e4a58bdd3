"""AugNet, the module of a policy and its space, from images to augmented images."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from augnet.batch import Batch
from augnet.field import Composition
from augnet.field_space import FieldSpace
from augnet.fused import Noise
from augnet.ops.base import uniform_noise
from augnet.policies import FieldPolicy, Policy, RangePolicy
from augnet.policies.base import Description
from augnet.space import TransformSpace
from augnet.space_base import Space

PolicyT = TypeVar("PolicyT", bound=Policy)
SpaceT = TypeVar("SpaceT", bound=Space)


class Draws(NamedTuple):
    """The random numbers of one augmentation of a batch.

    Attributes:
        numbers: `[B, U]` in [0, 1), for the policy.
        noise: For the space: `[B, ...]` by name.
    """

    numbers: Tensor
    noise: Noise


class AugNet(nn.Module, Generic[PolicyT, SpaceT]):
    """A random augmentation of images: magnitudes drawn from a policy, applied by a space.

    Augments in `train()`, the identity in `eval()`.

    Args:
        space: The ops, or the space of fields.
        policy: The distribution over their magnitudes.

    Example:
        >>> net = AugNet.from_ops({"rotation": 45.0}, initial=0.2)
        >>> net.describe()["rotation"]["unit"]
        'degrees'
        >>> images, boxes = net(torch.rand(2, 3, 8, 8), boxes=torch.tensor([[[1.0, 1, 4, 5]], [[0.0, 0, 8, 8]]]))
    """

    def __init__(self, space: SpaceT, policy: PolicyT) -> None:
        super().__init__()
        self.space = space
        self.policy = policy

    @classmethod
    def from_ops(
        cls, ops: Mapping[str, float] | Sequence[str], initial: float = 0.1
    ) -> "AugNet[RangePolicy, TransformSpace]":
        """Build a network with a learned range for each op; arguments and errors of `TransformSpace`, `RangePolicy`."""
        space = TransformSpace(ops)
        return AugNet(space, RangePolicy(space.bounds, initial, space.signed))

    @classmethod
    def from_fields(
        cls,
        channels: int,
        height: int,
        width: int,
        composition: Composition = "parallel",
        appearance: bool | None = None,
        dropout: float = 0.5,
    ) -> "AugNet[FieldPolicy, FieldSpace]":
        """Build the network of Lee et al. (CVPR 2020), a field for each image; see `FieldSpace` and `FieldPolicy`.

        Example:
            >>> net = AugNet.from_fields(3, 32, 32)
            >>> net(torch.rand(2, 3, 32, 32)).shape
            torch.Size([2, 3, 32, 32])
        """
        space = FieldSpace(channels, height, width, composition, appearance)
        return AugNet(space, FieldPolicy(space, dropout))

    def sample(self, images: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw magnitudes `[B, ...]` for a batch, with autocast disabled; see `Policy.sample`."""
        with torch.autocast(images.device.type, enabled=False):
            return self.policy.sample(images, labels, generator)

    def draw(self, images: Tensor, generator: torch.Generator | None = None) -> Draws:
        """Draw all random numbers for one augmentation of images `[B, C, H, W]`, of which the values are not used."""
        numbers = uniform_noise(self.policy.numbers_per_image)(images, generator)
        return Draws(numbers, self.space.noise(images, generator))

    def forward(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        boxes: Tensor | None = None,
        generator: torch.Generator | None = None,
        draws: Draws | None = None,
    ) -> Any:
        """Augment each image, with its label, masks and boxes, by a draw of its own.

        Args:
            images: `[B, C, H, W]` in [0, 1]; carries gradient.
            labels: `[B]` class numbers, or `[B, K]` probabilities, which mixup and CutMix require and mix.
            masks: `[B, H, W]` or `[B, N, H, W]` of any type: moved by the same geometry, nearest pixel, 0 outside.
            boxes: `[B, N, 4]` as (left, top, right, bottom) in pixels: the bounding boxes of the moved ones.
            generator: Source of the draws; `None` is torch's default generator.
            draws: The result of `draw`, to be used instead of new draws.

        Returns:
            The images `[B, C, H, W]` in [0, 1], carrying gradient to the policy; if labels, masks or boxes were
            given, a tuple of the images and of these, in this order. In evaluation mode the input itself.

        Raises:
            ValueError: If shapes do not fit, or an op mixes images and the labels are missing or class numbers.
        """
        batch = Batch(images, labels, masks, boxes)
        if self.training:
            if self.space.mixes and labels is None:
                raise ValueError("this policy mixes images: call it with their labels [B, K] too, and train on both.")
            numbers, noise = self.draw(images, generator) if draws is None else draws
            with torch.autocast(images.device.type, enabled=False):
                magnitudes = self.policy.magnitudes(images, labels, numbers)
            batch = self.space.apply_to(batch, magnitudes, noise)
        parts = (batch.images, batch.labels, batch.masks, batch.boxes)
        given = tuple(part for part in parts if part is not None)
        return given if len(given) > 1 else batch.images

    def describe(self) -> Description:
        """Return `describe` of the policy: for ranges `{name: {half_width, unit, bound}}`."""
        return self.policy.describe(self.space)
