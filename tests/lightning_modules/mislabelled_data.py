"""Digits of which one training label in twenty is wrong."""

from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor

from lightning_modules.data import DigitsDataModule, LabelledImages, Splits
from studies.label_noise import flip_labels


class FlippedDigits(DigitsDataModule):
    """The digits with 5 % of the training labels flipped."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @cached_property
    def true_splits(self) -> Splits:
        return super().load_splits()

    def load_splits(self) -> Splits:
        train = self.true_splits.train
        labels = flip_labels(train.labels, 10, 0.05, seed=self.seed)
        return replace(self.true_splits, train=LabelledImages(train.store, labels, train.sources))

    def flipped(self) -> Tensor:
        return self.splits.train.labels != self.true_splits.train.labels
