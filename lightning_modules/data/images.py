"""Data module of image folders, parquet files and datasets of the Hugging Face hub."""

from functools import partial
from typing import Any

import torch

from lightning_modules.data.decoding import ImageFormat, probe_format
from lightning_modules.data.image_table import ImageTable, open_single, open_tables
from lightning_modules.data.influence_data_module import InfluenceDataModule
from lightning_modules.data.labelled_images import LabelledImages, Splits
from lightning_modules.data.partition import Indices, partition
from lightning_modules.data.store import FileStore, ImageStore, check_no_overlap
from lightning_modules.learner.checks import check_numbers


class ImageDataModule(InfluenceDataModule):
    """An image dataset from the Hugging Face hub, from parquet files, from an image folder or from a CSV file.

    `path` is the name of a hub dataset (`uoft-cs/cifar10`, or `owner/name:configuration`), a
    local folder of parquet files (`train.parquet`, `test.parquet`), an image folder
    (`train/CLASS/x.png` and `test/CLASS/x.png`, or `CLASS/x.png`), or a CSV file of paths relative to it and labels,
    which in an image folder is called `metadata.csv`. A test split that is there is the test
    split; otherwise a validation split that is there is; otherwise one is cut off the training data. A
    validation split beside a test split gives the validation images; otherwise they are cut off too.
    Test images without labels (`test/x.png`, or a table without label column) are for prediction alone.

    Images are turned upright by their EXIF orientation, put on white where they are transparent, and converted to
    8-bit gray or RGB; of an animation the first frame is read.

    Images that fit `memory_limit` are decoded once into memory, where a batch is one indexing operation;
    larger splits are decoded on the fly from memory-mapped files by `num_workers` processes.

    Args:
        path: Hub name, folder of parquet files, image folder, or CSV file.
        image_column: Name of the image column; by default the only column of images.
        label_column: Name of the label column; by default the only column of class labels, or the one
            called `label`. Labels are class labels, integers 0..K-1, or strings (numbered in sorted order).
        train_size: Training images to keep, as many of each class as possible; by default all.
        influence_size: Images of the influence set, cut off the training data; with `influence_path` the
            most that are taken from there.
        influence_path: Images that look like deployment: hub name or folder as for `path`, with the same
            classes. By default the influence set is cut off the training data.
        val_size: Images of the validation split (at most, where the data bring a validation split).
        test_size: Images of the test split; by default all of the test split that is there, or a fifth of
            the images where there is none.
        image_size: Side the images are resized to, in pixels: the shorter side is scaled (bilinear,
            antialiased), the center cropped. By default the images keep the size they have in common.
        batch_size: Images a batch.
        memory_limit: Most memory the decoded images of one split may take, in MiB; 0 decodes on the fly.
            The influence set is always in memory.
        **common: Further arguments of `InfluenceDataModule`.
    """

    def __init__(
        self,
        path: str,
        image_column: str | None = None,
        label_column: str | None = None,
        train_size: int | None = None,
        influence_size: int = 200,
        influence_path: str | None = None,
        val_size: int = 1000,
        test_size: int | None = None,
        image_size: int | None = None,
        batch_size: int = 128,
        memory_limit: int = 2048,
        **common: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **common)
        check_numbers("data.", "[1, 1000000000]", influence_size=influence_size, val_size=val_size)
        check_numbers("data.", "[1, 1000000000] or null", train_size=train_size, test_size=test_size)
        check_numbers("data.", "[4, 10000] or null", image_size=image_size)
        check_numbers("data.", "[0, 1000000000]", memory_limit=memory_limit)
        self._path, self._influence_path = path, influence_path
        self._image_column, self._label_column = image_column, label_column
        self._train_size, self._influence_size = train_size, influence_size
        self._val_size, self._test_size = val_size, test_size
        self._side, self._memory_limit = image_size, memory_limit

    def load_splits(self) -> Splits:
        """Open and split the data, and decode the splits that fit in memory; the test split is not loaded."""
        opened = open_tables(self._path, self._influence_path, self._image_column, self._label_column)
        train = opened["train"]
        labels, names = train.labels()
        if len(names) < 2:
            raise ValueError(f"{train.where} has one class only, {', '.join(names)}: a classifier needs two at least.")
        image_format = probe_format(train.images(), self._side, train.where)
        tables, limit = self._cut(opened, labels, names), self._memory_limit
        stores = {split: _stored(tables[split], image_format, limit) for split in ("train", "validation")}
        influence = FileStore(tables["influence"].images(), image_format, tables["influence"].where)
        if self._influence_path is not None:
            # Hashing reads the test images, but no test label.
            check_no_overlap(influence, stores | {"test": _stored(tables["test"], image_format, limit)})
        stores["influence"] = influence.decoded()

        load_test = partial(_load_test, tables["test"], image_format, names, self._test_size, self.seed, limit)
        loaded = {split: _labelled(tables[split], store, names) for split, store in stores.items()}
        deployment = self._influence_path is not None
        labelled = tables["test"].labelled
        return Splits(**loaded, load_test=load_test, class_names=names, deployment=deployment, test_labelled=labelled)

    def _cut(self, opened: dict[str, ImageTable], labels: Indices, names: tuple[str, ...]) -> dict[str, ImageTable]:
        """Return the tables of all four splits; those without a table of their own are cut off the training data."""
        test_size = max(1, len(labels) // 5) if self._test_size is None else self._test_size
        if "test" in opened and self._test_size is not None and self._test_size > len(opened["test"]):
            raise ValueError(
                f"test_size={self._test_size}, but {opened['test'].where} has {len(opened['test'])} images: "
                "lower it, or leave it out to take them all."
            )
        parts = partition(
            labels,
            names,
            influence_size=0 if "influence" in opened else self._influence_size,
            val_size=0 if "validation" in opened else self._val_size,
            test_size=0 if "test" in opened else test_size,
            train_size=self._train_size,
            seed=self.seed,
        )
        tables = {
            split: opened["train"].select(rows) if len(rows) else opened[split] for split, rows in vars(parts).items()
        }
        for split, field, size in (
            ("influence", "influence_size", self._influence_size),
            ("validation", "val_size", self._val_size),
        ):
            tables[split] = tables[split].at_most(size, field, names, self.seed)
        return tables


def _load_test(
    table: ImageTable, image_format: ImageFormat, names: tuple[str, ...], size: int | None, seed: int, memory_limit: int
) -> LabelledImages:
    """Load the test split, or `size` images of it.

    A function and no method: a reference to the data module would close a cycle, and worker processes of a loader that
    is freed by the garbage collector take five seconds to end.
    """
    if size is not None:
        table = table.at_most(size, "test_size", names, seed)
    return _labelled(table, _stored(table, image_format, memory_limit), names)


def _stored(table: ImageTable, image_format: ImageFormat, memory_limit: int) -> ImageStore:
    """Return the images in memory if they fit, otherwise decoded on the fly."""
    files = FileStore(table.images(), image_format, table.where)
    return files.decoded() if files.fits(memory_limit) else files


def _labelled(table: ImageTable, store: ImageStore, names: tuple[str, ...]) -> LabelledImages:
    """Return stored images with the labels of their table."""
    return LabelledImages(store, torch.from_numpy(table.labels(names)[0]), table.sources)


def open_images(path: str, data: InfluenceDataModule, field: str) -> LabelledImages:
    """Read further images into memory, with the classes and the size of a data module.

    Args:
        path: Image folder, folder of parquet files, or hub name; if it has several splits, the training split.
        data: The data module. Images of another size are scaled and cropped to its own.
        field: Name of the argument that `path` came from, for error messages.

    Raises:
        ValueError: If there are no such images, or they have classes that the data module lacks.
    """
    table = open_single(path, field, f"the images of {field}")
    labels, _ = table.labels(data.class_names)
    store = FileStore(table.images(), ImageFormat(data.in_channels, *data.image_size, resize=True), table.where)
    return LabelledImages(store.decoded(), torch.from_numpy(labels), table.sources)
