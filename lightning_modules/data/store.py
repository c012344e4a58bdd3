"""Stores of the images of a split: decoded in memory, files that are decoded on the fly, or several of these."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import torch
from torch import Tensor

from lightning_modules.data.decoding import ImageFormat, decode

_MEBIBYTE = 2**20
_CHUNK = 256


class ImageStore(ABC):
    """Images of one shape, fetched by index as float batches `[B, C, H, W]` in [0, 1]."""

    in_memory: bool

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at the indices, float32 `[B, C, H, W]` in [0, 1]."""

    @abstractmethod
    def content_hashes(self) -> set[bytes]:
        """Return a hash of each image; equal images have equal hashes within one kind of store."""


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

    def content_hashes(self) -> set[bytes]:
        """Return hashes of the decoded pixels, which do not depend on the file format."""
        return {_digest(image.tobytes()) for image in self.images.numpy()}


class FileStore(ImageStore):
    """Encoded images in a memory-mapped table, decoded when fetched.

    Args:
        rows: Table whose column `image` holds undecoded images.
        image_format: The format of the decoded images.
        where: Name of the table for error messages.
    """

    in_memory = False

    def __init__(self, rows: datasets.Dataset, image_format: ImageFormat, where: str) -> None:
        self.rows = rows
        self.image_format = image_format
        self.where = where

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at the indices, float32 `[B, C, H, W]` in [0, 1]."""
        records = self.rows[list(indices)]["image"]
        images = [decode(record, self.image_format, self.where) for record in records]
        return torch.stack(images).float().div_(255)

    def content_hashes(self) -> set[bytes]:
        """Return hashes of the encoded files, which need no decoding."""
        return {_digest(record["bytes"] or Path(record["path"]).read_bytes()) for record in self._records()}

    def decoded(self) -> MemoryStore:
        """Return the same images decoded into memory."""
        shape = (self.image_format.channels, self.image_format.height, self.image_format.width)
        images = torch.empty(len(self), *shape, dtype=torch.uint8)
        for index, record in enumerate(self._records()):
            images[index] = decode(record, self.image_format, self.where)
        return MemoryStore(images)

    def fits(self, memory_limit: int) -> bool:
        """Return True if the decoded images need at most `memory_limit` MiB."""
        return len(self) * self.image_format.num_bytes <= memory_limit * _MEBIBYTE

    def _records(self) -> Iterator[dict]:
        for chunk in self.rows.iter(batch_size=_CHUNK):
            yield from chunk["image"]


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


def as_bytes(images: Tensor) -> Tensor:
    """Return images as uint8, for a `MemoryStore`: clamped to [0, 1] and rounded."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8)


def check_no_overlap(influence: FileStore, splits: dict[str, ImageStore]) -> None:
    """Raise when the influence set shares an image with another split, of those that are given by name.

    Images are compared by content hash; no label is read, so that the test split may be among the splits.

    Raises:
        ValueError: Naming the first split that shares images, and how many.
    """
    pixels, files = influence.decoded().content_hashes(), influence.content_hashes()
    for name, store in splits.items():
        shared = len((pixels if store.in_memory else files) & store.content_hashes())
        if shared:
            raise ValueError(
                f"influence_path ({influence.where}) shares {shared} of its {len(influence)} images with the "
                f"{name} split: remove them there, or leave influence_path out to cut the influence set off "
                "the training data."
            )


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
