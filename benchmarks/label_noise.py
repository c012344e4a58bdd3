"""Training labels flipped at random: the truth that a search for mislabelled samples is measured against."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lightning_modules.data import ImageDataModule, LabelledImages, Splits


def flip_labels(labels: Tensor, num_classes: int, share: float, seed: int) -> Tensor:
    """Give a share of the labels another class, drawn uniformly.

    Args:
        labels: `[N]` int64.
        num_classes: K, at least 2.
        share: Share of the labels to change, in [0, 1]; rounded to whole labels.
        seed: Seed of the draw.

    Returns:
        `[N]`, a copy.

    Raises:
        ValueError: If `share` lies outside [0, 1].

    Example:
        >>> int((flip_labels(torch.zeros(40, dtype=torch.int64), 3, 0.05, seed=0) != 0).sum())
        2
    """
    if not 0 <= share <= 1:
        raise ValueError(f"expected share in [0, 1], found {share}; 0.05 flips one label in twenty")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    flipped = labels.clone()
    flipped[chosen] += torch.randint(1, num_classes, (len(chosen),), generator=generator)
    return flipped.remainder(num_classes)


class FlippedImages(ImageDataModule):
    """An image dataset of which a share of the training labels is wrong; all other splits stay as they are.

    Args:
        path: Hub name, folder of parquet files, or image folder.
        flip_share: Share of the training labels to flip, in [0, 1].
        **kwargs: See `ImageDataModule`.
    """

    def __init__(self, path: str, flip_share: float = 0.05, **kwargs: Any) -> None:
        super().__init__(path, **kwargs)
        self._flip_share = flip_share

    @cached_property
    def _true_splits(self) -> Splits:
        return super().load_splits()

    def load_splits(self) -> Splits:
        """Load the splits, then flip training labels."""
        train = self._true_splits.train
        num_classes = len(self._true_splits.class_names)
        labels = flip_labels(train.labels, num_classes, self._flip_share, self.seed)
        return replace(self._true_splits, train=LabelledImages(train.store, labels, train.sources))

    def flipped(self) -> Tensor:
        """Which training labels are wrong, `[N]` bool."""
        return self.splits.train.labels != self._true_splits.train.labels
