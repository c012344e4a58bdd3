"""Stores of the images of a split: decoded in memory, or several stores as one."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor


class ImageStore(ABC):
    """Images of one shape, fetched by index as float batches `[B, C, H, W]` in [0, 1]."""

    in_memory: bool

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at the indices, float32 `[B, C, H, W]` in [0, 1]."""

    @abstractmethod
    def content_hashes(self) -> list[bytes]:
        """Return a hash of each image, in their order; equal images have equal hashes within one kind of store."""


class MemoryStore(ImageStore):
    """Decoded images in one uint8 tensor: a batch is one indexing operation.

    Args:
        images: uint8 `[N, C, H, W]`.
    """

    in_memory = True

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at the indices, float32 `[B, C, H, W]` in [0, 1]."""
        return self.images[torch.as_tensor(indices)].float().div_(255)

    def content_hashes(self) -> list[bytes]:
        """Return hashes of the decoded pixels, which do not depend on the file format; computed once."""
        return self._hashes

    @cached_property
    def _hashes(self) -> list[bytes]:
        return [digest(image.tobytes()) for image in self.images.numpy()]


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

    def content_hashes(self) -> list[bytes]:
        """Return the hashes of the images of all stores."""
        return [one for store in self.stores for one in store.content_hashes()]


def as_bytes(images: Tensor) -> Tensor:
    """Return images as uint8, for a `MemoryStore`: clamped to [0, 1] and rounded."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8)


def digest(content: bytes) -> bytes:
    """Return a hash of 16 bytes of an image."""
    return hashlib.blake2b(content, digest_size=16).digest()
