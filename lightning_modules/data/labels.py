"""Labels of a table, and the numbering of its classes.

`where` is the name of the table in error messages.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_warn

from lightning_modules.data.columns import (
    Columns,
    element_of,
    holds_labels,
    is_multilabel,
    is_string,
    label_column,
    type_name,
)
from lightning_modules.data.label_sets import as_matrix, check_classes, check_lists, read_indicators, split_strings
from lightning_modules.data.partition import Labels


def read_labels(
    table: datasets.Dataset, columns: Columns, where: str, class_names: Sequence[str] | None = None
) -> tuple[Labels, tuple[str, ...]]:
    """Return the labels of a table as numbers 0..K-1, or with several labels an image as a matrix of 0 and 1.

    Args:
        table: A table with any columns.
        columns: Its columns.
        where: Name of the table.
        class_names: The classes to number by; `None` takes the table's own: the names of a `ClassLabel`, the sorted
            strings, 0..max, or the names of several columns.

    Returns:
        The labels, int64 `[N]` or float32 `[N, K]`, and the names of the classes.

    Raises:
        ValueError: When the column is missing or cannot be told, or labels lie outside the classes; with several labels
            an image also if no or every image has a class of the table's own.
    """
    if isinstance(columns.label, tuple):
        names, matrix = columns.label, read_indicators(table, columns.label, where)
    else:
        found = label_column(table, columns.label, where)
        if not is_multilabel(table, columns, where):
            return _read_single(table, found, where, class_names)
        matrix, names = _read_lists(table, found, columns.separator, where, class_names)
    if class_names is None:
        check_classes(matrix, names, where)
    return matrix, names


def _read_lists(
    table: datasets.Dataset, found: str, separator: str | None, where: str, class_names: Sequence[str] | None
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the labels `[N, K]` of a column of lists, or of strings that are divided."""
    feature, lists = element_of(table.features[found]), _values(table, found).to_pylist()
    if separator is not None:
        feature, lists = datasets.Value("string"), split_strings(lists, separator, where)
        if class_names is None and max(map(len, lists)) < 2:
            example = next(filter(None, lists), [""])[0]
            raise ValueError(
                f"no label of {where} (column {found!r}) has label_separator {separator!r}, for instance "
                f"{example!r}: give the one that they have, or leave it out."
            )
    if not isinstance(feature, datasets.ClassLabel) and not holds_labels(feature):
        raise ValueError(
            f"label_column {found!r} of {where} holds lists of {type_name(feature)}: a list must hold class labels, "
            "strings or integers 0..K-1."
        )
    names = _names_of(feature)
    check_lists(lists, names is None and not is_string(feature), where)
    values = np.array([label for labels in lists for label in labels])
    if values.size == 0 and class_names is None:
        raise ValueError(f"no image of {where} has a label (column {found!r}): give each the list of its classes.")
    flat, known = _numbered(values, names)
    numbers, target = _renumber(flat, known, class_names, where)
    return as_matrix(lists, numbers, len(target)), target


def _read_single(
    table: datasets.Dataset, found: str, where: str, class_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the labels `[N]` of a column of one label an image."""
    values = _values(table, found)
    if values.null_count:
        raise ValueError(f"{values.null_count} labels of {where} (column {found!r}) are empty: remove them.")
    labels = values.to_numpy()
    if labels.dtype.kind not in "iuUO" or (labels.dtype.kind == "O" and not isinstance(labels[0], str)):
        raise ValueError(
            f"label_column {found!r} of {where} has type {values.type}: labels must be class labels, "
            "strings or integers 0..K-1, or lists of these."
        )
    numbers, names = _numbered(labels, _names_of(table.features[found]))
    if names is not None and class_names is None:
        _warn_of_joined(names, where)
    return _renumber(numbers, names, class_names, where)


def _values(table: datasets.Dataset, column: str) -> Any:
    """Return a column as it is stored, a `pyarrow.ChunkedArray`."""
    return table.select_columns([column]).with_format("arrow")[:].column(0)


def _names_of(feature: object) -> tuple[str, ...] | None:
    """Return the names of the classes that a column knows; None if it knows none."""
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) and feature.names else None


def _numbered(labels: NDArray[Any], names: tuple[str, ...] | None) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Return labels as numbers, and the names of these: of strings the sorted ones."""
    if names is None and labels.dtype.kind in "UO":
        names = tuple(sorted(set(labels.tolist())))
        labels = np.searchsorted(np.array(names), labels.astype(str))
    return labels.astype(np.int64), names


def _warn_of_joined(names: Sequence[str], where: str) -> None:
    """Warn if the names of classes look like several classes with a separator between them."""
    for separator in "|;,":
        parts = {part.strip() for name in names for part in name.split(separator)}
        joined = [name for name in names if separator in name]
        if joined and len(parts) < len(names):
            rank_zero_warn(
                f"the labels of {where} look like several for an image, for instance {joined[0]!r}, and are read as "
                f"{len(names)} classes: set label_separator to {separator!r} if they are {len(parts)} classes."
            )
            return


def _renumber(
    labels: NDArray[np.int64], names: tuple[str, ...] | None, class_names: Sequence[str] | None, where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Check the labels, and number them by `class_names` if the table has names of its own."""
    if names is None and class_names is None and not np.array_equal(np.unique(labels), range(labels.max() + 1)):
        raise ValueError(
            f"the integer labels of {where} must be 0..K-1 with no number left out, "
            f"found {np.unique(labels)[:12].tolist()}: renumber them, or give them as strings."
        )
    target = tuple(class_names or names or map(str, range(labels.max() + 1)))
    known = names or target
    outside = np.unique(labels[(labels < 0) | (labels >= len(known))])
    if outside.size:
        raise ValueError(
            f"labels of {where} lie outside the {len(known)} classes 0..{len(known) - 1}: "
            f"{outside[:8].tolist()}; -1 usually marks images without a label: remove them."
        )
    if known == target:
        return labels, target
    unknown = [known[label] for label in np.unique(labels) if known[label] not in target]
    if unknown:
        raise ValueError(
            f"{where} has classes that the training data lack: {', '.join(unknown[:8])}; "
            f"theirs are {', '.join(target[:20])}: rename or remove them."
        )
    lookup = np.array([target.index(name) if name in target else -1 for name in known])
    return lookup[labels], target
