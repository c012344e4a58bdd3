"""Tables of undecoded images and labels, one for each split of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import datasets
import numpy as np

from lightning_modules.data.columns import Columns, has_labels, image_rows, is_multilabel
from lightning_modules.data.labels import read_labels
from lightning_modules.data.partition import Indices, Labels, row_sources, stratified_subset
from lightning_modules.data.sources import load_tables

_CHUNK = 1024


@dataclass(frozen=True)
class ImageTable:
    """A table with a column of images and a column of labels; each is read at its use.

    Args:
        table: The rows.
        columns: Its columns of images and labels.
        where: Name of the table for error messages.
        rows: Row numbers in the table as it was opened; `None` for that table itself.
        labelled: False for images without labels, which all get the label -1.
        multilabel: True if an image may have several labels.
    """

    table: datasets.Dataset
    columns: Columns
    where: str
    rows: Indices | None = None
    labelled: bool = True
    multilabel: bool = False

    def __post_init__(self) -> None:
        if len(self) == 0:
            raise ValueError(f"{self.where} is empty: it needs at least one image.")

    def __len__(self) -> int:
        return len(self.table)

    def images(self) -> datasets.Dataset:
        """Return the undecoded images; read no label."""
        return image_rows(self.table, self.columns.image, self.where)

    def labels(self, class_names: Sequence[str] | None = None) -> tuple[Labels, tuple[str, ...]]:
        """Return the labels, and the names of the classes by which they are numbered; by default the table's own.

        Labels are int64 `[N]`, or float32 `[N, K]` of 0 and 1 where an image may have several.
        """
        if self.labelled:
            return read_labels(self.table, self.columns, self.where, class_names)
        names = tuple(class_names or ())
        if self.multilabel:
            return np.full((len(self), len(names)), -1, dtype=np.float32), names
        return np.full(len(self), -1, dtype=np.int64), names

    def select(self, rows: Indices) -> "ImageTable":
        """Return the table of some rows."""
        return replace(self, table=self.table.select(rows), rows=rows if self.rows is None else self.rows[rows])

    def sources(self) -> list[str]:
        """Return the file of each image or, for images inside a table, `row N` of the table as it was opened."""
        images = self.images()
        if images[0]["image"]["bytes"] is None:
            return [record["path"] for chunk in images.iter(batch_size=_CHUNK) for record in chunk["image"]]
        return row_sources(np.arange(len(self)) if self.rows is None else self.rows)

    def at_most(self, size: int, field: str, class_names: Sequence[str], seed: int) -> "ImageTable":
        """Return a table of `size` rows in the class proportions of this one, or of all if there are fewer.

        `field` is the name of the argument that `size` came from, for error messages.
        """
        labels, _ = self.labels(class_names)
        return self.select(stratified_subset(labels, size, field, class_names, seed))


def open_tables(path: str, influence_path: str | None, columns: Columns) -> dict[str, ImageTable]:
    """Open a dataset and, if it has a path of its own, the influence set; paths are local or names of the hub.

    Returns:
        The tables by split: `train`, and those of `validation`, `test` and `influence` that exist.
        A validation split without a test split counts as the test split. The test images may be without labels.

    Raises:
        ValueError: When there is no training split, or more than one influence set, or when images have several labels
            each in one split and one label in another.
    """
    found = load_tables(path)
    if "train" not in found:
        raise ValueError(f"path={path!r} has no training split, only {', '.join(found)}: name one of them train.")
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    splits: list[str] = [split for split in ("train", "validation", "test") if split in found]
    tables = {split: ImageTable(found[split], columns, f"the {split} split of {path}") for split in splits}
    if "test" in found and not has_labels(found["test"], columns):
        tables["test"] = replace(tables["test"], labelled=False)
    if influence_path is not None:
        tables["influence"] = open_single(influence_path, "influence_path", "the influence set", columns)
    return _of_one_kind(tables)


def _of_one_kind(tables: dict[str, ImageTable]) -> dict[str, ImageTable]:
    """Return the tables, of which all or none have several labels an image; raise ValueError if they differ."""
    train = tables["train"]
    several = is_multilabel(train.table, train.columns, train.where)
    for table in tables.values():
        if table.labelled and is_multilabel(table.table, table.columns, table.where) != several:
            kinds = ("one label an image", "a list of labels an image")
            raise ValueError(
                f"{train.where} has {kinds[several]}, and {table.where} has {kinds[not several]}: write them alike, "
                "for instance both as a CSV file path,label with a label_separator."
            )
    return {split: replace(table, multilabel=several) for split, table in tables.items()}


def open_single(path: str, field: str, name: str, columns: Columns = Columns()) -> ImageTable:  # noqa: B008 - frozen
    """Open the only split of a dataset, or its training split.

    Args:
        path: Hub name or local path.
        field: Name of the argument that `path` came from, for error messages.
        name: Description of the images, for error messages.
        columns: Its columns; an image or label column that does not have the given name is found.

    Raises:
        ValueError: When there is no such dataset, or it has several splits and no training split.
    """
    found = load_tables(path, field)
    if len(found) > 1 and "train" not in found:
        raise ValueError(f"{field}={path!r} has splits {', '.join(found)}: give the path of one of them.")
    table = found["train"] if "train" in found else next(iter(found.values()))
    return ImageTable(table, columns.of(table), f"{name} of {path}")
