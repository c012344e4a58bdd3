"""Datasets of stored images that make a batch in one operation, the four splits of a data module, and their loader."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_modules.data.resumable import ResumableLoader
from lightning_modules.data.store import ImageStore, JoinedStore

LabelledBatch = tuple[Tensor, Tensor]
"""Images `[B, C, H, W]` in [0, 1] and labels `[B]` or `[B, K]`; of a single item `[C, H, W]` and `[]` or `[K]`."""
Item = TypeVar("Item")


class StoredDataset(Dataset[Item]):
    """A dataset on top of an image store, whose `__getitems__` returns a whole batch."""

    store: ImageStore


class LabelledImages(StoredDataset[LabelledBatch]):
    """Images and their labels, by index: `dataset[i]` is one pair, `__getitems__` a whole batch.

    PyTorch's loader passes the indices of a batch to `__getitems__` with any sampler, so that Lightning can divide
    the images among ranks by replacing the sampler.

    Args:
        store: The images.
        labels: int64 `[N]`, the class of each; or float32 `[N, K]`, 1 for each class that an image shows, otherwise 0.
        sources: Returns the origin of each image, for users who look for it: its file, or its row in the data before
            they were split. Called at each use; by default the index.
    """

    def __init__(self, store: ImageStore, labels: Tensor, sources: Callable[[], Sequence[str]] | None = None) -> None:
        self.store = store
        self.labels = labels
        self.sources = sources or self._indices

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> LabelledBatch:
        return self.store.fetch([index])[0], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> LabelledBatch:
        return self.store.fetch(indices), self.labels[torch.as_tensor(indices)]

    def _indices(self) -> Sequence[str]:
        return [str(index) for index in range(len(self))]

    def everything(self) -> LabelledBatch:
        """Return all images, float32 `[N, C, H, W]` in [0, 1], and all labels."""
        return self.__getitems__(range(len(self)))


def join(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Concatenate labeled images of one shape and with the same classes."""
    store = JoinedStore([part.store for part in parts])
    return LabelledImages(store, torch.cat([part.labels for part in parts]), partial(_joined_sources, parts))


def _joined_sources(parts: Sequence[LabelledImages]) -> list[str]:
    """Return the origin of each image; a function of the module, so that the images can be sent to a process."""
    return [source for part in parts for source in part.sources()]


@dataclass(frozen=True)
class Splits:
    """The four disjoint splits of a data module; the test images are loaded at their first use.

    Attributes:
        train: Training images.
        influence: Images of the influence set.
        validation: Images of the validation split.
        load_test: Loads the test images.
        class_names: Names of the classes, in the order of the labels.
        test_labelled: False if the test images have no labels: they can be predicted, not tested.
        deployment: True if the influence images come from deployment, False if they are a part of the training data.
    """

    train: LabelledImages
    influence: LabelledImages
    validation: LabelledImages
    load_test: Callable[[], LabelledImages]
    class_names: tuple[str, ...]
    deployment: bool = False
    test_labelled: bool = True


def make_loader(
    dataset: StoredDataset[Item],
    batch_size: int,
    num_workers: int,
    shuffle: Generator | None = None,
    drop_last: bool = False,
) -> DataLoader[Item]:
    """Return a loader of the batches that a dataset makes.

    Args:
        dataset: The dataset, with a length.
        batch_size: Images a batch.
        num_workers: Processes that decode images; images in memory are indexed in this process instead.
        shuffle: Generator that reorders the images each epoch; `None` keeps their order.
        drop_last: True to leave out a last, smaller batch.

    Returns:
        The loader; a shuffling one can be resumed in the middle of an epoch.
    """
    workers = 0 if dataset.store.in_memory else num_workers
    options: dict[str, Any] = {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "collate_fn": _keep_batch,
    }
    if shuffle is not None:
        return ResumableLoader.shuffling(dataset, batch_size, shuffle, drop_last, **options)
    return DataLoader(dataset, batch_size=batch_size, drop_last=drop_last, **options)


def _keep_batch(batch: Any) -> Any:
    """Return the batch unchanged: `__getitems__` has collated it."""
    return batch
