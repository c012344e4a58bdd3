"""The image and the label column of a table.

A column of `None` is found by its type and name. `where` is the name of the table in error messages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets

_LABEL_NAMES = ("label", "labels", "class", "target", "y")
_LABEL_TYPES = ("int", "uint", "string", "large_string")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are read.

    Args:
        image: Name of the image column.
        label: Name of the label column; names of several columns of 0 and 1, one for each class.
        separator: What stands between the labels of an image in a string; `None` for one label an image.
    """

    image: str | None = None
    label: str | tuple[str, ...] | None = None
    separator: str | None = None

    def of(self, table: datasets.Dataset) -> "Columns":
        """Return the columns to read of another table, which may have other names: missing ones are found there."""
        image = self.image if self.image in table.features else None
        label = self.label if isinstance(self.label, tuple) or self.label in table.features else None
        return Columns(image, label, self.separator)


def image_rows(table: datasets.Dataset, column: str | None, where: str) -> datasets.Dataset:
    """Return the undecoded images, `{"bytes": ..., "path": ...}`, of a table as the only column `image` of another.

    Raises:
        ValueError: When the column is missing, or cannot be told.
    """
    found = _choose(table, column, "image_column", where, _is_image)
    rows = table.select_columns([found]).cast_column(found, datasets.Image(decode=False))
    return rows if found == "image" else rows.rename_column(found, "image")


def has_labels(table: datasets.Dataset, columns: Columns) -> bool:
    """Return True if a table has a label column, or one that could be it."""
    if columns.label is not None:
        named = (columns.label,) if isinstance(columns.label, str) else columns.label
        return any(name in table.features for name in named)
    return any(_is_label(name, feature) for name, feature in table.features.items())


def label_column(table: datasets.Dataset, column: str | None, where: str) -> str:
    """Return the name of the label column; ValueError when it is missing, or cannot be told."""
    return _choose(table, column, "label_column", where, _is_label)


def is_multilabel(table: datasets.Dataset, columns: Columns, where: str) -> bool:
    """Return True if an image may have several labels, by the type of the column; reads no label.

    Raises:
        ValueError: When the column is missing or cannot be told, or there is a separator and no column of strings.
    """
    if isinstance(columns.label, tuple):
        return True
    found = label_column(table, columns.label, where)
    feature = table.features[found]
    if columns.separator is not None and not is_string(feature):
        raise ValueError(
            f"label_separator divides strings, and column {found!r} of {where} is of type {type_name(feature)}: give a "
            "column of strings (of a folder of images a metadata.csv file_name,label), or leave label_separator out."
        )
    return columns.separator is not None or element_of(feature) is not None


def _choose(
    table: datasets.Dataset, column: str | None, field: str, where: str, fits: Callable[[str, object], int]
) -> str:
    """Return the given column, or the one of the highest score; raise if it is missing or several score alike."""
    listing = ", ".join(f"{name} ({type_name(feature)})" for name, feature in table.features.items())
    if column is not None:
        if column not in table.features:
            raise ValueError(f"{field}={column!r} is no column of {where}: choose one of {listing}.")
        return column
    scores: dict[str, int] = {name: fits(name, feature) for name, feature in table.features.items()}
    best = [name for name, score in scores.items() if score and score == max(scores.values())]
    if len(best) != 1:
        raise ValueError(
            f"{field} of {where} cannot be told, {len(best) or 'none'} of the columns would do: "
            f"set {field} to one of {listing}."
        )
    return best[0]


def _is_image(name: str, feature: object) -> int:
    """Score a column as images: 2 by its type, 1 if it holds bytes, otherwise 0."""
    if isinstance(feature, datasets.Image):
        return 2
    in_bytes = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
    return int(in_bytes or (isinstance(feature, dict) and "bytes" in feature))


def _is_label(name: str, feature: object) -> int:
    """Score a column as labels: 3 or 2 by its type, 1 by its name, otherwise 0; a column of lists as its elements."""
    named = name.lower() in _LABEL_NAMES
    element = element_of(feature)
    one = feature if element is None else element
    if isinstance(one, datasets.ClassLabel):
        return 3 if named else 2
    return int(named and holds_labels(one))


def holds_labels(feature: object) -> bool:
    """Return True if a column holds single values that could be labels."""
    return isinstance(feature, datasets.Value) and feature.dtype.startswith(_LABEL_TYPES)


def is_string(feature: object) -> bool:
    """Return True if a column holds strings."""
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def type_name(feature: object) -> str:
    """Return a short name of the type of a column."""
    element = element_of(feature)
    if element is not None:
        return f"list of {type_name(element)}"
    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__


def element_of(feature: object) -> Any:
    """Return the type of the elements of a column of lists; None if it holds no lists."""
    if isinstance(feature, list):  # of datasets before 4.0, as is a sequence
        return feature[0]
    inner = getattr(feature, "feature", None)
    return None if isinstance(inner, dict) else inner
