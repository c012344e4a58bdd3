"""Images with any number of labels each: lists of classes, strings of classes, or one 0/1 column for each class.

All give labels float32 `[N, K]`, 1 where an image shows a class. `where` is the name of the table in error messages.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

_AS_NUMBER = {"0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}  # of CSV files


def split_strings(texts: Sequence[str | None], separator: str, where: str) -> list[list[str]]:
    """Return the names between separators, without the spaces around them; an empty string has none.

    Raises:
        ValueError: If there is no name between two separators.
    """
    lists = [[name.strip() for name in text.split(separator)] if text and text.strip() else [] for text in texts]
    empty = next((text for text, names in zip(texts, lists, strict=True) if "" in names), None)
    if empty is not None:
        raise ValueError(
            f"a label of {where} has no name on one side of label_separator {separator!r}: {empty!r}; an image without "
            "a label has an empty field."
        )
    return lists


def check_lists(lists: Sequence[Sequence[Any] | None], numbered: bool, where: str) -> None:
    """Raise ValueError if lists of labels are missing, or could be meant otherwise than as the classes of an image.

    Args:
        lists: The labels of each image.
        numbered: True if they are numbers of classes that have no names.
        where: Name of the table.
    """
    missing = sum(labels is None or None in labels for labels in lists)
    if missing:
        raise ValueError(
            f"the labels of {missing} images of {where} are null, or hold null: give an image without a label an empty "
            "list, and remove images whose labels are not known."
        )
    twice = [labels for labels in lists if labels is not None and len(set(labels)) < len(labels)]
    if numbered and twice and max(max(labels) for labels in lists if labels) <= 1:
        raise ValueError(
            f"the lists of labels of {where} look like a 0 or 1 for each class, found {list(twice[0])[:12]}; lists "
            "hold the classes of an image: give [0, 2] for [1, 0, 1], or one 0/1 column for each class, and name these "
            "columns in label_column."
        )


def as_matrix(lists: Sequence[Sequence[Any]], flat: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """Return labels `[N, K]` of lists, whose elements are all in `flat`, one after the other, as class numbers."""
    matrix = np.zeros((len(lists), num_classes), dtype=np.float32)
    matrix[np.repeat(np.arange(len(lists)), [len(labels) for labels in lists]), flat] = 1
    return matrix


def read_indicators(table: datasets.Dataset, columns: Sequence[str], where: str) -> NDArray[np.float32]:
    """Return labels `[N, K]` of K columns of 0 and 1, also as true and false or in strings.

    Raises:
        ValueError: If a column is missing, or holds something else.
    """
    missing = [name for name in columns if name not in table.features]
    if missing:
        raise ValueError(
            f"label_column: {where} has no column {', '.join(map(repr, missing[:8]))}, only "
            f"{', '.join(table.column_names[:30])}."
        )
    rows = table.select_columns(list(columns)).with_format("arrow")[:]
    return np.stack([_indicator(rows.column(name).to_pylist(), name, where) for name in columns], axis=1)


def _indicator(values: Sequence[Any], name: str, where: str) -> NDArray[np.float32]:
    numbers = [_AS_NUMBER.get(value.strip().lower()) if isinstance(value, str) else value for value in values]
    wrong = [
        row for row, number in enumerate(numbers) if not isinstance(number, bool | int | float) or number not in (0, 1)
    ]
    if wrong:
        found = ", ".join(dict.fromkeys("empty" if values[row] is None else repr(values[row]) for row in wrong))
        raise ValueError(
            f"column {name!r} of {where} must hold 0 or 1 for each image, found {found[:100]} in {len(wrong)} of "
            f"{len(values)} rows, first in row {wrong[0]}: mend these rows, or leave the column out of label_column."
        )
    return np.array(numbers, dtype=np.float32)


def check_classes(labels: NDArray[np.float32], names: Sequence[str], where: str) -> None:
    """Raise ValueError if no image, or every image, of the training data shows a class: it cannot be learned."""
    counts = labels.sum(axis=0)
    for word, fault in (("no", counts == 0), ("every", counts == len(labels))):
        if fault.any():
            wrong = [names[place] for place in np.flatnonzero(fault).tolist()]
            listed = ", ".join(map(repr, wrong[:8])) + (", ..." if len(wrong) > 8 else "")
            raise ValueError(
                f"{word} image of {where} has the label {listed}, so that it cannot be learned: add images "
                f"{'with' if word == 'no' else 'without'} it, or leave the class out."
            )
