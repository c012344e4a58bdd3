"""Training sets of frozen views: each image is replaced by r augmented views that never change again.

Geiping et al., 2023, "fixed repetitions": with r views the diversity of a policy is bounded, with r = 1 there is none
and what is left is how far its images are from the data (consistency).
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lightning_modules.data import ImageDataModule, LabelledImages, Splits
from lightning_modules.data.store import MemoryStore

_CHUNK = 512


@torch.no_grad()
def freeze_views(dataset: LabelledImages, policy: nn.Module, views: int, seed: int) -> LabelledImages:
    """Draw `views` augmented views of every image, once.

    Args:
        dataset: N images and labels.
        policy: Images `[B, C, H, W]` and `generator` to images; put into training mode.
        views: r, at least 1.
        seed: Seed of the draws.

    Returns:
        N r images in memory as uint8 (rounded to 1 / 255); the views of image i are i, i + N, ...

    Raises:
        ValueError: If `views` is below 1.
    """
    if views < 1:
        raise ValueError(f"views must be at least 1, found {views}.")
    policy.train()
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(views):
        for start in range(0, len(dataset), _CHUNK):
            images, _ = dataset.__getitems__(range(start, min(start + _CHUNK, len(dataset))))
            parts.append((policy(images, generator=generator).clamp(0, 1) * 255).round().to(torch.uint8))
    return LabelledImages(MemoryStore(torch.cat(parts)), dataset.labels.repeat(views))


class FrozenViews(ImageDataModule):
    """An image dataset whose training images are frozen views; all other splits stay as they are.

    Args:
        path: See `ImageDataModule`.
        policy: Draws the views, see `freeze_views`.
        views: Views of each image, at least 1.
        **kwargs: See `ImageDataModule`.
    """

    def __init__(self, path: str, policy: nn.Module, views: int, **kwargs: Any) -> None:
        super().__init__(path, **kwargs)
        self._policy, self._views = policy, views

    def load_splits(self) -> Splits:
        """Load the splits, then freeze the views."""
        splits = super().load_splits()
        return replace(splits, train=freeze_views(splits.train, self._policy, self._views, self.seed))
