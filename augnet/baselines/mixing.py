"""Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) of images and labels."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from augnet.baselines.base import Baseline
from augnet.batch import Batch
from augnet.draws import dirichlet
from augnet.space import TransformSpace


class MixingBaseline(nn.Module):
    """A mixture of every image and its label with those of another image of the batch.

    Each image has its own share, where the papers draw one for a batch. Augments in `train()`, the identity in
    `eval()`.

    Args:
        alpha: The share of the other image is Beta(alpha, alpha), > 0.
        before: Augmentation of each image before mixing.

    Raises:
        ValueError: If `alpha` is out of range.
    """

    op: ClassVar[str]

    def __init__(self, alpha: float = 1.0, before: Baseline | None = None) -> None:
        super().__init__()
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha: expected a number > 0, found {alpha}; 1 is usual")
        self.alpha, self.before = alpha, before
        self.space = TransformSpace([self.op])

    def forward(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix images and labels in training mode; return both in the shapes and types given.

        Args:
            images: `[B, C, H, W]`, floating point, in [0, 1]; carries gradient.
            labels: `[B, K]`, probabilities.
            generator: Source of all draws; `None` is torch's default generator.

        Raises:
            ValueError: If the labels are class numbers.
        """
        if not self.training:
            return images, labels
        images = images if self.before is None else self.before(images, generator)
        share = dirichlet(self.alpha, (len(images), 2), images, generator)[:, :1]
        mixed = self.space.apply_to(Batch(images, labels), share, generator=generator)
        return mixed.images, labels if mixed.labels is None else mixed.labels


class Mixup(MixingBaseline):
    """A blend of each image with another one, whose share is Beta(alpha, alpha)."""

    op = "mixup"


class CutMix(MixingBaseline):
    """A patch of another image in each; its area is a Beta(alpha, alpha) share, cropped at the border."""

    op = "cutmix"
