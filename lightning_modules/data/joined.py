"""Images of several stores under one index, and images from elsewhere in the format of a data module."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.data.base import InfluenceDataModule
from lightning_modules.data.decoding import ImageFormat
from lightning_modules.data.image_table import open_single
from lightning_modules.data.labelled_images import LabelledImages
from lightning_modules.data.store import FileStore, ImageStore


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
        """The images at the indices, float32 `[B, C, H, W]` in [0, 1]."""
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
        """The hashes of all stores."""
        return set().union(*(store.content_hashes() for store in self.stores))


def join(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Labelled images, one after the other.

    Args:
        parts: Images of one shape and with the same classes.
    """
    return LabelledImages(JoinedStore([part.store for part in parts]), torch.cat([part.labels for part in parts]))


def open_images(path: str, data: InfluenceDataModule, field: str) -> LabelledImages:
    """Read images from elsewhere, with the classes and the size of a data module, into memory.

    Args:
        path: Image folder, folder of parquet files, or hub name; if it has several splits, the training split.
        data: The data module. Images of another size are scaled and cropped to its own.
        field: Name of the argument that `path` came from, for error messages.

    Raises:
        ValueError: If there are no such images, or they have classes that the data module has not.
    """
    table = open_single(path, field, f"the images of {field}")
    labels, _ = table.labels(data.class_names)
    store = FileStore(table.images(), ImageFormat(data.in_channels, *data.image_size, resize=True), table.where)
    return LabelledImages(store.decoded(), torch.from_numpy(labels), table.sources)
