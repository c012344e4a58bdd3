"""The data module with a fourth split: train, influence, validation and test never overlap."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_modules.data.checks import require_at_least, validate_images
from lightning_modules.data.labelled_images import Batch, LabelledImages, make_loader
from lightning_modules.data.resumable import ResumableLoader


@dataclass(frozen=True)
class Splits:
    """The four splits of a data module; the test images are loaded when first asked for."""

    train: LabelledImages
    influence: LabelledImages
    validation: LabelledImages
    load_test: Callable[[], LabelledImages]
    class_names: tuple[str, ...]


class InfluenceDataModule(pl.LightningDataModule, ABC):
    """Base of the data modules: four disjoint splits, batches `(images, labels)`.

    Images are float32 `[B, C, H, W]` in [0, 1], labels int64 `[B]`. A subclass gives `load_splits`.
    The splits are loaded at the first use of any property, so that a model can be built from
    `num_classes` and `in_channels` before the trainer calls `setup`. Nothing but `test_dataloader` and
    `predict_dataloader` reads the labels of the test split.

    Args:
        batch_size: Images a batch.
        num_workers: Processes that decode images on the fly; images held in memory need none.
        seed: Seed of the splits and of the order of the training images.
    """

    def __init__(self, batch_size: int = 64, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        require_at_least(1, batch_size=batch_size)
        require_at_least(0, num_workers=num_workers, seed=seed)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._training: DataLoader[Batch] | None = None
        self._resumed: dict[str, Any] | None = None

    @abstractmethod
    def load_splits(self) -> Splits:
        """Load the splits and raise on anything wrong with them; called once."""

    @cached_property
    def splits(self) -> Splits:
        """The splits, loaded at first use."""
        return self.load_splits()

    @cached_property
    def _test(self) -> LabelledImages:
        return self.splits.load_test()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return self.splits.class_names

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """Channels of the images: 1 for grey, 3 for RGB."""
        return int(self.splits.influence[0][0].shape[0])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        height, width = self.splits.influence[0][0].shape[1:]
        return height, width

    def setup(self, stage: str) -> None:
        """Load the training, influence and validation split, so that errors come before training.

        Args:
            stage: Lightning's stage; every one needs the same splits.
        """
        _ = self.splits

    def influence_set(self) -> Batch:
        """The whole influence set: images `[M, C, H, W]` in [0, 1] and labels `[M]`."""
        images, labels = self.splits.influence.everything()
        validate_images(images)
        return images, labels

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches; a last one that is smaller is left out, as batch statistics need a full one."""
        train = self.splits.train
        world_size = 1 if self.trainer is None else self.trainer.world_size
        drop_last = len(train) // world_size >= self.batch_size
        shuffle = torch.Generator().manual_seed(self.seed)
        self._training = make_loader(train, self.batch_size, self.num_workers, shuffle, drop_last)
        if self._resumed is not None and isinstance(self._training, ResumableLoader):
            self._training.load_state_dict(self._resumed)
            self._resumed = None
        return self._training

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation split, in order."""
        return make_loader(self.splits.validation, self.batch_size, self.num_workers)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test split, in order."""
        return make_loader(self._test, self.batch_size, self.num_workers)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test split, in order."""
        return self.test_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """The place in the training data.

        Lightning keeps that too, but restores it only if nobody asks beforehand how long the run will be, and learning
        rate schedules do.
        """
        return self._training.state_dict() if isinstance(self._training, ResumableLoader) else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on at the place in the training data where `state_dict` was called.

        Args:
            state_dict: What it returned.
        """
        self._resumed = state_dict or None
