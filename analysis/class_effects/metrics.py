"""Accuracy, confusion and errors of each class, by the label of an image or by all labels that people gave it.

With l(x) the set of labels of image x, and X_k the images whose own label is k (Kirichenko et al., 2023):

    accuracy          a_k = |{x in X_k : f(x) in l(x)}| / |X_k|
    error rate        CR_kl = |{x in X_k : f(x) = l, l not in l(x)}| / |X_k|,     sum_l CR_kl = 1 - a_k
    false positives   FP_l = |{x : f(x) = l, l not in l(x)}|
    false negatives   FN_k = |{x in X_k : f(x) not in l(x)}|

`l(x) = {k}` gives the usual single-label numbers. Images with an empty set are not counted. The formula of FN is this
project's reading of its description.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """The class of each of N images, `[N]`, and whether each of K classes is a right answer, `[N, K]`."""

    labels: Integers
    sets: Flags

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.sets.ndim != 2 or len(self.labels) != len(self.sets):
            raise ValueError(
                f"expected labels [N] and sets [N, K] of the same images, found {list(self.labels.shape)} and "
                f"{list(self.sets.shape)}."
            )
        if self.labels.min(initial=0) < 0 or self.labels.max(initial=0) >= self.num_classes:
            raise ValueError(f"labels: expected class numbers below {self.num_classes}, found others.")
        missing = np.flatnonzero(np.bincount(self.labels[self.counted], minlength=self.num_classes) == 0)
        if missing.size:
            raise ValueError(f"there is no image of class {missing.tolist()} to measure on: take more images.")

    @classmethod
    def single(cls, labels: Any, num_classes: int) -> Truth:
        """Return the truth in which every image has its own label, of `[N]`, as its only right answer."""
        labels = np.asarray(labels, dtype=np.int64)
        return cls(labels, labels[:, None] == np.arange(num_classes))

    @classmethod
    def from_votes(cls, labels: Any, votes: Any, threshold: float) -> Truth:
        """Return the truth in which a class is a right answer if its share of the votes reaches a threshold.

        Args:
            labels: Class numbers, `[N]`.
            votes: Number of people who named each class, `[N, K]`, for instance CIFAR-10H (Peterson et al., 2019).
            threshold: In (0, 1].

        Raises:
            ValueError: If the votes are not those of these images, or the threshold is out of range.
        """
        labels, votes = np.asarray(labels, dtype=np.int64), np.asarray(votes, dtype=np.float64)
        if not 0 < threshold <= 1:
            raise ValueError(f"a share of votes must lie in (0, 1], found {threshold}.")
        if votes.ndim != 2 or len(votes) != len(labels):
            raise ValueError(
                f"votes: expected one row for each of {len(labels)} images, found an array of {list(votes.shape)}."
            )
        totals = votes.sum(axis=1, keepdims=True)
        if not (np.isfinite(votes).all() and (votes >= 0).all() and (totals > 0).all()):
            raise ValueError("votes: expected counts of at least 0, and one vote or more for each image.")
        return cls(labels, votes >= threshold * totals)

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.sets.shape[1])

    @property
    def counted(self) -> Flags:
        """Images that have a right answer, `[N]`."""
        return np.asarray(self.sets.any(axis=1))

    @property
    def sizes(self) -> Integers:
        """Images of each class that are counted, `[K]`."""
        return np.bincount(self.labels[self.counted], minlength=self.num_classes)


@dataclass(frozen=True)
class ClassErrors:
    """Errors of one or several predictions, and the metrics that follow from them.

    They are counts of the images of each class that are wrongly taken for each class, `[..., K, K]`, and the sizes of
    the classes, `[..., K]`.
    """

    counts: Integers
    sizes: Integers

    @classmethod
    def of(cls, truth: Truth, predicted: ArrayLike) -> ClassErrors:
        """Count the errors of predictions `[N]`, see `error_counts`."""
        return cls(error_counts(truth, predicted), truth.sizes)

    @property
    def rates(self) -> Floats:
        """CR `[..., K, K]`."""
        return np.asarray(self.counts / self.sizes[..., None])

    @property
    def accuracy(self) -> Floats:
        """Accuracy of each class, `[..., K]`."""
        return np.asarray(1 - self.false_negatives / self.sizes)

    @property
    def false_positives(self) -> Integers:
        """FP `[..., K]`."""
        return np.asarray(self.counts.sum(axis=-2))

    @property
    def false_negatives(self) -> Integers:
        """FN `[..., K]`."""
        return np.asarray(self.counts.sum(axis=-1))

    @property
    def mean_accuracy(self) -> Floats:
        """Accuracy over all images, `[...]`."""
        return np.asarray(1 - self.counts.sum(axis=(-2, -1)) / self.sizes.sum(axis=-1))


def confusion_counts(labels: ArrayLike, predicted: ArrayLike, num_classes: int) -> Integers:
    """Count how often images of each class are taken for each class, `[K, K]`: label, then prediction."""
    target, preds = (torch.as_tensor(np.asarray(values, dtype=np.int64)) for values in (labels, predicted))
    counts: Integers = multiclass_confusion_matrix(preds, target, num_classes, validate_args=False).numpy()
    return counts


def error_counts(truth: Truth, predicted: ArrayLike) -> Integers:
    """Count how often images of each class are wrongly taken for each class, `[K, K]`: label, then prediction.

    The diagonal is 0 unless people disagree with the label of an image.

    Raises:
        ValueError: If there are not as many predictions as images.
    """
    predicted = np.asarray(predicted, dtype=np.int64)
    if predicted.shape != truth.labels.shape:
        raise ValueError(f"expected one prediction for each of {len(truth.labels)} images, found {predicted.shape}.")
    wrong = truth.counted & ~truth.sets[np.arange(len(predicted)), predicted]
    return confusion_counts(truth.labels[wrong], predicted[wrong], truth.num_classes)


def error_rates(truth: Truth, predicted: ArrayLike) -> Floats:
    """Return CR `[K, K]`: the share of the images of each class that are wrongly taken for each class."""
    return ClassErrors.of(truth, predicted).rates


def class_accuracy(truth: Truth, predicted: ArrayLike) -> Floats:
    """Return a `[K]`: the share of the images of each class whose prediction is a right answer."""
    return ClassErrors.of(truth, predicted).accuracy


def false_positives(truth: Truth, predicted: ArrayLike) -> Integers:
    """Return FP `[K]`: images that are wrongly taken for each class."""
    return ClassErrors.of(truth, predicted).false_positives


def false_negatives(truth: Truth, predicted: ArrayLike) -> Integers:
    """Return FN `[K]`: images of each class whose prediction is no right answer."""
    return ClassErrors.of(truth, predicted).false_negatives
