"""Store of image files that are decoded on the fly."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import torch
from torch import Tensor

from lightning_modules.data.decoding import ImageFormat, decode
from lightning_modules.data.store import ImageStore, MemoryStore, digest

_MEBIBYTE = 2**20
_CHUNK = 256


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

    def content_hashes(self) -> list[bytes]:
        """Return hashes of the encoded files, which need no decoding."""
        return [digest(record["bytes"] or Path(record["path"]).read_bytes()) for record in self._records()]

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
