"""Training labels flipped at random, and the quality of a ranking that should find them."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lightning_modules.data import ImageDataModule, LabelledImages, Splits

CHECKED = 0.05  # share of the images that are checked, those ranked worst
_CURVE_POINTS = 100


def flip_labels(labels: Tensor, num_classes: int, share: float, seed: int) -> Tensor:
    """Return labels of which a share has another class, drawn uniformly.

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
        """Return whether each training label is wrong, `[N]` bool."""
        return self.splits.train.labels != self._true_splits.train.labels


def ranking_quality(score: Tensor, flipped: Tensor) -> dict[str, Any]:
    """Return the quality of a ranking, worst first.

    Args:
        score: `[N]`, high is suspect.
        flipped: `[N]` bool.

    Returns:
        `recall`: share of the flipped labels in the first 5 % (`CHECKED`); `average_precision`; `curve`:
        `[share checked, precision, recall]` at 100 shares.

    Example:
        >>> quality = ranking_quality(torch.arange(100.0), torch.arange(100) >= 96)
        >>> quality["recall"], round(quality["average_precision"], 6)
        (1.0, 1.0)
    """
    found = flipped[score.argsort(descending=True, stable=True)].double()
    checked = torch.arange(1, len(found) + 1)
    precision = found.cumsum(0) / checked
    recall = found.cumsum(0) / found.sum()
    points = torch.linspace(0, 1, _CURVE_POINTS + 1)[1:].square() * len(found)  # denser where few are checked
    curve = [[k / len(found), float(precision[k - 1]), float(recall[k - 1])] for k in points.ceil().int().tolist()]
    return {
        "recall": float(recall[round(CHECKED * len(found)) - 1]),
        "average_precision": float((precision * found).sum() / found.sum()),
        "curve": [[round(value, 5) for value in point] for point in curve],
    }
