"""Concatenation of image stores and of labeled images."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from lightning_modules.data.labelled_images import LabelledImages
from lightning_modules.data.store import ImageStore


class JoinedStore(ImageStore):
    """The images of several stores, one after the other.

    Args:
        stores: Stores of images of one shape.
    """

    def __init__(self, stores: Sequence[ImageStore]) -> None:
        self.stores = stores
        self.in_memory = all(store.in_memory for store in stores)
        self._ends = torch.tensor([len(store) for store in stores]).cumsum(0)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at the indices, float32 `[B, C, H, W]` in [0, 1]."""
        wanted = torch.as_tensor(indices)
        owner = torch.bucketize(wanted, self._ends, right=True)
        parts, places = [], []
        for number, store in enumerate(self.stores):
            own = (owner == number).nonzero()[:, 0]
            if len(own):
                start = int(self._ends[number]) - len(store)
                parts.append(store.fetch((wanted[own] - start).tolist()))
                places.append(own)
        return torch.cat(parts)[torch.cat(places).argsort()]

    def content_hashes(self) -> set[bytes]:
        """Return the hashes of the images of all stores."""
        return set().union(*(store.content_hashes() for store in self.stores))


def join(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Concatenate labeled images.

    Args:
        parts: Images of one shape and with the same classes.
    """
    store = JoinedStore([part.store for part in parts])
    return LabelledImages(store, torch.cat([part.labels for part in parts]), partial(_sources, parts))


def _sources(parts: Sequence[LabelledImages]) -> list[str]:
    """Return the origin of each image."""
    return [source for part in parts for source in part.sources()]
