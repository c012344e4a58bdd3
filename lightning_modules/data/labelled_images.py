"""A torch dataset of images and labels whose batches are made at once, and its loader."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_modules.data.resumable import ResumableLoader
from lightning_modules.data.store import ImageStore

Batch = tuple[Tensor, Tensor]
Item = TypeVar("Item")


class StoredDataset(Dataset[Item]):
    """A dataset on top of an image store, whose `__getitems__` makes a whole batch at once."""

    store: ImageStore


class LabelledImages(StoredDataset[Batch]):
    """Images and their labels, by index: `dataset[i]` is one pair, `__getitems__` a whole batch.

    PyTorch's loader hands the indices of a batch to `__getitems__`, whatever the sampler, so Lightning
    can shard it by replacing the sampler.

    Args:
        store: The images.
        labels: int64 `[N]`, the class of each.
        sources: Tells where each image comes from, for people who look for it: its file, or its row in the data
            before they were split. Called when asked for; by default the index.
    """

    def __init__(self, store: ImageStore, labels: Tensor, sources: Callable[[], Sequence[str]] | None = None) -> None:
        self.store = store
        self.labels = labels
        self.sources = sources or self._indices

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Batch:
        return self.store.fetch([index])[0], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return self.store.fetch(indices), self.labels[torch.as_tensor(indices)]

    def _indices(self) -> Sequence[str]:
        return [str(index) for index in range(len(self))]

    def everything(self) -> Batch:
        """All images, float32 `[N, C, H, W]` in [0, 1], and all labels, int64 `[N]`."""
        return self.__getitems__(range(len(self)))


def make_loader(
    dataset: StoredDataset[Item],
    batch_size: int,
    num_workers: int,
    shuffle: Generator | None = None,
    drop_last: bool = False,
) -> DataLoader[Item]:
    """A loader of the batches that a dataset makes.

    Args:
        dataset: The dataset, with a length.
        batch_size: Images a batch.
        num_workers: Processes that decode images; images in memory are indexed in this process instead.
        shuffle: Generator that reorders the images each epoch; `None` keeps their order.
        drop_last: Whether a last, smaller batch is left out.

    Returns:
        The loader; a shuffling one goes on in the middle of an epoch when a run is resumed.
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
    """`__getitems__` has made the batch already."""
    return batch
