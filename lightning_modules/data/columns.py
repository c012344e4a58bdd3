"""The image and the label column of a table, and the numbering of the classes.

A `column` of `None` is found by its type and name. `where` is the name of the table in error messages.
"""

from collections.abc import Callable, Sequence

import datasets
import numpy as np
from numpy.typing import NDArray

_LABEL_NAMES = ("label", "labels", "class", "target", "y")
_LABEL_TYPES = ("int", "uint", "string", "large_string")


def image_rows(table: datasets.Dataset, column: str | None, where: str) -> datasets.Dataset:
    """Return the undecoded images, `{"bytes": ..., "path": ...}`, of a table as the only column `image` of another.

    Raises:
        ValueError: When the column is missing, or cannot be told.
    """
    found = _choose(table, column, "image_column", where, _is_image)
    rows = table.select_columns([found]).cast_column(found, datasets.Image(decode=False))
    return rows if found == "image" else rows.rename_column(found, "image")


def has_labels(table: datasets.Dataset, column: str | None) -> bool:
    """Return True if a table has the label column, or one that could be it."""
    return any(name == column if column else _is_label(name, feature) for name, feature in table.features.items())


def read_labels(
    table: datasets.Dataset, column: str | None, where: str, class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the labels of a table as numbers 0..K-1.

    Args:
        table: A table with any columns.
        column: Name of the label column.
        where: Name of the table.
        class_names: The classes to number by; `None` takes the table's own: the names of a `ClassLabel`,
            the sorted strings, or 0..max.

    Returns:
        The labels, `[N]`, and the names of the classes.

    Raises:
        ValueError: When the column is missing or cannot be told, or labels lie outside the classes.
    """
    found = _choose(table, column, "label_column", where, _is_label)
    feature = table.features[found]
    values = table.select_columns([found]).with_format("arrow")[:].column(0)
    if values.null_count:
        raise ValueError(f"{values.null_count} labels of {where} (column {found!r}) are empty: remove them.")
    labels = values.to_numpy()
    if labels.dtype.kind not in "iuUO" or (labels.dtype.kind == "O" and not isinstance(labels[0], str)):
        raise ValueError(
            f"label_column {found!r} of {where} has type {values.type}: labels must be class labels, "
            "strings or integers 0..K-1."
        )
    if isinstance(feature, datasets.ClassLabel) and feature.names:
        names: tuple[str, ...] | None = tuple(feature.names)
    else:
        names = tuple(sorted(set(labels))) if labels.dtype.kind in "UO" else None
        labels = labels if names is None else np.searchsorted(np.array(names), labels.astype(str))
    return _renumber(labels.astype(np.int64), names, class_names, where)


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


def _choose(
    table: datasets.Dataset, column: str | None, field: str, where: str, fits: Callable[[str, object], int]
) -> str:
    """Return the given column, or the one of the highest score; raise if it is missing or several score alike."""
    listing = ", ".join(f"{name} ({_type_name(feature)})" for name, feature in table.features.items())
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
    """Score a column as labels: 3 or 2 by its type, 1 by its name, otherwise 0."""
    named = name.lower() in _LABEL_NAMES
    if isinstance(feature, datasets.ClassLabel):
        return 3 if named else 2
    return int(named and isinstance(feature, datasets.Value) and feature.dtype.startswith(_LABEL_TYPES))


def _type_name(feature: object) -> str:
    """Return a short name of the type of a column."""
    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__
