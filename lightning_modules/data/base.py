"""The data module with a fourth split: train, influence, validation and test never overlap."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.data.folds import TrainingBatch, TrainingImages, equal_folds
from lightning_modules.data.joined import join
from lightning_modules.data.labelled_images import Batch, LabelledImages, make_loader
from lightning_modules.data.resumable import ResumableLoader
from lightning_modules.learner.checks import check_choice, require_at_least, validate_images

_GOLDEN = (5**0.5 - 1) / 2  # its multiples, but for whole numbers, fill (0, 1) more evenly than those of any other

InfluenceSet = Literal["held_out", "cross_fit", "train"]
"""Where the influence set comes from, see `InfluenceDataModule`."""


@dataclass(frozen=True)
class Splits:
    """The four splits of a data module; the test images are loaded when first asked for.

    Attributes:
        train: Training images.
        influence: Images of the influence set.
        validation: Images that are monitored.
        load_test: Loads the test images.
        class_names: Names of the classes, in the order of the labels.
        deployment: Whether the influence images come from deployment, and were not cut off the training images.
    """

    train: LabelledImages
    influence: LabelledImages
    validation: LabelledImages
    load_test: Callable[[], LabelledImages]
    class_names: tuple[str, ...]
    deployment: bool = False


class InfluenceDataModule(pl.LightningDataModule, ABC):
    """Base of the data modules: four disjoint splits, batches `(images, labels)`.

    Images are float32 `[B, C, H, W]` in [0, 1], labels int64 `[B]`. Training batches are `(images, labels, rows)`: the
    third is the number of each image in `training_images`, int64 `[B]`. A subclass gives `load_splits`.
    The splits are loaded at the first use of any property, so that a model can be built from
    `num_classes` and `in_channels` before the trainer calls `setup`. Nothing but `test_dataloader` and
    `predict_dataloader` reads the labels of the test split.

    What the influence set costs is the images that are not trained on. `cross_fit` lowers the price: the pool (the
    influence images if they come from deployment, otherwise all labelled training images) is cut into folds, and each
    in turn is the influence set while all others train, so that no image's own loss steers its own augmentation and
    every image trains. Whoever trains calls `rotate` at the start of each epoch, and `release` once the policy is
    frozen. An epoch is always as many images as all but one fold, so that its length, which learning rate schedules
    count on, never changes. `draw` lets some of them train more often than others.

    Args:
        batch_size: Images a batch.
        num_workers: Processes that decode images on the fly; images held in memory need none.
        seed: Seed of the splits, of the folds and of the order of the training images.
        influence_set: Where the influence set comes from. `held_out`: images that are never trained on. `cross_fit`:
            the folds of the pool in turn. `train`: there is none, its images train too; for training without a policy
            or with a frozen one.
        folds: Folds of `cross_fit`, at least 2, of one size: the influence set is a `folds`-th of the pool. A
            remainder of fewer than `folds` images always trains. More folds train on more images an epoch and give a
            smaller, noisier influence set, whose pass through the network costs less.
        fold_epochs: Epochs that a fold is the influence set before the next one is. With few, its images were trained
            on until just before, so that their loss is low and says less about new images; with many, one set of
            images steers the policy for long, and `folds * fold_epochs` epochs pass until all have.
    """

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        influence_set: InfluenceSet = "held_out",
        folds: int = 5,
        fold_epochs: int = 1,
    ) -> None:
        super().__init__()
        require_at_least(1, batch_size=batch_size, fold_epochs=fold_epochs)
        require_at_least(0, num_workers=num_workers, seed=seed)
        require_at_least(2, folds=folds)
        check_choice("influence_set", influence_set, InfluenceSet)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.influence_mode = influence_set
        self.folds, self.fold_epochs = folds, fold_epochs
        self._epoch, self._fold, self._released = 0, 0, False
        self._drawn = False
        self._training: DataLoader[TrainingBatch] | None = None
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

    @cached_property
    def training_images(self) -> LabelledImages:
        """All images that train at some time: the training split and, unless they are held out, the influence images.

        The place of an image here is its row number in training batches. It depends on the seed and the sizes alone.
        """
        splits = self.splits
        return splits.train if self.influence_mode == "held_out" else join([splits.train, splits.influence])

    @property
    def num_train_rows(self) -> int:
        """How many images train at some time: the row numbers of training batches lie below."""
        return len(self.training_images)

    @cached_property
    def _folds(self) -> Tensor:
        """Row numbers `[folds, size]` of the images that are held out in turn; `[0, 0]` if none are."""
        if self.influence_mode != "cross_fit":
            return torch.zeros(0, 0, dtype=torch.int64)
        first = len(self.splits.train) if self.splits.deployment else 0
        pool = self.training_images.labels[first:].numpy()
        return torch.from_numpy(equal_folds(pool, self.folds, self.class_names, self.seed)) + first

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
        _ = self.splits, self._folds

    def influence_set(self) -> Batch:
        """The whole influence set, with `cross_fit` this epoch's fold: images `[M, C, H, W]` in [0, 1], labels `[M]`.

        Raises:
            ValueError: If its images train too, or are no valid images.
        """
        if self.influence_mode == "train":
            raise ValueError(
                "influence_set train trains on the influence images too, so that none are left to learn a policy from: "
                "set data.influence_set to held_out or cross_fit, or learn none (model.policy_file, or model.control "
                "plain or uniform)."
            )
        if self.influence_mode == "cross_fit":
            images, labels = self.training_images.__getitems__(self._folds[self._fold].tolist())
        else:
            images, labels = self.splits.influence.everything()
        validate_images(images)
        return images, labels

    def rotate(self, epoch: int) -> bool:
        """Let the fold whose turn it is sit out, and all other images train once each, until `draw` says otherwise.

        Call it with `trainer.current_epoch` in the hooks `on_train_start` and `on_train_epoch_start`, in every epoch,
        after `release` too. Both come before the first batch of the epoch is drawn; the second Lightning leaves out
        where a run is resumed behind the last batch of an epoch. A second call in an epoch changes nothing.

        Args:
            epoch: The epoch that begins, from 0.

        Returns:
            Whether the influence set is another one now.
        """
        if epoch == self._epoch:
            return False
        self._epoch, before, period = epoch, self._fold, 1 if self._released else self.fold_epochs
        self._fold = epoch // period % max(len(self._folds), 1)
        self._drawn = False
        if self._training is not None:
            self._images_of_epoch.hold_out(self._fold)
        return self._fold != before

    def draw(self, weights: Tensor) -> Tensor:
        """Let each image train in this epoch as often as its weight says; see `TrainingImages.draw`.

        Call it behind `rotate`, in the same hooks; the weights must be the same on all ranks. A second call in an epoch
        changes nothing. Over the epochs the counts of an image add up to its weights: the offsets are multiples of the
        golden ratio.

        Args:
            weights: `[N]`, >= 0 and not all 0.

        Returns:
            How often each image trains in this epoch, int64 `[N]`.
        """
        images = self._images_of_epoch
        if not self._drawn:
            images.draw(weights, (self._epoch + 0.5) * _GOLDEN % 1)
            self._drawn = True
        return images.of_epoch.bincount(minlength=self.num_train_rows)

    @property
    def _images_of_epoch(self) -> TrainingImages:
        if self._training is None:
            raise RuntimeError("no loader of training batches yet: call train_dataloader first")
        return cast(TrainingImages, self._training.dataset)

    def release(self) -> None:
        """No image is needed as influence set any more: all train alike, from the next epoch on.

        An epoch stays as long as it was: another fold sits out of each, whatever `fold_epochs` is, so that every image
        is in all but one of `folds` epochs.
        """
        self._released = True

    def train_dataloader(self) -> DataLoader[TrainingBatch]:
        """Shuffled batches `(images, labels, rows)`; a last, smaller one is left out: batch statistics need a full one.

        Raises:
            ValueError: If a run is resumed with other folds, or draws from other data.
        """
        train = TrainingImages(self.training_images, self._folds, self._fold)
        world_size = 1 if self.trainer is None else self.trainer.world_size
        drop_last = len(train) // world_size >= self.batch_size
        shuffle = torch.Generator().manual_seed(self.seed)
        self._training = make_loader(train, self.batch_size, self.num_workers, shuffle, drop_last)
        resumed, self._resumed, self._drawn = self._resumed, None, False
        if resumed is not None and isinstance(self._training, ResumableLoader):
            written = resumed.get("folds", 0)
            if written != len(self._folds):
                raise ValueError(
                    f"the checkpoint was written with {written} folds, found {len(self._folds)}: resume with the "
                    "data.influence_set and the data.folds of its run."
                )
            if "rows" in resumed:
                self._go_on_with(train, resumed["rows"])
            self._training.load_state_dict(resumed)
        return self._training

    def _go_on_with(self, train: TrainingImages, rows: Tensor) -> None:
        """Take the rows that were drawn when the checkpoint was written; the next epoch has rows of its own."""
        if len(rows) != len(train) or int(rows.max()) >= self.num_train_rows:
            raise ValueError(
                f"the checkpoint was written with {len(rows)} images an epoch, found {len(train)}: resume with the "
                "data and the data.influence_set of its run."
            )
        train.of_epoch.copy_(rows)
        self._drawn = True

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
        """The place in the training data, the fold that sits out, and the rows that were drawn.

        Lightning keeps the place too, but restores it only if nobody asks beforehand how long the run will be, and
        learning rate schedules do.
        """
        if not isinstance(self._training, ResumableLoader):
            return {}
        state = self._training.state_dict()
        if len(self._folds):
            state |= {"epoch": self._epoch, "folds": len(self._folds), "fold": self._fold, "released": self._released}
        if self._drawn:
            state |= {"epoch": self._epoch, "rows": self._images_of_epoch.of_epoch.clone()}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on at the place in the training data where `state_dict` was called.

        Args:
            state_dict: What it returned.
        """
        self._resumed = state_dict or None
        self._epoch = state_dict.get("epoch", 0)
        if state_dict.get("folds") == len(self._folds):
            self._fold, self._released = state_dict["fold"], state_dict["released"]

    def teardown(self, stage: str) -> None:
        """Forget the place of a checkpoint that was tested, not trained on from.

        Args:
            stage: Lightning's stage.
        """
        self._resumed = None
