"""Base of the data modules: training, influence, validation and test split, and the influence set of each epoch."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.data.folds import TrainingBatch, TrainingImages, equal_folds
from lightning_modules.data.labelled_images import LabelledBatch, LabelledImages, Splits, join, make_loader
from lightning_modules.data.renamed_arguments import accepts_old_names
from lightning_modules.data.resumable import ResumableLoader
from lightning_modules.learner.checks import check_choice, check_numbers, validate_images

_GOLDEN_RATIO = (5**0.5 - 1) / 2  # the fractional parts of its multiples fill (0, 1) evenly

InfluenceSource = Literal["held_out", "cross_fit", "train"]
"""Source of the influence set, see `InfluenceDataModule`."""


class InfluenceDataModule(pl.LightningDataModule, ABC):
    """Base of the data modules: four disjoint splits, batches `(images, labels)`.

    Images are float32 `[B, C, H, W]` in [0, 1], labels int64 `[B]`, or float32 `[B, K]` of 0 and 1 where an image may
    have several (`multilabel`). Training batches are `(images, labels, rows)`: the third is the number of each image in
    `training_images`, int64 `[B]`. A subclass implements `load_splits`.
    The splits are loaded at the first use of any property, so that a model can be built from
    `num_classes` and `in_channels` before the trainer calls `setup`. Only `test_dataloader` and `predict_dataloader`
    read the labels of the test split.

    With a held-out influence set, these images are lost for training. `cross_fit` avoids most of this loss: the pool
    (the influence images if they come from deployment, otherwise all labelled training images) is cut into folds; one
    fold at a time is the influence set and all others train, so that no image's own loss steers its own augmentation
    and every image trains. The training loop calls `rotate` at the start of each epoch, and `release` once the policy
    is frozen. Every epoch has as many images as all but one fold, so that the length of an epoch, on which learning
    rate schedules depend, is constant. `draw` makes images train in proportion to weights.

    Args:
        batch_size: Images a batch.
        num_workers: Processes that decode images on the fly; images held in memory need none.
        seed: Seed of the splits, of the folds and of the order of the training images.
        influence_source: Source of the influence set. `held_out`: images that are never trained on. `cross_fit`:
            the folds of the pool in turn. `train`: no influence set, its images train too; for training without a
            policy or with a frozen one.
        folds: Number of folds of `cross_fit`, at least 2, of equal size: the influence set is a `folds`-th of the pool.
            The remainder of fewer than `folds` images always trains. More folds train on more images an epoch and give
            a smaller, noisier influence set, whose pass through the network at every solve costs less: cut 50,000
            images into 100 or more.
        fold_epochs: Consecutive epochs in which one fold is the influence set. If few, its images were trained on
            recently, so that their loss is low and less representative of new images; if many, one set of images
            steers the policy for long, and a full turn takes `folds * fold_epochs` epochs.
    """

    @accepts_old_names
    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        influence_source: InfluenceSource = "held_out",
        folds: int = 5,
        fold_epochs: int = 1,
    ) -> None:
        super().__init__()
        check_numbers("data.", "[1, 1000000]", batch_size=batch_size)
        check_numbers("data.", "[1, 10000]", fold_epochs=fold_epochs)
        check_numbers("data.", "[0, 256]", num_workers=num_workers)
        check_numbers("data.", "[0, 4294967295]", seed=seed)
        check_numbers("data.", "[2, 1000000]", folds=folds)
        check_choice("influence_source", influence_source, InfluenceSource)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.influence_source = influence_source
        self.folds, self.fold_epochs = folds, fold_epochs
        self._epoch, self._fold, self._released = 0, 0, False
        self._drawn = False
        self._training: DataLoader[TrainingBatch] | None = None
        self._resumed: dict[str, Any] | None = None

    @abstractmethod
    def load_splits(self) -> Splits:
        """Load and check the splits; called once.

        Raises:
            ValueError: If the data cannot be split as asked for.
        """

    @cached_property
    def splits(self) -> Splits:
        """The splits, loaded at first use."""
        return self.load_splits()

    @cached_property
    def test_images(self) -> LabelledImages:
        """The test split, loaded at first use."""
        return self.splits.load_test()

    @cached_property
    def training_images(self) -> LabelledImages:
        """All images that train in some epoch: the training split and, unless held out, the influence images.

        The position of an image is its row number in training batches. It depends only on the seed and the sizes.
        """
        splits = self.splits
        return splits.train if self.influence_source == "held_out" else join([splits.train, splits.influence])

    @property
    def num_train_rows(self) -> int:
        """Number of images that train in some epoch, N; row numbers of training batches lie in 0..N-1."""
        return len(self.training_images)

    @cached_property
    def _folds(self) -> Tensor:
        """Row numbers `[folds, size]` of the images that are held out in turn; `[0, 0]` without cross-fitting."""
        if self.influence_source != "cross_fit":
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
    def multilabel(self) -> bool:
        """True if an image may have several labels, or none: labels are `[N, K]`."""
        return self.splits.train.labels.ndim == 2

    def check_one_label(self, what: str) -> None:
        """Raise ValueError, naming what needs it, if an image may have several labels."""
        if self.multilabel:
            raise ValueError(f"{what} is for data of one label an image, and an image of these may have several.")

    @property
    def in_channels(self) -> int:
        """Channels of the images: 1 for gray, 3 for RGB."""
        return int(self.splits.influence[0][0].shape[0])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        height, width = self.splits.influence[0][0].shape[1:]
        return height, width

    def setup(self, stage: str) -> None:
        """Load the training, influence and validation split, so that errors come before training."""
        _ = self.splits, self._folds

    def influence_set(self) -> LabelledBatch:
        """Return the influence set, with `cross_fit` the fold of this epoch.

        Returns:
            Images float32 `[M, C, H, W]` in [0, 1], labels int64 `[M]` or float32 `[M, K]`.

        Raises:
            ValueError: If its images train too, or are invalid.
        """
        if self.influence_source == "train":
            raise ValueError(
                "influence_source train trains on the influence images too, so that none are left to learn a policy "
                "from: set data.influence_source to held_out or cross_fit, or learn none (model.policy_file, or "
                "model.control plain or uniform)."
            )
        if self.influence_source == "cross_fit":
            images, labels = self.training_images.__getitems__(self._folds[self._fold].tolist())
        else:
            images, labels = self.splits.influence.everything()
        validate_images(images)
        return images, labels

    def rotate(self, epoch: int) -> bool:
        """Hold out the fold of an epoch; all other images train once each, unless `draw` is called.

        Call it with `trainer.current_epoch` in the hooks `on_train_start` and `on_train_epoch_start`, in every epoch,
        also after `release`. Both come before the first batch of the epoch is drawn; Lightning omits the second one
        if a run is resumed after the last batch of an epoch. A second call in an epoch has no effect.

        Args:
            epoch: The epoch that begins, from 0.

        Returns:
            True if the influence set has changed.
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
        """Draw the images of this epoch in proportion to weights; see `TrainingImages.draw`.

        Call it after `rotate`, in the same hooks; the weights must be the same on all ranks. A second call in an epoch
        has no effect. The offset of the systematic resampling is a multiple of the golden ratio, so that over the
        epochs the counts of an image approach its weight.

        Args:
            weights: `[N]`, >= 0 and not all 0.

        Returns:
            Number of times that each image trains in this epoch, int64 `[N]`.
        """
        images = self._images_of_epoch
        if not self._drawn:
            images.draw(weights, (self._epoch + 0.5) * _GOLDEN_RATIO % 1)
            self._drawn = True
        return images.of_epoch.bincount(minlength=self.num_train_rows)

    @property
    def _images_of_epoch(self) -> TrainingImages:
        if self._training is None:
            raise RuntimeError("no loader of training batches yet: call train_dataloader first")
        return cast(TrainingImages, self._training.dataset)

    def release(self) -> None:
        """Give up the influence set: from the next epoch on, all folds train alike.

        The length of an epoch does not change: each epoch holds out the next fold, whatever `fold_epochs` is, so that
        every image is in all but one of `folds` epochs.
        """
        self._released = True

    def train_dataloader(self) -> DataLoader[TrainingBatch]:
        """Return shuffled batches `(images, labels, rows)`; drop a last, smaller one, for batch statistics.

        Raises:
            ValueError: If a run is resumed with other folds or other data.
        """
        train = TrainingImages(self.training_images, self._folds, self._fold)
        world_size = 1 if self.trainer is None else self.trainer.world_size
        drop_last = len(train) // world_size >= self.batch_size
        shuffle = torch.Generator().manual_seed(self.seed)
        self._training = make_loader(train, self.batch_size, self.num_workers, shuffle, drop_last)
        resumed, self._resumed, self._drawn = self._resumed, None, False
        if resumed is not None and isinstance(self._training, ResumableLoader):
            self._resume(self._training, train, resumed)
        return self._training

    def _resume(self, loader: ResumableLoader, train: TrainingImages, state: dict[str, Any]) -> None:
        """Restore the position, and the rows that were drawn for this epoch."""
        written, rows = state.get("folds", 0), state.get("rows")
        if written != len(self._folds):
            raise ValueError(
                f"the checkpoint was written with {written} folds, found {len(self._folds)}: resume with the "
                "data.influence_source and the data.folds of its run."
            )
        if rows is not None:
            if len(rows) != len(train) or int(rows.max()) >= self.num_train_rows:
                raise ValueError(
                    f"the checkpoint was written with {len(rows)} images an epoch, found {len(train)}: resume with "
                    "the data and the data.influence_source of its run."
                )
            train.of_epoch.copy_(rows)
            self._drawn = True
        loader.load_state_dict(state)

    def val_dataloader(self) -> DataLoader[LabelledBatch]:
        """Return batches of the validation split, in order."""
        return make_loader(self.splits.validation, self.batch_size, self.num_workers)

    def test_dataloader(self) -> DataLoader[LabelledBatch]:
        """Return batches of the test split, in order; raise ValueError if it has no labels."""
        self.check_test_labels()
        return self.predict_dataloader()

    def predict_dataloader(self) -> DataLoader[LabelledBatch]:
        """Return batches of the test split, in order; images without labels have the label -1."""
        return make_loader(self.test_images, self.batch_size, self.num_workers)

    def check_test_labels(self) -> None:
        """Raise ValueError if the test images have no labels."""
        if not self.splits.test_labelled:
            raise ValueError(
                "the test images have no labels, so that their accuracy cannot be measured: set run.test to false, and "
                "predict them with the command predict; or sort them into test/CLASS."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the training data, the fold that is held out, and the rows that were drawn.

        Lightning saves the position too, but restores it only if the length of the run was not asked for before, as
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
        """Continue at the position in the training data at which `state_dict` was called."""
        self._resumed = state_dict or None
        self._epoch = state_dict.get("epoch", 0)
        if state_dict.get("folds") == len(self._folds):
            self._fold, self._released = state_dict["fold"], state_dict["released"]

    def teardown(self, stage: str) -> None:
        """Drop the position of a checkpoint that was tested and not resumed."""
        self._resumed = None
