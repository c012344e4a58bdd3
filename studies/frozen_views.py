"""Training sets of frozen views: each image is replaced by r augmented views that do not change.

Geiping et al., 2023, "fixed repetitions": r views bound the diversity of a policy; r = 1 leaves only the distance of
its images from the data (consistency).
"""

from dataclasses import replace
from typing import Any

import torch

from lightning_modules.data import ImageDataModule, LabelledImages, Splits
from lightning_modules.data.store import MemoryStore, as_bytes
from studies.fixed_policy import Augment

_CHUNK = 512


@torch.no_grad()
def freeze_views(dataset: LabelledImages, augment: Augment, views: int, seed: int) -> LabelledImages:
    """Draw `views` augmented views of every image, once.

    Args:
        dataset: N images and labels.
        augment: Draws from torch's default generator, which is left as it was.
        views: r, at least 1.
        seed: Seed of the draws.

    Returns:
        N r images in memory as uint8 (rounded to 1 / 255); the views of image i are i, i + N, ...

    Raises:
        ValueError: If `views` is below 1.
    """
    if views < 1:
        raise ValueError(f"views must be at least 1, found {views}.")
    parts = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(views):
            for start in range(0, len(dataset), _CHUNK):
                images, labels = dataset.__getitems__(range(start, min(start + _CHUNK, len(dataset))))
                parts.append(as_bytes(augment(images, labels)))
    return LabelledImages(MemoryStore(torch.cat(parts)), dataset.labels.repeat(views))


class FrozenViews(ImageDataModule):
    """An image dataset whose training images are frozen views; all other splits stay as they are.

    Args:
        path: See `ImageDataModule`.
        augment: Draws the views, see `freeze_views`.
        views: Views of each image, at least 1.
        **kwargs: See `ImageDataModule`.
    """

    def __init__(self, path: str, augment: Augment, views: int, **kwargs: Any) -> None:
        super().__init__(path, **kwargs)
        self._augment, self._views = augment, views

    def load_splits(self) -> Splits:
        """Load the splits, then freeze the views."""
        splits = super().load_splits()
        return replace(splits, train=freeze_views(splits.train, self._augment, self._views, self.seed))
