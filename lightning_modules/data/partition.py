"""Partition of a labeled table into disjoint, stratified splits, by row number.

`labels` are the classes of all rows of the table, `[N]`, or, with several labels an image, 0 or 1 for each class,
`[N, K]`. Errors name classes by `class_names`, a size by its `field`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.iterative_stratification import stratified_parts

Indices = NDArray[np.int64]
Labels = NDArray[Any]
"""Classes, int64 `[N]`, or 0 or 1 for each class, float32 `[N, K]`."""


@dataclass(frozen=True)
class Partition:
    """Row numbers of the four splits; no row is in two of them."""

    train: Indices
    influence: Indices
    validation: Indices
    test: Indices


def partition(
    labels: Labels,
    class_names: Sequence[str],
    *,
    influence_size: int,
    val_size: int,
    test_size: int,
    train_size: int | None,
    seed: int,
) -> Partition:
    """Cut the rows into test, validation, influence and training split, in this order.

    In this order the test split depends only on its own size and the seed, and the validation split does not
    depend on the size of the influence set. A size of 0 marks a split that has a table of its own.

    The training split is class-balanced if it has a size, with several labels an image in the proportions of the data;
    `train_size=None` takes all rows that are left.

    Raises:
        ValueError: When the rows do not suffice, or a split cannot hold every class.
    """
    held_out = {"test_size": test_size, "val_size": val_size, "influence_size": influence_size}
    of_each = len(classes_in(labels)) if labels.ndim == 1 else 1
    least = train_size or of_each
    if sum(held_out.values()) + least > len(labels):
        found = ", ".join(f"{name}={size}" for name, size in held_out.items())
        needed = sum(held_out.values()) + least
        why = " (one image a class)" if train_size is None and labels.ndim == 1 else ""
        raise ValueError(
            f"{found} and train_size={least}{why} together "
            f"need {needed} images, but there are {len(labels)}: lower one of the sizes."
        )
    rest = np.arange(len(labels), dtype=np.int64)
    taken = {}
    for field, size in held_out.items():
        taken[field], rest = _take_stratified(rest, labels, size, field, class_names, seed)
    if train_size is not None and labels.ndim == 1:
        rest = balanced_subset(rest, labels, train_size, seed)
    elif train_size is not None:
        rest = rest[stratified_subset(labels[rest], train_size, "train_size", class_names, seed)]
    missing = np.setdiff1d(classes_in(labels), classes_in(labels[rest]))
    if missing.size:
        raised = "" if train_size is None else f", or raise train_size={train_size}"
        raise ValueError(
            f"no training image is left of class {class_list(missing, class_names)}: "
            f"lower influence_size={influence_size}, val_size={val_size} or test_size={test_size}{raised}."
        )
    return Partition(rest, taken["influence_size"], taken["val_size"], taken["test_size"])


def balanced_subset(rows: Indices, labels: Indices, size: int, seed: int) -> Indices:
    """Draw `size` of some rows, with class counts that are as equal as possible; return them in increasing order.

    The classes give one row each in turn, until they have no more rows.

    Raises:
        ValueError: When there are fewer rows, or `size` is smaller than the number of classes.
    """
    num_classes = len(np.unique(labels[rows]))
    if size > len(rows):
        raise ValueError(f"train_size={size}, but only {len(rows)} images are left for training: lower it.")
    if size < num_classes:
        raise ValueError(
            f"train_size={size} cannot give each of {num_classes} classes a sample: raise it to {num_classes} at least."
        )
    shuffled = np.random.default_rng(seed).permutation(rows)
    turn = np.empty(len(rows), dtype=np.int64)
    for label in np.unique(labels[rows]):
        of_class = labels[shuffled] == label
        turn[of_class] = np.arange(of_class.sum())
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:size]])


def stratified_subset(labels: Labels, size: int, field: str, class_names: Sequence[str], seed: int) -> Indices:
    """Draw `size` rows of a table in its own class proportions, or return all rows if it has at most `size`.

    Raises:
        ValueError: When `size` cannot hold every class of the table.
    """
    rows = np.arange(len(labels), dtype=np.int64)
    return rows if size >= len(rows) else _take_stratified(rows, labels, size, field, class_names, seed)[0]


def _take_stratified(
    rows: Indices, labels: Labels, size: int, field: str, class_names: Sequence[str], seed: int
) -> tuple[Indices, Indices]:
    """Split the rows into `size` stratified ones and the rest."""
    if size == 0:
        return rows[:0], rows
    if labels.ndim == 2:
        chosen, others = stratified_parts(labels[rows], (size, len(rows) - size), seed)
        return rows[chosen], rows[others]
    present, counts = np.unique(labels[rows], return_counts=True)
    if size < len(present):
        raise ValueError(
            f"{field}={size} cannot give each of {len(present)} classes a sample: raise it to {len(present)} at least."
        )
    if counts.min() < 2:
        raise ValueError(
            f"class {class_list(present[counts < 2], class_names)} has a single image left when {field}={size} "
            "is cut off, so it cannot be in two splits: add images of it, or leave the class out."
        )
    if len(rows) - size < len(present):
        raise ValueError(
            f"{field}={size} of {len(rows)} images leaves less than one for each of {len(present)} classes: lower it."
        )
    from sklearn.model_selection import train_test_split  # here, as its import takes seconds

    taken, rest = train_test_split(rows, train_size=size, stratify=labels[rows], random_state=seed)
    return np.sort(taken), np.sort(rest)


def classes_in(labels: Labels) -> Indices:
    """Return the numbers of the classes that some row has, in increasing order."""
    return np.unique(labels).astype(np.int64) if labels.ndim == 1 else np.flatnonzero(labels.any(axis=0))


def class_list(labels: Indices, class_names: Sequence[str]) -> str:
    """Return the names of the first five of some classes, given in any order and number, for an error message."""
    unique = np.unique(labels)
    shown = ", ".join(repr(class_names[label]) for label in unique[:5])
    return shown if len(unique) <= 5 else f"{shown} and {len(unique) - 5} more"


def row_sources(rows: Indices) -> list[str]:
    """Return the origin of images inside a table: `row N`."""
    return [f"row {row}" for row in rows]
