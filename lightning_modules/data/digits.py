"""The handwritten digits of scikit-learn, rotated at deployment: a distribution shift that needs no download."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from lightning_modules.data.influence_data_module import InfluenceDataModule
from lightning_modules.data.labelled_images import LabelledImages, Splits
from lightning_modules.data.partition import Indices, partition, row_sources
from lightning_modules.data.store import MemoryStore, as_bytes
from lightning_modules.learner.checks import check_numbers

_LARGEST_VALUE = 16.0


class DigitsDataModule(InfluenceDataModule):
    """1,797 handwritten digits (8 x 8 pixels, part of scikit-learn): trained upright, deployed rotated.

    The images of the influence, validation and test split are each rotated by an angle of their own,
    uniform in +-`deployment_rotation`; the training images stay as they are. Every split has different
    base digits, stratified by class. The angle belongs to the digit, so changing the size of one split
    leaves the images of the test split as they were.

    Args:
        influence_size: Images of the influence set.
        val_size: Images of the validation split.
        test_size: Images of the test split.
        deployment_rotation: Largest rotation at deployment, in degrees, 0 to 180; 0 deploys upright.
        image_size: Side the images are resized to (bilinear), in pixels.
        **common: Further arguments of `InfluenceDataModule`; `seed` is also that of the angles.
    """

    def __init__(
        self,
        influence_size: int = 200,
        val_size: int = 200,
        test_size: int = 397,
        deployment_rotation: float = 45.0,
        image_size: int = 16,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._sizes = {"influence_size": influence_size, "val_size": val_size, "test_size": test_size}
        check_numbers("data.", "[1, 1000000]", **self._sizes)
        check_numbers("data.", "[4, 1024]", image_size=image_size)
        check_numbers("data.", "[0, 180]", deployment_rotation=deployment_rotation)
        self._deployment_rotation = deployment_rotation
        self._side = image_size

    def load_splits(self) -> Splits:
        """Split the digits, and rotate all but the training images."""
        from sklearn.datasets import load_digits  # here, as its import takes seconds

        digits = load_digits()
        images = torch.from_numpy(digits.images).float().unsqueeze(1) / _LARGEST_VALUE
        labels = torch.from_numpy(digits.target.astype(np.int64))
        names = tuple(str(name) for name in digits.target_names)
        parts = partition(labels.numpy(), names, train_size=None, seed=self.seed, **self._sizes)
        generator = torch.Generator().manual_seed(self.seed)
        angles = (2 * torch.rand(len(labels), generator=generator) - 1) * self._deployment_rotation

        def split(rows: Indices, rotated: bool) -> "partial[LabelledImages]":
            return partial(_render, images[rows], labels[rows], angles[rows] if rotated else None, self._side, rows)

        return Splits(
            train=split(parts.train, rotated=False)(),
            influence=split(parts.influence, rotated=True)(),
            validation=split(parts.validation, rotated=True)(),
            load_test=split(parts.test, rotated=True),
            class_names=names,
            deployment=self._deployment_rotation > 0,
        )


def _render(images: Tensor, labels: Tensor, angles: Tensor | None, side: int, rows: Indices) -> LabelledImages:
    """Resize the images, then rotate each by its angle in degrees; bilinear, black outside."""
    pixels = functional.resize(images, [side, side], InterpolationMode.BILINEAR, antialias=True)
    if angles is not None:
        pairs = zip(pixels, angles.tolist(), strict=True)
        pixels = torch.stack(
            [functional.rotate(image, angle, InterpolationMode.BILINEAR, fill=0) for image, angle in pairs]
        )
    return LabelledImages(MemoryStore(as_bytes(pixels)), labels, partial(row_sources, rows))
